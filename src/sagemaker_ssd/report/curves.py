"""Precision over recall of each class, and the score that parts right from wrong best."""

from dataclasses import dataclass

import numpy as np

from sagemaker_ssd.report.instances import Flags, Floats, Indices, ValidationSet
from sagemaker_ssd.report.matching import Matches

RECALLS = np.linspace(0.0, 1.0, 101)
_HUNDREDTHS = np.arange(1, 100)


@dataclass(frozen=True)
class Curve:
    """One class: the best precision at each of `RECALLS` or beyond, and the figures that follow from it."""

    precisions: Floats  # (101,)
    voc07: float
    all_points: float


def curves(validation: ValidationSet, matches: Matches) -> list[Curve | None]:
    """Return each class's curve, None for classes without ground truth."""
    classes = validation.detections.classes
    order = np.argsort(classes, kind="stable")  # within a class still by falling score
    ends = np.searchsorted(classes[order], np.arange(len(validation.class_ids) + 1))
    boxes = boxes_per_class(validation)
    result: list[Curve | None] = []
    for number, count in enumerate(boxes):
        rows = order[ends[number] : ends[number + 1]]
        result.append(_curve(matches.right[rows[matches.counted[rows]]], int(count)) if count else None)
    return result


def boxes_per_class(validation: ValidationSet) -> Indices:
    """Return the objects of each class that are not difficult, (C,)."""
    return np.bincount(validation.objects.classes[~validation.difficult], minlength=len(validation.class_ids))


def _curve(right: Flags, boxes: int) -> Curve:
    hits = np.cumsum(right, dtype=np.int64)
    precision = hits / np.arange(1, len(right) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    reached = np.append(best, 0.0)
    points = np.searchsorted(hits * 100, np.arange(101) * boxes, side="left")
    eleven = np.searchsorted(hits * 10, np.arange(11) * boxes, side="left")
    return Curve(reached[points], float(reached[eleven].mean()), float(best[right].sum() / boxes))


def useful_score(validation: ValidationSet, matches: Matches) -> float:
    """Return the score, in hundredths, from which on F1 over all classes is best; 0.5 where nothing is right.

    F1 is 2 right / (objects + detections that count); of equal ones the highest score.
    """
    if not matches.right.any():
        return 0.5
    above = len(validation.scores) - np.searchsorted(validation.scores[::-1], _HUNDREDTHS / 100, side="left")
    right, counted = (np.append(0, np.cumsum(flags))[above] for flags in (matches.right, matches.counted))
    f1 = 2 * right / (int((~validation.difficult).sum()) + counted)
    return float(_HUNDREDTHS[len(f1) - 1 - f1[::-1].argmax()] / 100)
