"""Which detections are right, which are mistakes, and what was missed: at one overlap, for pictures and charts."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

OVERLAP: Final = 0.5


@dataclass(frozen=True)
class Matched:
    """Detections by falling score, and what each is.

    images, classes, scores: (D,). right: (D,), whether it is the best of its class on an object. on: (D,), the class of
    the object that it overlaps most, by half at least; -1 for the background. missed: (image, object's number in it).
    counts: (C,), objects of each class, the difficult ones left out.
    """

    images: NDArray[np.int64]
    classes: NDArray[np.int64]
    scores: NDArray[np.float64]
    right: NDArray[np.bool_]
    on: NDArray[np.int64]
    counts: NDArray[np.int64]
    found_at: dict[int, NDArray[np.float64]]


@dataclass(frozen=True)
class Rows:
    """One image's objects or detections: boxes (N, 4) corners in pixels, classes (N,), scores or difficult (N,)."""

    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]
    more: NDArray[np.float64]


def rows_by_image(entries: list[dict[str, Any]], key: str) -> dict[int, Rows]:
    """Return COCO's annotations or results by image; `key` is "ignore" or "score"."""
    boxes: dict[int, list[Any]] = defaultdict(list)
    for entry in entries:
        left, top, width, height = entry["bbox"]
        row = (left, top, left + width, top + height, entry["category_id"], entry.get(key, 0))
        boxes[entry["image_id"]].append(row)
    arrays = {image: np.array(rows, np.float64) for image, rows in boxes.items()}
    return {image: Rows(rows[:, :4], rows[:, 4].astype(np.int64), rows[:, 5]) for image, rows in arrays.items()}


NOTHING: Final = Rows(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))


def match(objects: dict[int, Rows], found: dict[int, Rows], num_classes: int) -> Matched:
    """Match within each class of each image, by falling score; what falls on a difficult object is left out."""
    images: list[Any] = []
    classes: list[Any] = []
    scores: list[Any] = []
    right: list[Any] = []
    on: list[Any] = []
    counts, found_at = np.zeros(num_classes, np.int64), {}
    for image in sorted({*objects, *found}):
        truth, detections = objects.get(image, NOTHING), found.get(image, NOTHING)
        counts += np.bincount(truth.classes[truth.more == 0], minlength=num_classes)
        order = np.argsort(-detections.more, kind="stable")
        one = Rows(detections.boxes[order], detections.classes[order], detections.more[order])
        hit, where, best = _match_image(truth, one)
        kept = where != -2
        found_at[image] = best
        images.append(np.full(int(kept.sum()), image))
        classes.append(one.classes[kept])
        scores.append(one.more[kept])
        right.append(hit[kept])
        on.append(where[kept])
    joined = [
        np.concatenate([np.zeros(0, kind), *part])
        for kind, part in (
            (np.int64, images),
            (np.int64, classes),
            (np.float64, scores),
            (np.bool_, right),
            (np.int64, on),
        )
    ]
    order = np.argsort(-joined[2], kind="stable")
    at, of_class, score, is_right, upon = (part[order] for part in joined)
    return Matched(at, of_class, score, is_right, upon, counts, found_at)


def _match_image(truth: Rows, one: Rows) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.float64]]:
    """Return of each detection whether it is right and on what, -2 on a difficult object; of each object its score."""
    hit, on = np.zeros(len(one.boxes), np.bool_), np.full(len(one.boxes), -1, np.int64)
    best = np.zeros(len(truth.boxes))
    if not (len(truth.boxes) and len(one.boxes)):
        return hit, on, best
    overlap = overlaps(one.boxes, truth.boxes)
    most = overlap.argmax(1)
    on = np.where(overlap.max(1) >= OVERLAP, truth.classes[most], -1)
    same = np.where(one.classes[:, None] == truth.classes, overlap, 0.0)
    target, taken = same.argmax(1), np.zeros(len(truth.boxes), np.bool_)
    for number in np.flatnonzero(same.max(1) >= OVERLAP):
        k = target[number]
        if truth.more[k]:
            on[number] = -2
        elif not taken[k]:
            taken[k], hit[number], best[k] = True, True, one.more[number]
            on[number] = one.classes[number]
    return hit, on, best


def overlaps(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the IoU of (N, 4) and (M, 4) corners: (N, M)."""
    sides = np.minimum(boxes[:, None, 2:], others[None, :, 2:]) - np.maximum(boxes[:, None, :2], others[None, :, :2])
    common = sides.clip(0).prod(2)
    areas = [(part[:, 2:] - part[:, :2]).prod(1) for part in (boxes, others)]
    union = areas[0][:, None] + areas[1] - common
    shares: NDArray[np.float64] = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return shares


def best_threshold(matched: Matched) -> float:
    """Return the score from which on precision and recall have the best harmonic mean (F1); 0.5 without any right."""
    hits = np.cumsum(matched.right)
    if not len(hits) or hits[-1] == 0:
        return 0.5
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + matched.counts.sum())
    return float(matched.scores[int(f1.argmax())])


def confusion(matched: Matched, threshold: float) -> NDArray[np.int64]:
    """Return (C + 1, C + 1): rows are what is there, columns what was found; the last of each is nothing."""
    classes = len(matched.counts)
    table = np.zeros((classes + 1, classes + 1), np.int64)
    sure = matched.scores >= threshold
    right, wrong = sure & matched.right, sure & ~matched.right
    np.add.at(table, (matched.classes[right], matched.classes[right]), 1)
    # A second detection of an object counts as one of nothing.
    there = np.where(matched.on == matched.classes, -1, matched.on)[wrong]
    np.add.at(table, (np.where(there < 0, classes, there), matched.classes[wrong]), 1)
    table[:classes, classes] = (matched.counts - table[:classes, :classes].sum(1)).clip(0)
    return table


def curve(matched: Matched, class_id: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return recall and precision of a class along its detections, (D,) each."""
    hits = np.cumsum(matched.right[matched.classes == class_id])
    return hits / max(int(matched.counts[class_id]), 1), hits / np.arange(1, len(hits) + 1)
