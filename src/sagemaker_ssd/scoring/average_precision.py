"""Average precision of detections over a data set, as PASCAL VOC and COCO define it; numpy alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.boxes import COCO_IOU_THRESHOLDS, Flags, Floats, box_ioa, box_iou, match_coco, match_voc

COCO_RECALLS = np.linspace(0.0, 1.0, 101)
# pycocotools' maxDets: of each image and class at most so many detections count.
COCO_MAX_DETECTIONS = 100
# pycocotools' areaRng in square pixels, both ends included: small, medium and large objects.
COCO_AREAS = ((0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10))
# Columns of what is matched: VOC's, then COCO's thresholds for objects of any area, then for each of the areas.
_THRESHOLDS = len(COCO_IOU_THRESHOLDS)
_ANY_AREA = slice(1, 1 + _THRESHOLDS)


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


@dataclass(frozen=True)
class CocoFigures:
    """COCO's figures as pycocotools gives them; None where no class has an object that counts.

    small, medium, large: the AP of objects of these areas. recall: AR with the first 100 detections of each class.
    """

    mean: float | None
    at_50: float | None
    at_75: float | None
    small: float | None
    medium: float | None
    large: float | None
    recall: float | None


class MatchedDetections(NamedTuple):
    """D detections after matching.

    Column 0 is VOC's, columns 1 to 10 are COCO's at its ten IoU thresholds; with areas ten more for each of them.
    """

    class_ids: NDArray[np.int32]  # (D,)
    scores: Floats  # (D,)
    true_positive: Flags  # (D, 11 or 41)
    ignored: Flags  # (D, 11 or 41): neither true nor false positive


class AveragePrecision:
    """Collects the detections of one image after the other and scores them together.

    Boxes are matched within one class of one image, detections by falling score, equal scores in the order
    given; `match_voc` and `match_coco` state the two rules. Over the data set detections are again ordered by
    falling score, equal scores in the order added. A difficult object is no object to find, and
    detections that match one are ignored: neither true nor false positives. COCO calls such objects crowds,
    and a detection matches one when the threshold's share of the detection lies in it.

    `mean` and `average_precision` are VOC 2007's: IoU >= `overlap_threshold`, the mean over recall 0, 0.1 ...
    1 of the best precision at that recall or beyond; recall is compared in whole numbers, so that 3 of 10
    objects reach 0.3. `all_points` is the area under the same curve (VOC 2010 and later). `coco` is the mean
    over IoU 0.50, 0.55 ... 0.95 and recall 0, 0.01 ... 1, with an image's first 100 detections of each class.
    by_area: whether COCO's figures of small, medium and large objects are wanted too, which `coco_figures` gives.
    Sources: VOCdevkit 2007 and 2012, VOCevaldet; pycocotools, cocoeval.
    """

    def __init__(self, num_classes: int, overlap_threshold: float, *, by_area: bool = False) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}, but has to be 1 or more")
        if not 0 < overlap_threshold <= 1:
            raise ValueError(f"overlap_threshold is {overlap_threshold}, but has to be in (0, 1]")
        self._num_classes = num_classes
        self._overlap_threshold = overlap_threshold
        self._boxes = np.zeros(num_classes, np.int64)
        self._areas = COCO_AREAS if by_area else ()
        # Of any area, and of each that is wanted, as COCO counts them.
        self._coco_boxes = np.zeros((1 + len(self._areas), num_classes), np.int64)
        self._columns = 1 + _THRESHOLDS * (1 + len(self._areas))
        nothing = np.zeros((0, self._columns), np.bool_)
        self._matched = [MatchedDetections(np.zeros(0, np.int32), np.zeros(0), nothing, nothing)]

    def add(
        self,
        detections: NDArray[Any],
        ground_truth: NDArray[Any],
        areas: tuple[NDArray[Any], NDArray[Any]] | None = None,
    ) -> None:
        """Match the detections of one image.

        `detections` (D, 6): class_id, score, xmin, ymin, xmax, ymax. `ground_truth` (G, 5 or 6): class_id, xmin,
        ymin, xmax, ymax and, if there, difficult. Coordinates are fractions of the image, or pixels. Rows whose
        class_id is below 0 are suppressed or padding, and left out. A box that is not finite overlaps nothing.
        areas: of the detections and of the objects in square pixels, (D,) and (G,), where figures by area are
        wanted; then no row may be left out.
        Raises ValueError for other shapes and for a class_id that is not below num_classes.
        """
        found = self._rows("detections", detections, (6,))
        objects = self._rows("ground_truth", ground_truth, (5, 6))
        difficult = objects[:, 5] > 0 if objects.shape[1] == 6 else np.zeros(len(objects), np.bool_)
        object_ids = objects[:, 0].astype(np.int32)
        self._boxes += np.bincount(object_ids[~difficult], minlength=self._num_classes)
        order = np.argsort(-found[:, 1], kind="stable")
        found = found[order]
        class_ids = found[:, 0].astype(np.int32)
        ious = box_iou(found[:, 2:6], objects[:, 1:5])
        other_class = class_ids[:, None] != object_ids
        ious[other_class] = 0.0
        overlaps = ious.copy()
        overlaps[:, difficult] = box_ioa(found[:, 2:6], objects[difficult, 1:5])
        overlaps[other_class] = 0.0
        true_positive = np.zeros((len(found), self._columns), np.bool_)
        ignored = np.zeros_like(true_positive)
        if ious.size:
            true_positive[:, 0], ignored[:, 0] = match_voc(
                ious.max(axis=1), ious.argmax(axis=1), difficult, self._overlap_threshold
            )
        beyond = _rank_in_class(class_ids) >= COCO_MAX_DETECTIONS
        for number, (found_outside, outside) in enumerate(self._outside(order, len(objects), areas)):
            self._coco_boxes[number] += np.bincount(object_ids[~(difficult | outside)], minlength=self._num_classes)
            part = slice(1 + number * _THRESHOLDS, 1 + (number + 1) * _THRESHOLDS)
            if ious.size:
                # Those beyond are not looked at: they take no object from another one.
                true_positive[~beyond, part], ignored[~beyond, part] = match_coco(overlaps[~beyond], difficult, outside)
            unmatched = ~(true_positive[:, part] | ignored[:, part])
            ignored[:, part] |= beyond[:, None] | (unmatched & found_outside[:, None])
        self._matched.append(MatchedDetections(class_ids, found[:, 1], true_positive, ignored))

    def _outside(
        self, order: NDArray[np.intp], objects: int, areas: tuple[NDArray[Any], NDArray[Any]] | None
    ) -> Iterator[tuple[Flags, Flags]]:
        """Yield which detections, in `order`, and which objects are outside of any area, and of each that is wanted."""
        yield np.zeros(len(order), np.bool_), np.zeros(objects, np.bool_)
        for low, high in self._areas:
            if areas is None:
                raise ValueError("the areas of detections and objects are needed for figures by area")
            found, truth = np.asarray(areas[0])[order], np.asarray(areas[1]).reshape(objects)
            yield (found < low) | (found > high), (truth < low) | (truth > high)

    def _all_matched(self) -> MatchedDetections:
        matched = MatchedDetections(*(np.concatenate(parts) for parts in zip(*self._matched, strict=True)))
        order = np.argsort(-matched.scores, kind="stable")
        return MatchedDetections(*(part[order] for part in matched))

    def coco_figures(self) -> CocoFigures:
        """Return COCO's figures of everything added so far; raises ValueError unless by_area was asked for."""
        if not self._areas:
            raise ValueError("by_area has to be True")
        matched = self._all_matched()
        # (areas, classes, thresholds), NaN where a class has no object of the area.
        precision = np.full((1 + len(self._areas), self._num_classes, _THRESHOLDS), np.nan)
        recall = np.full((self._num_classes, _THRESHOLDS), np.nan)
        for area, class_id in np.argwhere(self._coco_boxes).tolist():
            boxes = int(self._coco_boxes[area, class_id])
            chosen = matched.class_ids == class_id
            part = slice(1 + area * _THRESHOLDS, 1 + (area + 1) * _THRESHOLDS)
            true_positive, ignored = matched.true_positive[chosen, part], matched.ignored[chosen, part]
            for threshold in range(_THRESHOLDS):
                counted = true_positive[~ignored[:, threshold], threshold]
                precision[area, class_id, threshold] = coco_101_points(counted, boxes)
            if area == 0:
                recall[class_id] = true_positive.sum(axis=0) / boxes
        any_area, *of_areas = precision
        small, medium, large = (_mean_of(figures) for figures in of_areas)
        return CocoFigures(
            mean=_mean_of(any_area),
            at_50=_mean_of(any_area[:, 0]),
            at_75=_mean_of(any_area[:, 5]),
            small=small,
            medium=medium,
            large=large,
            recall=_mean_of(recall),
        )

    def result(self) -> Scores:
        """Score everything added so far."""
        matched = self._all_matched()
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
        voc, *coco = (true_positive[~ignored[:, column], column] for column in range(_ANY_AREA.stop))
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


def _mean_of(figures: Floats) -> float | None:
    """Return the mean of the numbers among them, None if there is none."""
    numbers = figures[~np.isnan(figures)]
    return float(numbers.mean()) if numbers.size else None


def _mean(figures: list[float | None]) -> float:
    present = [figure for figure in figures if figure is not None]
    return sum(present) / len(present) if present else 0.0
