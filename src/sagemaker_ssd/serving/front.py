"""The HTTP interface of SageMaker hosting, for one model and for several that come and go. Every error is JSON."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sagemaker_ssd.contract.hosting import HostingSettings
from sagemaker_ssd.errors import bytes_in_words, in_words, shown, unexpected_error
from sagemaker_ssd.serving.answers import choose_form
from sagemaker_ssd.serving.detection import Detection, Detections, Model, RefusedError, stopping_refusal
from sagemaker_ssd.serving.models import Models
from sagemaker_ssd.serving.request_body import (
    BodyMemory,
    BodyWaits,
    check_headers,
    discard_body,
    ends_connection,
    read_image,
    read_order,
    waits_to_be_asked,
)

_log = logging.getLogger(__name__)
# Comes back as it was sent; the platform cuts longer ones.
_ATTRIBUTES: Final = "X-Amzn-SageMaker-Custom-Attributes"
_INFERENCE_ID: Final = "X-Amzn-SageMaker-Inference-Id"
# What the client of a multi-model endpoint calls the model; its name here is the platform's.
_TARGET_MODEL: Final = "X-Amzn-SageMaker-Target-Model"
# What a batch transform may have on its way to one container, in one body too, and the size of a body it assumes.
_MEGABYTES_ON_THE_WAY: Final = 100
_PAYLOAD_IN_MB: Final = 6
# Of the rest of a refused body, after which its client does not send on.
_QUIET_SECONDS: Final = 2.0
# nginx's for a client that did not wait for the answer.
_CLIENT_LEFT: Final = 499
# Of a path in the log.
_LONGEST_PATH: Final = 200


class Front:
    """The ASGI application `app`; `failure_told` is set once a /ping was answered with why the model is not served.

    model: the one that is served, or those of a multi-model endpoint.
    """

    def __init__(self, settings: HostingSettings, detection: Detection, model: Model | Models) -> None:
        self._settings, self._detection, self._model = settings, detection, model
        self._memory, self._waits = BodyMemory(settings.max_payload), BodyWaits()
        self.failure_told = asyncio.Event()
        routes = [Route("/ping", self._ping, methods=["GET"])]
        if isinstance(model, Models):
            known = "GET /ping, GET and POST /models, GET and DELETE /models/{name} and POST /models/{name}/invoke"
            routes += [
                Route("/models", partial(self._answer, self._all_models), methods=["GET", "POST"]),
                Route("/models/{name}", partial(self._answer, self._one_model), methods=["GET", "DELETE"]),
                Route("/models/{name}/invoke", partial(self._answer, self._detect), methods=["POST"]),
            ]
        else:
            known = "GET /ping, POST /invocations and GET /execution-parameters"
            routes += [
                Route("/invocations", partial(self._answer, self._detect), methods=["POST"]),
                Route("/execution-parameters", self._execution_parameters, methods=["GET"]),
            ]
        self.app = Starlette(routes=routes, exception_handlers={HTTPException: partial(self._no_such_route, known)})
        self.app.router.redirect_slashes = False

    def stop(self) -> None:
        """Refuse the requests whose bodies are still to come, when the detection has been stopped."""
        self._waits.end()

    async def _ping(self, request: Request) -> Response:
        detection = self._detection
        if detection.state == "ready":
            return Response()
        try:
            detection.check()
        except RefusedError as refused:
            told = BackgroundTask(self.failure_told.set) if detection.failure is not None else None
            return _refusal(503, refused, told)
        return Response()

    async def _execution_parameters(self, request: Request) -> Response:
        """Answer what a batch transform asks where its job does not say it."""
        settings = self._settings
        # The SDK's local mode knows the names of its own API, the platform those of its documentation.
        strategy = "SingleRecord" if settings.local_mode else "SINGLE_RECORD"
        # The platform takes no more than that, while bodies of asynchronous endpoints may be larger.
        largest = min(settings.max_payload >> 20, _MEGABYTES_ON_THE_WAY)
        payload = largest if settings.payload_given else _PAYLOAD_IN_MB
        transforms = max(1, min(self._detection.at_once, _MEGABYTES_ON_THE_WAY // payload))
        return JSONResponse(
            {"MaxConcurrentTransforms": transforms, "BatchStrategy": strategy, "MaxPayloadInMB": payload}
        )

    async def _answer(self, work: Callable[[Request], Awaitable[tuple[Response, str]]], request: Request) -> Response:
        """Answer a request by `work`, which returns what the log says of it, "" for nothing."""
        begin = time.monotonic()
        try:
            response, told = await work(request)
        except RefusedError as refused:
            response, told = _refusal(refused.status, refused), str(refused)
            await self._leave_body(request, response)
        except asyncio.CancelledError:
            if not self._waits.ended:
                raise
            # What takes longer than a stop may: a detection, or a model that is being loaded.
            late = stopping_refusal()
            response, told = _refusal(late.status, late), str(late)
        except ClientDisconnect as left:
            response, told = Response(status_code=_CLIENT_LEFT), str(left) or "the client left before its body had come"
        except Exception as error:
            _log.exception("unexpected error")
            bug = unexpected_error(error)
            response, told = JSONResponse({"error": bug.sentence}, 500), bug.sentence
        _return_attributes(request, response)
        if told:
            seconds = time.monotonic() - begin
            asked = f"{_asked_for(request)} {response.status_code} in {seconds:.3f} s{_names(request)}"
            _log.info("%s: %s", asked, told)
        return response

    async def _no_such_route(self, known: str, request: Request, error: Exception) -> Response:
        """Answer what has no route, or not with this method."""
        assert isinstance(error, HTTPException)
        asked = f"{request.method} {shown(request.url.path)}"
        what = "the path does not exist" if error.status_code == 404 else "the path does not take this method"
        sentence = f"{asked}: {what}; there are {known}"
        response = JSONResponse({"error": sentence}, error.status_code, dict(error.headers or {}))
        _return_attributes(request, response)
        await self._leave_body(request, response)
        return response

    async def _leave_body(self, request: Request, refusal: Response) -> None:
        """See to it that the refusal of a request reaches the client, whatever is still to come of the body."""
        if waits_to_be_asked(request):
            # It sends no body now, and might send its next request or the body all the same.
            refusal.headers["Connection"] = "close"
            return
        if ends_connection(request) and not self._waits.ended:
            await discard_body(request, _QUIET_SECONDS, self._settings.answer_seconds, self._waits)
        if self._waits.ended:
            # A stop closes every connection after its answer; the client has a moment to end what it is sending.
            await discard_body(request, _QUIET_SECONDS, _QUIET_SECONDS, BodyWaits())

    async def _all_models(self, request: Request) -> tuple[Response, str]:
        """List the models that are loaded, or load one; raises RefusedError and ClientDisconnect."""
        assert isinstance(self._model, Models)
        if request.method == "POST":
            body = await read_order(request, self._settings.answer_seconds, self._waits)
            # Whether or not the client waits for it.
            model = await self._model.load(body)
            return JSONResponse(_entry(model)), "loaded"
        query = request.query_params
        models, token = self._model.page(query.get("next_page_token", ""), query.get("limit", ""))
        more = {} if token is None else {"nextPageToken": token}
        return JSONResponse({"models": [_entry(model) for model in models], **more}), ""

    async def _one_model(self, request: Request) -> tuple[Response, str]:
        """Tell of a model, or unload it; raises RefusedError."""
        assert isinstance(self._model, Models)
        name = request.path_params["name"]
        if request.method == "DELETE":
            return JSONResponse(_entry(await self._model.unload(name))), "unloaded"
        return JSONResponse(_entry(self._model.get(name))), ""

    async def _detect(self, request: Request) -> tuple[Response, str]:
        """Return the answer to a request, and what the log says of it; raises RefusedError and ClientDisconnect."""
        settings = self._settings
        model = self._asked(request)
        form = choose_form(",".join(request.headers.getlist("accept")))
        check_headers(request, settings.max_payload)
        # Before the body comes, so that nobody sends one in vain.
        self._detection.check(model)
        body = await read_image(request, settings.max_payload, settings.answer_seconds, self._memory, self._waits)
        try:
            # While its body came the model may have been unloaded, and another one loaded under its name.
            detections = await self._wait(request, self._asked(request), body)
        finally:
            self._memory.give_back(len(body))
        for warning in detections.warnings:
            _log.warning("%s%s: %s", _asked_for(request), _names(request), warning)
        content = form.write(detections, settings.score, settings.class_names)
        said = f"{bytes_in_words(len(body))}, {in_words(len(detections.rows), 'detection', 'detections')}"
        return Response(content, media_type=form.media_type), said

    def _asked(self, request: Request) -> Model:
        """Return the model that is asked; raises RefusedError where it is not loaded."""
        return self._model.get(request.path_params["name"]) if isinstance(self._model, Models) else self._model

    async def _wait(self, request: Request, model: Model, body: bytes) -> Detections:
        """Wait for the detections, or until the client leaves."""
        image = self._detection.submit(model, body)
        # After the body nothing else comes from a client but its end.
        leaving = asyncio.ensure_future(request.receive())
        try:
            either: list[asyncio.Future[Any]] = [image.result, leaving]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not image.result.done():
                dropped = self._detection.withdraw(image)
                raise ClientDisconnect(
                    "the client left before the answer, and its image "
                    + ("was dropped" if dropped else "was with a process already")
                )
            return image.result.result()
        finally:
            leaving.cancel()


def _return_attributes(request: Request, response: Response) -> None:
    if _ATTRIBUTES in request.headers:
        response.headers[_ATTRIBUTES] = request.headers[_ATTRIBUTES]


def _asked_for(request: Request) -> str:
    """Return the method and the path of a request for the log."""
    path = request.scope["raw_path"].decode("ascii", "backslashreplace")[:_LONGEST_PATH]
    return f"{request.method} {path}"


def _names(request: Request) -> str:
    """Return for the log what else the client and the platform have named a request by, "" for nothing."""
    return "".join(
        f", {what} {shown(request.headers[header])}"
        for what, header in (("target model", _TARGET_MODEL), ("inference id", _INFERENCE_ID))
        if header in request.headers
    )


def _entry(model: Model) -> dict[str, str]:
    return {"modelName": model.name, "modelUrl": str(model.folder)}


def _refusal(status: int, refused: RefusedError, background: BackgroundTask | None = None) -> Response:
    headers = {"Retry-After": str(refused.retry_after)} if refused.retry_after is not None else {}
    return JSONResponse({"error": str(refused)}, status, headers, background=background)
