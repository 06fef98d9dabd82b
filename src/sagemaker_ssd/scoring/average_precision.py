"""Average precision of detections over a data set, as PASCAL VOC and COCO define it; numpy alone."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.boxes import COCO_IOU_THRESHOLDS, Flags, Floats, box_iou, match_coco, match_voc

COCO_RECALLS = np.linspace(0.0, 1.0, 101)
# pycocotools' maxDets: of each image and class at most so many detections count.
COCO_MAX_DETECTIONS = 100


# The fields' names are those of an epoch's classes in metrics.json.
@dataclass(frozen=True)
class ClassScores:
    """One class: its objects that are not difficult, its detections, its figures (None without such objects)."""

    class_id: int
    boxes: int
    detections: int
    average_precision: float | None
    all_points: float | None
    coco: float | None


@dataclass(frozen=True)
class Scores:
    """Means over the classes that have objects that are not difficult (0.0 if none has), and each class."""

    mean: float
    all_points: float
    coco: float
    per_class: tuple[ClassScores, ...]


class MatchedDetections(NamedTuple):
    """D detections after matching; column 0 is VOC's, columns 1 to 10 are COCO's at its ten IoU thresholds."""

    class_ids: NDArray[np.int32]  # (D,)
    scores: Floats  # (D,)
    true_positive: Flags  # (D, 11)
    ignored: Flags  # (D, 11): neither true nor false positive


class AveragePrecision:
    """Collects the detections of one image after the other and scores them together.

    Boxes are matched within one class of one image, detections by falling score, equal scores in the order
    given; `match_voc` and `match_coco` state the two rules. Over the data set detections are again ordered by
    falling score, equal scores in the order added. A difficult object is no object to find, and a
    detection that matches one is ignored: neither a true nor a false positive.

    `mean` and `average_precision` are VOC 2007's: IoU >= `overlap_threshold`, the mean over recall 0, 0.1 ...
    1 of the best precision at that recall or beyond; recall is compared in whole numbers, so that 3 of 10
    objects reach 0.3. `all_points` is the area under the same curve (VOC 2010 and later). `coco` is the mean
    over IoU 0.50, 0.55 ... 0.95 and recall 0, 0.01 ... 1, with an image's first 100 detections of each class.
    Sources: VOCdevkit 2007 and 2012, VOCevaldet; pycocotools, cocoeval.
    """

    def __init__(self, num_classes: int, overlap_threshold: float) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}, but has to be 1 or more")
        if not 0 < overlap_threshold <= 1:
            raise ValueError(f"overlap_threshold is {overlap_threshold}, but has to be in (0, 1]")
        self._num_classes = num_classes
        self._overlap_threshold = overlap_threshold
        self._boxes = np.zeros(num_classes, np.int64)
        nothing = np.zeros((0, 1 + len(COCO_IOU_THRESHOLDS)), np.bool_)
        self._matched = [MatchedDetections(np.zeros(0, np.int32), np.zeros(0), nothing, nothing)]

    def add(self, detections: NDArray[Any], ground_truth: NDArray[Any]) -> None:
        """Match the detections of one image.

        `detections` (D, 6): class_id, score, xmin, ymin, xmax, ymax. `ground_truth` (G, 5 or 6): class_id, xmin,
        ymin, xmax, ymax and, if there, difficult. Coordinates are fractions of the image. Rows whose class_id
        is below 0 are suppressed or padding, and left out. A box that is not finite overlaps nothing.
        Raises ValueError for other shapes and for a class_id that is not below num_classes.
        """
        found = self._rows("detections", detections, (6,))
        objects = self._rows("ground_truth", ground_truth, (5, 6))
        difficult = objects[:, 5] > 0 if objects.shape[1] == 6 else np.zeros(len(objects), np.bool_)
        object_ids = objects[:, 0].astype(np.int32)
        self._boxes += np.bincount(object_ids[~difficult], minlength=self._num_classes)
        found = found[np.argsort(-found[:, 1], kind="stable")]
        class_ids = found[:, 0].astype(np.int32)
        ious = box_iou(found[:, 2:6], objects[:, 1:5])
        ious[class_ids[:, None] != object_ids] = 0.0
        true_positive = np.zeros((len(found), 1 + len(COCO_IOU_THRESHOLDS)), np.bool_)
        ignored = np.zeros_like(true_positive)
        if ious.size:
            true_positive[:, 0], ignored[:, 0] = match_voc(
                ious.max(axis=1), ious.argmax(axis=1), difficult, self._overlap_threshold
            )
            true_positive[:, 1:], ignored[:, 1:] = match_coco(ious, difficult)
        ignored[:, 1:] |= (_rank_in_class(class_ids) >= COCO_MAX_DETECTIONS)[:, None]
        self._matched.append(MatchedDetections(class_ids, found[:, 1], true_positive, ignored))

    def result(self) -> Scores:
        """Score everything added so far."""
        matched = MatchedDetections(*(np.concatenate(parts) for parts in zip(*self._matched, strict=True)))
        order = np.argsort(-matched.scores, kind="stable")
        matched = MatchedDetections(*(part[order] for part in matched))
        per_class = tuple(self._score_class(matched, class_id) for class_id in range(self._num_classes))
        return Scores(
            mean=_mean([scores.average_precision for scores in per_class]),
            all_points=_mean([scores.all_points for scores in per_class]),
            coco=_mean([scores.coco for scores in per_class]),
            per_class=per_class,
        )

    def _rows(self, name: str, array: NDArray[Any], widths: tuple[int, ...]) -> Floats:
        rows: Floats = np.asarray(array, np.float64)
        if rows.size == 0:
            return np.zeros((0, widths[0]))
        if rows.ndim != 2 or rows.shape[1] not in widths:
            raise ValueError(f"{name} has shape {rows.shape}, but has to be (N, {' or '.join(map(str, widths))})")
        rows = rows[rows[:, 0] >= 0]
        if (rows[:, 0] >= self._num_classes).any():
            raise ValueError(f"{name}: class_id {rows[:, 0].max():g}, but num_classes is {self._num_classes}")
        return rows

    def _score_class(self, matched: MatchedDetections, class_id: int) -> ClassScores:
        chosen = matched.class_ids == class_id
        boxes, detections = int(self._boxes[class_id]), int(chosen.sum())
        if not boxes:
            return ClassScores(class_id, 0, detections, None, None, None)
        true_positive, ignored = matched.true_positive[chosen], matched.ignored[chosen]
        voc, *coco = (true_positive[~ignored[:, column], column] for column in range(true_positive.shape[1]))
        return ClassScores(
            class_id=class_id,
            boxes=boxes,
            detections=detections,
            average_precision=voc_11_points(voc, boxes),
            all_points=voc_all_points(voc, boxes),
            coco=float(np.mean([coco_101_points(column, boxes) for column in coco])),
        )


def _rank_in_class(class_ids: NDArray[np.int32]) -> NDArray[np.intp]:
    """Return how many rows of the same class stand before each row (D,)."""
    order = np.argsort(class_ids, kind="stable")
    grouped = class_ids[order]
    ranks = np.empty(len(class_ids), np.intp)
    ranks[order] = np.arange(len(class_ids)) - np.searchsorted(grouped, grouped, side="left")
    return ranks


# Of one class: its detections (D,) by falling score, those that are ignored left out, and how many objects it has.


def voc_11_points(true_positive: Flags, boxes: int) -> float:
    """Return VOC 2007's average precision."""
    return float(interpolated_precision(true_positive, boxes, 10).mean())


