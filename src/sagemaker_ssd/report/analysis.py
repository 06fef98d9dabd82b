"""Ground truth and detections in COCO's form as arrays.

Which detections find an object: PASCAL VOC's rule, over the whole set at once.

Precision over recall of each class, and the score that parts right from wrong best.

What is wrong with detections, and what becomes of objects, at the report's score and overlap.

Everything that the report says of ground truth and detections, computed once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.report.wording import plain

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]


class ImageEntry(NamedTuple):
    """An image of the ground truth; width and height in pixels, 0 where they are not given."""

    image_id: int
    name: str
    width: float
    height: float


@dataclass(frozen=True)
class Boxes:
    """B boxes: indices into the set's images and classes, and corners xmin, ymin, xmax, ymax in pixels."""

    images: Indices  # (B,)
    classes: Indices  # (B,)
    corners: Floats  # (B, 4)

    def __len__(self) -> int:
        return len(self.images)

    def areas(self) -> Floats:
        """Return the areas in square pixels, (B,)."""
        sides = np.maximum(self.corners[:, 2:] - self.corners[:, :2], 0.0)
        product: Floats = sides[:, 0] * sides[:, 1]
        return product


@dataclass(frozen=True)
class ValidationSet:
    """Images, classes, G objects and D detections; detections by falling score, equal scores as they came."""

    images: tuple[ImageEntry, ...]
    class_ids: tuple[int, ...]
    class_names: tuple[str, ...]
    objects: Boxes
    difficult: Flags  # (G,)
    detections: Boxes
    scores: Floats  # (D,)


def read_instances(ground_truth: Mapping[str, Any], detections: Sequence[Mapping[str, Any]]) -> ValidationSet:
    """Read COCO's instances and results; boxes of unknown images and numbers that are not finite are left out."""
    images = [_image(entry) for entry in ground_truth.get("images", ())]
    annotations = ground_truth.get("annotations", ())
    names = {int(entry["id"]): plain(entry.get("name", entry["id"])) for entry in ground_truth.get("categories", ())}
    used = {int(entry["category_id"]) for entry in annotations} | {int(entry["category_id"]) for entry in detections}
    class_ids = tuple(sorted(names.keys() | used))
    places = {image.image_id: index for index, image in enumerate(images)}
    numbers = {class_id: index for index, class_id in enumerate(class_ids)}
    objects, kept = _boxes(annotations, places, numbers)
    difficult = np.array([bool(entry.get("ignore") or entry.get("iscrowd")) for entry in annotations], np.bool_)
    found, good = _boxes(detections, places, numbers)
    scores = np.array([entry["score"] for entry in detections], np.float64)
    good &= np.isfinite(scores)
    order = np.flatnonzero(good)
    order = order[np.argsort(-scores[order], kind="stable")]
    return ValidationSet(
        images=tuple(images),
        class_ids=class_ids,
        class_names=tuple(names.get(class_id, str(class_id)) for class_id in class_ids),
        objects=_chosen(objects, np.flatnonzero(kept)),
        difficult=difficult[kept],
        detections=_chosen(found, order),
        scores=scores[order],
    )


def _image(entry: Mapping[str, Any]) -> ImageEntry:
    image_id = int(entry["id"])
    name = plain(entry.get("file_name") or f"image {image_id}")
    return ImageEntry(image_id, name, float(entry.get("width") or 0), float(entry.get("height") or 0))


def _boxes(
    entries: Sequence[Mapping[str, Any]], places: Mapping[int, int], numbers: Mapping[int, int]
) -> tuple[Boxes, Flags]:
    """Return all boxes, and which of them are in an image of the set and finite."""
    images = np.array([places.get(entry["image_id"], -1) for entry in entries], np.int64)
    classes = np.array([numbers[entry["category_id"]] for entry in entries], np.int64)
    corners = np.array([entry["bbox"] for entry in entries], np.float64).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    return Boxes(images, classes, corners), (images >= 0) & np.isfinite(corners).all(axis=1)


def _chosen(boxes: Boxes, rows: Indices) -> Boxes:
    return Boxes(boxes.images[rows], boxes.classes[rows], boxes.corners[rows])


# Pairs of a detection and an object that are compared at once, which bounds the memory.
_PAIRS = 100_000


