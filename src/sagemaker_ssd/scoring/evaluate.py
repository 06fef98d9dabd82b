"""The figures of a network on a channel.

How well the objects of a channel fit the anchors of a network.

A saved model held against a checked channel: the truth, the detections, the figures, and their files.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.channels.record_file import RecordFile
from sagemaker_ssd.files import atomic_write
from sagemaker_ssd.scoring.average_precision import AveragePrecision, Scores
from sagemaker_ssd.scoring.coco import coco_results, coco_truth, figures, labels_of
from sagemaker_ssd.scoring.detector import Detector
from sagemaker_ssd.scoring.saved_model import LoadedModel
from sagemaker_ssd.ssd.detect import anchor_boxes

Labels = Sequence[NDArray[np.float32]]


def evaluate(
    detector: Detector,
    batches: Iterable[tuple[mx.nd.NDArray, Labels]],
    *,
    num_classes: int,
    overlap_threshold: float,
) -> Scores:
    """Detect on every image and score the detections.

    batches: (n, 3, S, S) images with n labels (objects, 5 or 6): class_id, xmin, ymin, xmax, ymax[, difficult].
    Raises FloatingPointError when a prediction of the network is not a finite number.
    """
    precision = AveragePrecision(num_classes, overlap_threshold)
    for data, labels in batches:
        for detections, truth in zip(detector.detect(data), labels, strict=True):
            precision.add(detections, truth)
    if not detector.finite:
        raise FloatingPointError("the network's predictions are not finite numbers")
    return precision.result()


# MultiBoxTarget's overlap_threshold in the training graph.
OVERLAP: Final = 0.5
# More of them change the shares little, and 10,000 beside 24,576 anchors take six seconds on one core.
_MOST: Final = 10_000
_AT_ONCE: Final = 64


def anchor_fit(labels: Sequence[NDArray[np.float32]], anchors: NDArray[np.float32], image_shape: int) -> dict[str, Any]:
    """Return how many objects no anchor overlaps by 0.5, and how many are smaller than the smallest anchor.

    labels: (objects, 5 or 6) of each image, class_id, xmin, ymin, xmax, ymax as fractions. anchors: (A, 4). Of many
    objects evenly chosen ones are looked at. Sides are those of squares of the same area, in pixels at image_shape.
    """
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(objects[:, 1:5] for objects in labels)])
    if len(boxes) > _MOST:
        boxes = boxes[np.linspace(0, len(boxes) - 1, _MOST).astype(np.int64)]
    best = np.concatenate(
        [np.zeros(0), *(_best(boxes[begin : begin + _AT_ONCE], anchors) for begin in range(0, len(boxes), _AT_ONCE))]
    )
    smallest = float(np.sqrt(_areas(anchors.T).min()) * image_shape)
    sides = np.sqrt(_areas(boxes.T)) * image_shape
    return {
        "boxes": len(boxes),
        "unmatched": int((best < OVERLAP).sum()),
        "smallest": round(smallest, 2),
        "below_smallest": int((sides < smallest).sum()),
        "overlap": OVERLAP,
    }


def _best(boxes: NDArray[np.float32], anchors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the largest overlap of each of (N, 4) boxes with any of (A, 4) anchors."""
    own, others = boxes.T[:, :, None], anchors.T[:, None, :]
    width = np.minimum(own[2], others[2]) - np.maximum(own[0], others[0])
    height = np.minimum(own[3], others[3]) - np.maximum(own[1], others[1])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    overlap: NDArray[np.float32] = (shared / (_areas(own) + _areas(others) - shared)).max(axis=1)
    return overlap


def _areas(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the areas of boxes whose corners come first: (4, ...) as (...)."""
    areas: NDArray[np.float32] = (boxes[2] - boxes[0]) * (boxes[3] - boxes[1])
    return areas


TRUTH, RESULTS = "ground_truth.json", "detections.json"


@dataclass(frozen=True)
class Evaluation:
    """COCO's instances and results, the figures of them, and how the objects fit the anchors."""

    truth: dict[str, Any]
    results: list[dict[str, Any]]
    figures: dict[str, Any]
    anchors: dict[str, Any]

    def write(self, folder: Path) -> None:
        """Write the two files in COCO's formats, each whole or not at all; raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in ((TRUTH, self.truth), (RESULTS, self.results)):
            with atomic_write(folder / name) as part:
                part.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")


def evaluate_model(
    model: LoadedModel,
    file: RecordFile,
    class_names: Sequence[str],
    *,
    overlap_threshold: float,
    batch_size: int,
    threads: int,
) -> Evaluation:
    """Detect on every image of a channel and score what is found."""
    truth = coco_truth(file, class_names)
    size = min(batch_size, file.images)
    results = coco_results(
        model.detector(size),
        file,
        truth,
        batch_size=size,
        image_shape=model.network.image_shape,
        mean=model.network.mean,
        threads=threads,
    )
    anchors = anchor_boxes(model.network)
    return Evaluation(
        truth,
        results,
        figures(truth, results, overlap_threshold),
        anchor_fit(labels_of(truth), anchors, model.network.image_shape),
    )
