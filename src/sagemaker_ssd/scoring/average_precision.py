"""Average precision of detections over a data set, as PASCAL VOC and COCO define it; numpy alone."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.boxes import COCO_OVERLAPS, Flags, Floats, match_coco, match_voc, pairwise_overlap, rank_in_class

COCO_RECALLS = np.linspace(0.0, 1.0, 101)
COCO_DETECTIONS = 100


@dataclass(frozen=True)
class ClassScores:
    """One class: its non-difficult ground truth, its detections, its figures (None without ground truth)."""

    class_id: int
    boxes: int
    detections: int
    average_precision: float | None
    all_points: float | None
    coco: float | None


@dataclass(frozen=True)
class Scores:
    """Means over the classes that have non-difficult ground truth (0.0 if none has), and each class."""

    mean: float
    all_points: float
    coco: float
    per_class: tuple[ClassScores, ...]


class Hits(NamedTuple):
    """What is kept of D detections; column 0 is the VOC matching, columns 1 to 10 are COCO's ten overlaps."""

    class_ids: NDArray[np.int32]  # (D,)
    scores: Floats  # (D,)
    right: Flags  # (D, 11)
    counted: Flags  # (D, 11): False where a detection is neither right nor wrong


class AveragePrecision:
    """Collects the detections of one image after the other and scores them together.

    Boxes are matched within one class of one image, detections by falling score, equal scores in the order
    given; `match_voc` and `match_coco` state the two rules. Over the data set detections are again ordered by
    falling score, equal scores in the order added. A difficult object is not part of the ground truth, and a
    detection that matches one is neither right nor wrong.

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
        nothing = np.zeros((0, 1 + len(COCO_OVERLAPS)), np.bool_)
        self._hits = [Hits(np.zeros(0, np.int32), np.zeros(0), nothing, nothing)]

    def add(self, detections: NDArray[Any], truth: NDArray[Any]) -> None:
        """Match the detections of one image.

        `detections` (D, 6): class_id, score, xmin, ymin, xmax, ymax. `truth` (G, 5 or 6): class_id, xmin,
        ymin, xmax, ymax and, if there, difficult. Coordinates are fractions of the image. Rows whose class_id
        is below 0 are suppressed or padding, and left out. A box that is not finite overlaps nothing.
        Raises ValueError for other shapes and for a class_id that is not below num_classes.
        """
        found = self._rows("detections", detections, (6,))
        objects = self._rows("truth", truth, (5, 6))
        difficult = objects[:, 5] > 0 if objects.shape[1] == 6 else np.zeros(len(objects), np.bool_)
        object_ids = objects[:, 0].astype(np.int32)
        self._boxes += np.bincount(object_ids[~difficult], minlength=self._num_classes)
        found = found[np.argsort(-found[:, 1], kind="stable")]
        class_ids = found[:, 0].astype(np.int32)
        overlaps = pairwise_overlap(found[:, 2:6], objects[:, 1:5])
        overlaps[class_ids[:, None] != object_ids] = 0.0
        right = np.zeros((len(found), 1 + len(COCO_OVERLAPS)), np.bool_)
        counted = np.ones_like(right)
        if overlaps.size:
            right[:, 0], counted[:, 0] = match_voc(overlaps, difficult, self._overlap_threshold)
            right[:, 1:], counted[:, 1:] = match_coco(overlaps, difficult)
        counted[:, 1:] &= (rank_in_class(class_ids) < COCO_DETECTIONS)[:, None]
        self._hits.append(Hits(class_ids, found[:, 1], right, counted))

    def result(self) -> Scores:
        """Score everything added so far."""
        hits = Hits(*(np.concatenate(parts) for parts in zip(*self._hits, strict=True)))
        order = np.argsort(-hits.scores, kind="stable")
        hits = Hits(*(part[order] for part in hits))
        per_class = tuple(self._score_class(hits, class_id) for class_id in range(self._num_classes))
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

    def _score_class(self, hits: Hits, class_id: int) -> ClassScores:
        chosen = hits.class_ids == class_id
        boxes, detections = int(self._boxes[class_id]), int(chosen.sum())
        if not boxes:
            return ClassScores(class_id, 0, detections, None, None, None)
        right, counted = hits.right[chosen], hits.counted[chosen]
        voc, *coco = (right[counted[:, column], column] for column in range(right.shape[1]))
        return ClassScores(
            class_id=class_id,
            boxes=boxes,
            detections=detections,
            average_precision=voc_11_points(voc, boxes),
            all_points=voc_all_points(voc, boxes),
            coco=float(np.mean([coco_101_points(curve, boxes) for curve in coco])),
        )


def voc_11_points(right: Flags, boxes: int) -> float:
    """VOC 2007's figure for counted detections (D,) by falling score and `boxes` objects."""
    hits, best = _curve(right)
    points = np.searchsorted(hits * 10, np.arange(11) * boxes, side="left")
    return float(np.append(best, 0.0)[points].mean())


def voc_all_points(right: Flags, boxes: int) -> float:
    """The area under the falling precision-recall curve, for counted detections (D,) by falling score."""
    _, best = _curve(right)
    return float(best[right].sum() / boxes)


def coco_101_points(right: Flags, boxes: int) -> float:
    """COCO's figure at one overlap, for counted detections (D,) by falling score and `boxes` objects."""
    hits, best = _curve(right)
    points = np.searchsorted(hits / boxes, COCO_RECALLS, side="left")
    return float(np.append(best, 0.0)[points].mean())


def _curve(right: Flags) -> tuple[NDArray[np.int64], Floats]:
    """Right detections up to each one, and the best precision from each one on."""
    hits = np.cumsum(right, dtype=np.int64)
    precision = hits / np.arange(1, len(right) + 1)
    return hits, np.maximum.accumulate(precision[::-1])[::-1]


def _mean(figures: list[float | None]) -> float:
    present = [figure for figure in figures if figure is not None]
    return sum(present) / len(present) if present else 0.0