@dataclass(frozen=True)
class Matches:
    """For D detections: the object of its class that each overlaps most (-1: none), and what that makes of it."""

    overlaps: Floats  # (D,) IoU with that object
    nearest: Indices  # (D,)
    right: Flags  # (D,)
    counted: Flags  # (D,) False where a detection is neither right nor wrong: at a difficult object


def match(validation: ValidationSet, overlap_threshold: float) -> Matches:
    """Match detections with objects of their class, as VOCevaldet does.

    Each looks only at the object it overlaps most, difficult ones included. Below `overlap_threshold` it is
    wrong; else the first by falling score is right and later ones are wrong.
    """
    objects, found = validation.objects, validation.detections
    classes = len(validation.class_ids)
    overlaps, nearest = nearest_objects(
        found.corners,
        found.images * classes + found.classes,
        objects.corners,
        objects.images * classes + objects.classes,
    )
    near = overlaps >= overlap_threshold
    counted = np.ones(len(found), np.bool_)
    counted[near] = ~validation.difficult[nearest[near]]
    return Matches(overlaps, nearest, first_claims(nearest, near & counted), counted)


def first_claims(nearest: Indices, candidates: Flags) -> Flags:
    """Say which candidates are the first, in the order given, to come to their object: (D,)."""
    first = np.zeros(len(nearest), np.bool_)
    rows = np.flatnonzero(candidates)
    _, places = np.unique(nearest[rows], return_index=True)
    first[rows[places]] = True
    return first


def nearest_objects(
    corners: Floats, groups: Indices, object_corners: Floats, object_groups: Indices
) -> tuple[Floats, Indices]:
    """Find the object of the same group that each of D boxes overlaps most (equal overlaps: the first).

    Returns IoU and index, both (D,): 0 and -1 where the group has no object.
    """
    overlaps, nearest = np.zeros(len(corners)), np.full(len(corners), -1, np.int64)
    order = np.argsort(object_groups, kind="stable")
    grouped = object_groups[order]
    begin = np.searchsorted(grouped, groups, side="left")
    pairs = np.searchsorted(grouped, groups, side="right") - begin
    rows = np.flatnonzero(pairs)
    for part in _parts(rows, pairs[rows]):
        sizes = pairs[part]
        starts = np.cumsum(sizes) - sizes
        owner = np.repeat(np.arange(len(part)), sizes)
        candidates = order[begin[part][owner] + np.arange(len(owner)) - starts[owner]]
        shared = _overlap(corners[part].T[:, owner], object_corners.T[:, candidates])
        best = np.maximum.reduceat(shared, starts)
        at_best = np.flatnonzero(shared == best[owner])
        _, first = np.unique(owner[at_best], return_index=True)
        overlaps[part], nearest[part] = best, candidates[at_best[first]]
    return overlaps, nearest


def _parts(rows: Indices, sizes: Indices) -> list[Indices]:
    total = np.cumsum(sizes)
    if not len(rows):
        return []
    cuts = np.searchsorted(total, np.arange(_PAIRS, total[-1], _PAIRS))
    return [part for part in np.split(rows, np.unique(cuts)) if len(part)]


def _overlap(left: Floats, right: Floats) -> Floats:
    """Intersection over union of boxes (4, P) and (4, P) as (P,); 0 if either has no area."""
    shared = _area(np.maximum(left[:2], right[:2]), np.minimum(left[2:], right[2:]))
    union = _area(left[:2], left[2:]) + _area(right[:2], right[2:]) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _area(low: Floats, high: Floats) -> Floats:
    sides = np.maximum(high - low, 0.0)
    area: Floats = sides[0] * sides[1]
    return area


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


# Kinds of wrong detections.
REPEATED, CONFUSED, LOOSE, NOTHING = range(4)
# Below this overlap a box is not about the object at all. Source of the four kinds and of 0.1: Hoiem et al. 2012.
SLIGHT_OVERLAP = 0.1


@dataclass(frozen=True)
class Mistakes:
    """W wrong detections by falling score and G objects, at one score and one overlap."""

    wrong: Indices  # (W,) into the detections
    kinds: Indices  # (W,)
    overlaps: Floats  # (W,) IoU with `nearest`
    nearest: Indices  # (W,) the object of any class that each overlaps most, -1 where its image has none
    found: Flags  # (G,)
    confusions: Indices  # (P, 3): true class, detected class, how many; C stands for background