def voc_all_points(true_positive: Flags, boxes: int) -> float:
    """Return the area under the falling precision-recall curve."""
    _, best = _precision_envelope(true_positive)
    return float(best[true_positive].sum() / boxes)


def coco_101_points(true_positive: Flags, boxes: int) -> float:
    """Return COCO's average precision at one IoU threshold."""
    found, best = _precision_envelope(true_positive)
    # In fractions, rounded as pycocotools has them.
    points = np.searchsorted(found / boxes, COCO_RECALLS, side="left")
    return float(np.append(best, 0.0)[points].mean())


def interpolated_precision(true_positive: Flags, boxes: int, steps: int) -> Floats:
    """Return the best precision at recall 0, 1 / steps ... 1 or beyond, (steps + 1,), compared in whole numbers."""
    found, best = _precision_envelope(true_positive)
    points = np.searchsorted(found * steps, np.arange(steps + 1) * boxes, side="left")
    precisions: Floats = np.append(best, 0.0)[points]
    return precisions


def _precision_envelope(true_positive: Flags) -> tuple[NDArray[np.int64], Floats]:
    """Return the true positives up to each detection, and the best precision from each one on."""
    found = np.cumsum(true_positive, dtype=np.int64)
    precision = found / np.arange(1, len(true_positive) + 1)
    return found, np.maximum.accumulate(precision[::-1])[::-1]


def _mean(figures: list[float | None]) -> float:
    present = [figure for figure in figures if figure is not None]
    return sum(present) / len(present) if present else 0.0
