"""Batches from a checked channel, decoded and augmented by MXNet's own ImageDetRecordIter.

The training images of epoch after epoch, the next epoch made ready while the one before ends.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.batches.shares import write_epoch
from sagemaker_ssd.channels.record_file import RecordFile

# The reader puts channels, height, width and the length of the label before each label.
_BEFORE_LABEL = 4
_SAMPLERS = 5
# The SSD paper's augmentation (section 2.2) with the figures of the built-in's open ancestor.
AUGMENTATION = {
    "rand_crop_prob": 5 / 6,
    "num_crop_sampler": _SAMPLERS,
    "min_crop_scales": (0.3,) * _SAMPLERS,
    "max_crop_scales": (1.0,) * _SAMPLERS,
    "min_crop_aspect_ratios": (0.5,) * _SAMPLERS,
    "max_crop_aspect_ratios": (2.0,) * _SAMPLERS,
    "min_crop_overlaps": (0.1, 0.3, 0.5, 0.7, 0.9),
    "max_crop_overlaps": (1.0,) * _SAMPLERS,
    "min_crop_sample_coverages": (0.0,) * _SAMPLERS,
    "max_crop_sample_coverages": (1.0,) * _SAMPLERS,
    "min_crop_object_coverages": (0.0,) * _SAMPLERS,
    "max_crop_object_coverages": (1.0,) * _SAMPLERS,
    "max_crop_trials": (25,) * _SAMPLERS,
    "crop_emit_mode": "center",
    "rand_pad_prob": 0.5,
    "max_pad_scale": 4.0,
    "fill_value": 127,
    "random_hue_prob": 0.5,
    "max_random_hue": 18,
    "random_saturation_prob": 0.5,
    "max_random_saturation": 32,
    "random_illumination_prob": 0.5,
    "max_random_illumination": 32,
    "random_contrast_prob": 0.5,
    "max_random_contrast": 0.5,
    "rand_mirror_prob": 0.5,
    "inter_method": 10,  # any of five at random
}


@dataclass(frozen=True)
class Batch:
    """`data` (n, 3, image_shape, image_shape) float32 RGB minus the mean; `labels`, n arrays (objects, 5 or 6).

    A row is class_id, xmin, ymin, xmax, ymax in fractions of the image, and `difficult` where the records have
    it; (0, 5) for an image without objects.
    """

    data: mx.nd.NDArray
    labels: list[NDArray[np.float32]]


def evaluation_batches(
    file: RecordFile, *, batch_size: int, image_shape: int, mean: tuple[float, float, float], threads: int
) -> Iterator[Batch]:
    """Yield every image of the file once, in its order and only resized; the last batch may be smaller."""
    reader = open_reader(
        file.path,
        label_floats=file.label_floats,
        batch_size=batch_size,
        image_shape=image_shape,
        mean=mean,
        threads=threads,
        augmentation={},
    )
    yield from batches_of(reader)


def padded_labels(labels: Sequence[NDArray[np.float32]], max_objects: int) -> NDArray[np.float32]:
    """Return labels as MultiBoxTarget takes them: (n, max_objects, 5), filled up with -1."""
    padded = np.full((len(labels), max_objects, 5), -1, np.float32)
    for row, label in zip(padded, labels, strict=True):
        row[: len(label)] = label[:, :5]
    return padded


def open_reader(
    path: Path,
    *,
    label_floats: int,
    batch_size: int,
    image_shape: int,
    mean: tuple[float, float, float],
    threads: int,
    augmentation: Mapping[str, Any],
) -> mx.io.MXDataIter:
    """Open MXNet's reader of a file, which scans it once and begins to decode."""
    return mx.io.ImageDetRecordIter(
        path_imgrec=str(path),
        batch_size=batch_size,
        data_shape=(3, image_shape, image_shape),
        label_pad_width=label_floats,
        preprocess_threads=threads,
        shuffle=False,
        round_batch=False,
        verbose=False,
        resize_mode="force",
        **dict(zip(("mean_r", "mean_g", "mean_b"), mean, strict=True)),
        **augmentation,
    )


def batches_of(reader: mx.io.MXDataIter) -> Iterator[Batch]:
    """Yield what a reader reads; the last batch may be smaller."""
    for batch in reader:
        images = reader.batch_size - batch.pad
        # A copy, since the reader fills the same memory again a few batches later.
        data = batch.data[0][:images].copy()
        yield Batch(data, [_objects(row) for row in batch.label[0][:images].asnumpy()])


def _objects(row: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take the objects out of one image's label, with the header and the object width that it names itself."""
    label = row[_BEFORE_LABEL : _BEFORE_LABEL + int(row[_BEFORE_LABEL - 1])]
    header_width, object_width = int(label[0]), int(label[1])
    objects = label[header_width:].reshape(-1, object_width)[:, :6]
    return objects.copy() if len(objects) else np.empty((0, 5), np.float32)


Order = Callable[[int], NDArray[np.integer[Any]]]


@dataclass(frozen=True)
class _Ready:
    """An epoch's records in their order, with a reader that has begun; no reader without images."""

    folder: tempfile.TemporaryDirectory[str]
    reader: mx.io.MXDataIter | None


class TrainingReader:
    """Reads the images of an epoch in its own order, augmented.

    order: gives the numbers (images,) of an epoch's images. epochs: those of the job; behind the last nothing is made
    ready. threads: that decode.
    """

    def __init__(
        self,
        file: RecordFile,
        *,
        order: Order,
        epochs: range,
        batch_size: int,
        image_shape: int,
        mean: tuple[float, float, float],
        scratch: Path,
        threads: int,
    ) -> None:
        self._file, self._order, self._epochs, self._scratch = file, order, epochs, scratch
        self._options: dict[str, Any] = {
            "label_floats": file.label_floats,
            "batch_size": batch_size,
            "image_shape": image_shape,
            "mean": mean,
            "threads": threads,
            # Its random numbers are the same in every reader; the new order gives new crops.
            "augmentation": AUGMENTATION,
        }
        self._background = ThreadPoolExecutor(1)
        self._ahead: dict[int, Future[_Ready]] = {}

    def make_ready(self, epoch: int) -> None:
        """Begin in the background to copy an epoch's records into scratch, and to decode."""
        if epoch in self._epochs and epoch not in self._ahead:
            self._ahead[epoch] = self._background.submit(self._open, epoch)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield every image of an epoch once, then make the next epoch ready; the last batch may be smaller.

        Raises UserError if the disk has no room for the epoch's records.
        """
        self.make_ready(epoch)
        ready = self._ahead.pop(epoch).result()
        with ready.folder:
            if ready.reader is not None:
                yield from batches_of(ready.reader)
        # Behind the removal of this epoch's records: the disk never holds those of two.
        self.make_ready(epoch + 1)

    def _open(self, epoch: int) -> _Ready:
        self._scratch.mkdir(parents=True, exist_ok=True)
        # A folder of its own: to open a file MXNet looks at all its neighbours, whose number and coming and going
        # are not ours.
        folder = tempfile.TemporaryDirectory(prefix="epoch-", dir=self._scratch)
        order = self._order(epoch)
        if not len(order):
            return _Ready(folder, None)
        path = Path(folder.name) / "epoch.rec"
        try:
            write_epoch(self._file, order, path)
            return _Ready(folder, open_reader(path, **self._options))
        except BaseException:
            folder.cleanup()
            raise