def find_mistakes(
    validation: ValidationSet, matches: Matches, score_threshold: float, overlap_threshold: float
) -> Mistakes:
    """Sort what is wrong among the detections with at least `score_threshold`."""
    shown = validation.scores >= score_threshold
    found = np.zeros(len(validation.objects), np.bool_)
    found[matches.nearest[matches.right & shown]] = True
    wrong = np.flatnonzero(shown & matches.counted & ~matches.right)
    detections, objects = validation.detections, validation.objects
    overlaps, nearest = nearest_objects(
        detections.corners[wrong], detections.images[wrong], objects.corners, objects.images
    )
    own = matches.overlaps[wrong]
    kinds = np.full(len(wrong), NOTHING, np.int64)
    kinds[own >= SLIGHT_OVERLAP] = LOOSE
    kinds[overlaps >= overlap_threshold] = CONFUSED
    kinds[own >= overlap_threshold] = REPEATED
    right = detections.classes[matches.right & shown]
    confusions = _confusions(validation, right, wrong, found, overlap_threshold)
    return Mistakes(wrong, kinds, overlaps, nearest, found, confusions)


def _confusions(
    validation: ValidationSet, right: Indices, wrong: Indices, found: Flags, overlap_threshold: float
) -> Indices:
    """Count objects and wrong detections by true and detected class; every object counts once."""
    background = len(validation.class_ids)
    objects, detections = validation.objects, validation.detections
    missed = np.flatnonzero(~found & ~validation.difficult)
    overlaps, nearest = nearest_objects(
        detections.corners[wrong], detections.images[wrong], objects.corners[missed], objects.images[missed]
    )
    true_class = np.append(objects.classes[missed], background)[nearest]
    claims = first_claims(nearest, (overlaps >= overlap_threshold) & (true_class != detections.classes[wrong]))
    taken = np.zeros(len(missed), np.bool_)
    taken[nearest[claims]] = True
    pairs = [
        (right, right),
        (np.where(claims, true_class, background), detections.classes[wrong]),
        (objects.classes[missed[~taken]], np.full(int((~taken).sum()), background)),
    ]
    keys = np.concatenate([truth * (background + 1) + detected for truth, detected in pairs])
    kinds, counts = np.unique(keys, return_counts=True)
    return np.stack([kinds // (background + 1), kinds % (background + 1), counts], axis=1)


@dataclass(frozen=True)
class Analysis:
    """A validation set and what was found in it; counts of C classes are (C,)."""

    validation: ValidationSet
    matches: Matches
    mistakes: Mistakes
    curves: list[Curve | None]
    score_threshold: float  # from which on a detection counts as shown
    overlap_threshold: float
    boxes: Indices  # objects that are not difficult
    detections: Indices  # of any score
    right: Indices  # at score_threshold, as `wrong`
    wrong: Indices

    @property
    def found(self) -> int:
        """How many objects are found at the score threshold."""
        return int(self.right.sum())

    @property
    def total_boxes(self) -> int:
        """How many objects there are, difficult ones left out."""
        return int(self.boxes.sum())


def analyse(
    ground_truth: Mapping[str, Any], detections: Sequence[Mapping[str, Any]], overlap_threshold: float
) -> Analysis:
    """Match and count; the score threshold is the one with the best F1."""
    validation = read_instances(ground_truth, detections)
    matches = match(validation, overlap_threshold)
    score_threshold = useful_score(validation, matches)
    mistakes = find_mistakes(validation, matches, score_threshold, overlap_threshold)
    classes = validation.detections.classes
    size = len(validation.class_ids)
    shown = matches.right & (validation.scores >= score_threshold)
    return Analysis(
        validation=validation,
        matches=matches,
        mistakes=mistakes,
        curves=curves(validation, matches),
        score_threshold=score_threshold,
        overlap_threshold=overlap_threshold,
        boxes=boxes_per_class(validation),
        detections=np.bincount(classes, minlength=size),
        right=np.bincount(classes[shown], minlength=size),
        wrong=np.bincount(classes[mistakes.wrong], minlength=size),
    )
