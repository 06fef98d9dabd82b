"""The models of a multi-model endpoint: which are loaded, by the names that the platform gives them."""

import asyncio
import json
import os
from pathlib import Path
from typing import Final

from sagemaker_ssd.errors import shown
from sagemaker_ssd.serving.detection import LOADING_SECONDS, Detection, Model, RefusedError

# Of one page of the list, as in multi-model-server.
LARGEST_PAGE: Final = 100
# The platform's are hashes.
_LONGEST_NAME: Final = 1024
_FORM: Final = 'send JSON such as {"model_name": "my-model", "url": "/opt/ml/models/my-model/model"}'


class Models:
    """Loads, unloads and lists models; what `detection` holds follows.

    base: the folder in which all folders of models must be; the request names them.
    """

    def __init__(self, detection: Detection, base: Path) -> None:
        self._detection = detection
        # Without `..`, as the folders of models are; resolve() would follow links too.
        self._base = Path(os.path.abspath(base))  # noqa: PTH100
        self._models: dict[str, Model] = {}
        # The folder of each model on the way, and what will be set once it is loaded or with why it is not.
        self._loading: dict[str, tuple[Path, asyncio.Future[RefusedError | None]]] = {}

    def get(self, name: str) -> Model:
        """Return a model that is loaded; raises RefusedError, with 503 where it is on the way and 404 for others."""
        model = self._models.get(name)
        if model is None or model.lost:
            if name in self._loading:
                raise RefusedError(503, f"the model {shown(name)} is being loaded: try again", LOADING_SECONDS)
            raise RefusedError(404, f"the model {shown(name)} is not loaded: load it by POST /models")
        return model

    async def load(self, request: bytes) -> Model:
        """Load the model that the body of a request names; raises RefusedError.

        With 400 for another body and for a model that cannot be loaded, 409 where it is loaded, 507 where the memory
        does not suffice. Where it is on the way, what becomes of it is waited for and is the result of this order too.
        After a 507 the platform unloads others and asks again: which of them are needed least, it knows and the
        container does not, and it would believe to be loaded what the container unloads by itself.
        """
        name, folder = self._read(request)
        while name in self._loading:
            folder_on_the_way, loaded = self._loading[name]
            # Shielded: who waits may be cancelled, and the others wait on.
            refusal = await asyncio.shield(loaded)
            if refusal is not None and folder_on_the_way == folder:
                raise refusal
        former = self._models.get(name)
        if former is not None and not former.lost:
            raise RefusedError(409, f"the model {shown(name)} is loaded already: unload it by DELETE /models/... first")
        self._loading[name] = folder, asyncio.get_running_loop().create_future()
        refusal = None
        try:
            if former is not None:
                # One process could not load it again; others may hold it.
                await self._detection.unload(self._models.pop(name))
            model = Model(name, folder)
            await self._detection.load(model)
            self._models[name] = model
        except RefusedError as refused:
            refusal = refused
            raise
        finally:
            _, loaded = self._loading.pop(name)
            loaded.set_result(refusal)
        return model

    async def unload(self, name: str) -> Model:
        """Unload a model after its images that are there already; raises RefusedError as `get`."""
        model = self._models.pop(self.get(name).name)
        await self._detection.unload(model)
        return model

    def page(self, token: str, limit: str) -> tuple[list[Model], str | None]:
        """Return models in the order in which they were ordered, and the next page's token where there are more.

        token: "" for the first page. limit: the most of one page, "" for LARGEST_PAGE. Raises RefusedError.
        """
        # The number of the last model that was listed: it does not change with what is unloaded between two pages.
        last = _number("next_page_token", token, 0, 0)
        most = min(_number("limit", limit, 1, LARGEST_PAGE), LARGEST_PAGE)
        models = [model for model in self._models.values() if not model.lost and model.number > last]
        models.sort(key=lambda model: model.number)
        return models[:most], str(models[most - 1].number) if most < len(models) else None

    def _read(self, request: bytes) -> tuple[str, Path]:
        """Read name and folder; raises RefusedError."""
        try:
            content = json.loads(request)
        except (ValueError, RecursionError):
            raise RefusedError(400, f"the request's body is no JSON: {_FORM}") from None
        name, url = (content.get(key) if isinstance(content, dict) else None for key in ("model_name", "url"))
        if not isinstance(name, str) or not isinstance(url, str):
            raise RefusedError(400, f"the request's body names no model and no folder: {_FORM}")
        # What no path of a request can name: clients resolve the dots, and line breaks would split the log.
        if not name.isprintable() or "/" in name or name in ("", ".", "..") or len(name) > _LONGEST_NAME:
            raise RefusedError(
                400,
                f"model_name is {shown(name)}; it must be a part of a path, with up to {_LONGEST_NAME:,} characters "
                "that can be printed, and without a slash",
            )
        folder = Path(os.path.normpath(url)) if url.isprintable() else Path()
        if not self._is_below_base(folder):
            raise RefusedError(400, f"url is {shown(url)}; it must be the path of a folder below {self._base}")
        return name, folder

    def _is_below_base(self, folder: Path) -> bool:
        """Say whether a folder is below the base by its words, or where all links are followed.

        What the platform has linked in there is its own; a shell's $PWD may lead to the base through a link.
        """
        followed = Path(os.path.realpath(folder)), Path(os.path.realpath(self._base))
        return folder.is_absolute() and any(base in place.parents for place, base in ((folder, self._base), followed))


def _number(parameter: str, text: str, least: int, default: int) -> int:
    if not text:
        return default
    if text.isascii() and text.isdigit() and len(text) <= 9 and int(text) >= least:
        return int(text)
    raise RefusedError(400, f"{parameter} is {shown(text)}; it must be a whole number from {least} on")
