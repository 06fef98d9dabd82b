"""The model of an endpoint: found in the folder that the platform unpacked, loaded, and proven by a detection."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.contract.channel_files import MODEL_ARCHIVE, list_unpacked_models
from sagemaker_ssd.contract.environment import BEST_CLASS
from sagemaker_ssd.contract.hosting import CLASS_NAMES_VARIABLE
from sagemaker_ssd.contract.model_folder import CONFIGURATION
from sagemaker_ssd.errors import UserError, bytes_in_words, in_words, listed
from sagemaker_ssd.memory import available_memory
from sagemaker_ssd.scoring.saved_model import LoadedModel, load_model

_SHOWN: Final = 4
# A model's parameters are in memory twice, as they are and as oneDNN wants them (docs/benchmarks.md has the figures).
# What it computes with and the images that are decoded for it are rarely more than the rest; where they are, the system
# ends the process, and its models are loaded again when they are asked for.
_COPIES: Final = 2
_REST: Final = 200_000_000
_IMAGE_SHAPE_REMEDY: Final = (
    f"put the {CONFIGURATION} of the training job beside it, as in the {MODEL_ARCHIVE} it wrote"
)


def find_model(folder: Path) -> Path:
    """Find the model's .params file in a folder, at any depth, else the archive that holds it; raises UserError."""
    must = f"the {MODEL_ARCHIVE} of a training job, unpacked by the platform, must be there"
    try:
        listing = list_unpacked_models(folder)
    except FileNotFoundError:
        raise UserError(f"{folder}: there is no such folder; {must}") from None
    except OSError as error:
        raise UserError(f"{error.filename}: it cannot be read ({error.strerror}); {must} and readable") from error
    if len(listing.found) == 1:
        return listing.found[0]
    if listing.found:
        names = listed([str(file.relative_to(folder)) for file in listing.found[:_SHOWN]], "and")
        raise UserError(f"{folder}: it holds several models, such as {names}; pack only one into {MODEL_ARCHIVE}")
    there = f"holds no .params file, but {listing.describe_others()}" if listing.others else "holds no files"
    raise UserError(f"{folder}: it {there}; {must}{listing.remedy_for_weights()}")


@dataclass
class Detectors:
    """One network bound for one image, and on a GPU for several at once.

    classes: how many the model knows. seconds: what one image took when warm.
    """

    model: LoadedModel
    group: int
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self._single = self.model.detector(1)
        self._several = self.model.detector(self.group) if self.group > 1 else self._single

    def detect(self, inputs: Sequence[NDArray[np.float32]]) -> list[list[list[float]]]:
        """Return the rows (class_id, score, xmin, ymin, xmax, ymax) of each of up to `group` images (3, S, S).

        Raises UserError where a prediction was not a finite number.
        """
        detector = self._single if len(inputs) == 1 else self._several
        found = detector.detect(mx.nd.array(np.stack(inputs)))
        detector.check_finite()
        return [[[float(value) for value in row] for row in rows] for rows in found]

    def warm_up(self) -> None:
        """Detect on a drawn image until nothing is prepared any more, and measure one; raises UserError."""
        size = self.model.network.image_shape
        # All brightnesses, so that no part of the network sees zeros alone.
        drawn = np.linspace(0, 255, 3 * size * size, dtype=np.float32).reshape(3, size, size)
        for images in {1, self.group}:
            self.detect([drawn] * images)
        begin = time.perf_counter()
        self.detect([drawn])
        self.seconds = time.perf_counter() - begin


class NoRoomError(UserError):
    """A model that the memory left would not do for."""


def check_room(folder: Path) -> None:
    """Raise NoRoomError where the memory left would not do for the model below `folder`, and as `find_model`."""
    file = find_model(folder)
    try:
        needed = _COPIES * file.stat().st_size + _REST
    except OSError as error:
        raise UserError(f"{file}: it cannot be read ({error.strerror})") from error
    room = available_memory()
    if needed > room:
        raise NoRoomError(
            f"{file}: it needs about {bytes_in_words(needed)} of memory, and {bytes_in_words(room)} are left: unload "
            "other models, or choose an instance type with more memory"
        )


def load_detectors(
    folder: Path,
    gpu: int | None,
    group: int,
    class_names: Sequence[str],
    precision_dtype: str = "float32",
    detections: str = BEST_CLASS,
) -> Detectors:
    """Load the model below `folder` onto a device.

    gpu: the device's number, None for the CPU. group: the most images that are detected on at once. class_names: the
    names that the environment gives, if any. precision_dtype: what to detect in. detections: which classes of an
    anchor. Raises UserError and OSError.
    """
    file = find_model(folder)
    scratch = Path(os.environ.get("TMPDIR") or "/tmp")
    device = mx.cpu() if gpu is None else mx.gpu(gpu)
    model = load_model(
        file,
        scratch,
        device=device,
        precision_dtype=precision_dtype,
        detections=detections,
        image_shape_remedy=_IMAGE_SHAPE_REMEDY,
    )
    classes = model.network.num_classes
    if class_names and len(class_names) != classes:
        raise UserError(
            f"environment variable {CLASS_NAMES_VARIABLE} has {in_words(len(class_names), 'name', 'names')}, and the "
            f"model knows {in_words(classes, 'class', 'classes')}: name every class by its id, from 0 on"
        )
    return Detectors(model, group)
