"""Batches from a checked channel, decoded and augmented by MXNet's own ImageDetRecordIter."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.data.record_file import RecordFile

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
