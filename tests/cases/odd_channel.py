"""A channel with something odd in it, what became of it, and the sentence that the person reads."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.batches.reader import LoaderOptions, evaluation_batches
from sagemaker_ssd.channels.check import check_recordio
from sagemaker_ssd.channels.findings import CheckOptions
from sagemaker_ssd.channels.image_files import pack_images
from sagemaker_ssd.channels.record_file import RecordFile
from sagemaker_ssd.errors import UserError

USED, CHANGED, LEFT_OUT, STOPS = "used as it is", "changed", "left out", "stops"
SIDE = 64
NUM_CLASSES = 3
# Of the two or three images of a channel here, one may be bad; a job's own default is a hundredth.
MAX_BAD_IMAGES = 0.5
# What JPEG decoders and the two resizings may differ by, on average of all pixels.
TOLERANCE = 3.0


@dataclass(frozen=True)
class Given:
    """One image as the person has it: the label in fractions and the file's bytes; `seen` is what a viewer shows.

    seen: (height, width, 3) RGB; None where it is not compared.
    """

    label: Sequence[float]
    image: bytes
    seen: NDArray[np.uint8] | None


@dataclass(frozen=True)
class Channel:
    """What a case wrote: a .rec, or images with annotations; and the images in the order of the result."""

    images: Path
    annotations: Path | None
    given: list[Given]


@dataclass(frozen=True)
class Case:
    """One odd input. `says`: a piece of the sentence, empty where nothing is to be said."""

    group: str
    name: str
    outcome: str
    says: str
    make: Callable[[Path], Channel]


@dataclass(frozen=True)
class Row:
    """What became of a case; `wrong` says where the reader's pixels are not what a viewer shows."""

    case: Case
    outcome: str
    sentence: str
    wrong: list[str] = field(default_factory=list)


def run(case: Case, folder: Path) -> Row:
    """Make the case's files, check them as a job does, read the result with its reader, and compare."""
    channel = case.make(folder)
    heard = _Heard()
    logger = logging.getLogger("sagemaker_ssd.channels")
    logger.addHandler(heard)
    try:
        file = _checked(channel, folder / "scratch")
    except UserError as error:
        return Row(case, STOPS, error.sentence)
    finally:
        logger.removeHandler(heard)
    sentence = "; ".join(text.removeprefix("train: ") for text in heard.warnings)
    return Row(case, _outcome(channel.given, file), sentence, _pixel_faults(channel.given, file))


def _checked(channel: Channel, scratch: Path) -> RecordFile:
    options = CheckOptions(
        name="train", num_classes=NUM_CLASSES, scratch=scratch, max_bad_images=MAX_BAD_IMAGES, label_width=350
    )
    if channel.annotations is None:
        return check_recordio(channel.images, options)
    return pack_images(channel.images, channel.annotations, options)


def _outcome(given: list[Given], file: RecordFile) -> str:
    kept = read_records(file.path)
    if len(kept) < len(given):
        return LEFT_OUT
    same = all(
        image == one.image and len(label) == len(one.label) and np.allclose(label, one.label, atol=1e-6, equal_nan=True)
        for one, (label, image) in zip(given, kept, strict=True)
    )
    return USED if same else CHANGED


def read_records(path: Path) -> list[tuple[list[float], bytes]]:
    """Read (label, image bytes) with MXNet's own reader of records."""
    reader = mx.recordio.MXRecordIO(str(path), "r")
    records = []
    while (payload := reader.read()) is not None:
        header, image = mx.recordio.unpack(payload)
        records.append((np.array(header.label).ravel().tolist(), image))
    reader.close()
    return records


def _pixel_faults(given: list[Given], file: RecordFile) -> list[str]:
    """Read every image as the job would; name those that differ from what a viewer shows."""
    batches = list(evaluation_batches(file, LoaderOptions(batch_size=1, image_shape=SIDE, mean=(0, 0, 0), threads=1)))
    if len(batches) != file.images:
        return [f"{file.images} images were checked, but {len(batches)} were read"]
    if len(batches) != len(given):
        return []
    faults = []
    for number, (batch, one) in enumerate(zip(batches, given, strict=True)):
        if one.seen is None:
            continue
        expected = cv2.resize(one.seen, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR).astype(float)
        difference = np.abs(batch.data.asnumpy()[0].transpose(1, 2, 0) - expected).mean()
        if difference > TOLERANCE:
            faults.append(f"image {number} differs from what a viewer shows by {difference:.1f} of 255")
    return faults


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.warnings: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.warnings.append(record.getMessage())
