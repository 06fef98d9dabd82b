"""How well a network detects on a channel: after an epoch of its training, and as a saved model, with all figures."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.batches.reader import LoaderOptions
from sagemaker_ssd.boxes import box_area, box_iou
from sagemaker_ssd.channels.record_file import RecordFile
from sagemaker_ssd.files import atomic_write
from sagemaker_ssd.progress import phase
from sagemaker_ssd.scoring.average_precision import AveragePrecision, Scores
from sagemaker_ssd.scoring.coco import (
    GROUND_TRUTH_FILE,
    RESULTS_FILE,
    coco_ground_truth,
    coco_results,
    detect_channel,
    figures,
    ground_truth_arrays,
)
from sagemaker_ssd.scoring.detector import Detector
from sagemaker_ssd.scoring.saved_model import LoadedModel
from sagemaker_ssd.ssd.detect import anchor_boxes

Labels = Sequence[NDArray[np.float32]]

# MultiBoxTarget's overlap_threshold in the training graph.
_MATCHING_IOU: Final = 0.5
# More of them change the shares little, and 10,000 against 24,576 anchors take six seconds on one core.
_ANCHOR_FIT_BOXES: Final = 10_000
_BOXES_AT_ONCE: Final = 64


def evaluate(
    detector: Detector,
    batches: Iterable[tuple[mx.nd.NDArray, Labels]],
    *,
    num_classes: int,
    overlap_threshold: float,
    observe: Callable[[int, NDArray[np.float32]], None] | None = None,
) -> Scores:
    """Detect on every image and score the detections.

    batches: (n, 3, S, S) images with n labels (objects, 5 or 6): class_id, xmin, ymin, xmax, ymax[, difficult].
    observe: is called with each image's number, counted from 0, and its (D, 6) detections by falling score.
    Raises FloatingPointError when a prediction of the network is not a finite number.
    """
    precision = AveragePrecision(num_classes, overlap_threshold)
    number = 0
    for data, labels in batches:
        for detections, objects in zip(detector.detect(data), labels, strict=True):
            precision.add(detections, objects)
            if observe is not None:
                observe(number, detections)
            number += 1
    if not detector.finite:
        raise FloatingPointError("the network's predictions are not finite numbers")
    return precision.result()


@dataclass(frozen=True)
class Evaluation:
    """COCO's ground truth and results, the figures of all detections, and how the objects fit the anchors."""

    ground_truth: dict[str, Any]
    results: list[dict[str, Any]]
    figures: dict[str, Any]
    anchors: dict[str, Any]

    def write(self, folder: Path) -> None:
        """Write the two files in COCO's formats, each whole or not at all; raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in ((GROUND_TRUTH_FILE, self.ground_truth), (RESULTS_FILE, self.results)):
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
    """Detect on every image of a checked channel and compare what is found with its objects.

    Raises UserError when a prediction of the network is not a finite number.
    """
    with phase("The channel's objects are being read"):
        ground_truth = coco_ground_truth(file, class_names)
    batch_size = min(batch_size, file.images)
    image_shape = model.network.image_shape
    detections = detect_channel(
        model.detector(batch_size),
        file,
        ground_truth,
        LoaderOptions(batch_size, image_shape, model.network.mean, threads),
    )
    with phase("The figures are being computed"):
        labels = list(ground_truth_arrays(ground_truth).values())
        return Evaluation(
            ground_truth,
            coco_results(detections),
            figures(ground_truth, detections, overlap_threshold),
            anchor_fit(labels, anchor_boxes(model.network), image_shape),
        )


def anchor_fit(
    labels: Sequence[NDArray[np.floating[Any]]], anchors: NDArray[np.float32], image_shape: int
) -> dict[str, Any]:
    """Return how many objects no anchor overlaps by 0.5, and how many are smaller than the smallest anchor.

    labels: (objects, 5 or 6) of each image, class_id, xmin, ymin, xmax, ymax as fractions. anchors: (A, 4). Of many
    objects evenly chosen ones are looked at. Sides are those of squares of the same area, in pixels at image_shape.
    """
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(objects[:, 1:5] for objects in labels)])
    if len(boxes) > _ANCHOR_FIT_BOXES:
        boxes = boxes[np.linspace(0, len(boxes) - 1, _ANCHOR_FIT_BOXES).astype(np.int64)]
    parts = [boxes[begin : begin + _BOXES_AT_ONCE] for begin in range(0, len(boxes), _BOXES_AT_ONCE)]
    best = np.concatenate([np.zeros(0), *(box_iou(part, anchors).max(axis=1) for part in parts)])
    smallest = float(np.sqrt(box_area(anchors).min()) * image_shape)
    sides = np.sqrt(box_area(boxes)) * image_shape
    return {
        "boxes": len(boxes),
        "unmatched": int((best < _MATCHING_IOU).sum()),
        "smallest": round(smallest, 2),
        "below_smallest": int((sides < smallest).sum()),
        "overlap": _MATCHING_IOU,
    }
