"""What the report says of COCO's ground truth and results, computed once: matches, curves, mistakes, counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sagemaker_ssd.boxes import Flags, Floats, Indices, best_iou_in_group, box_area, first_of_each, match_voc
from sagemaker_ssd.report.wording import plain
from sagemaker_ssd.scoring.average_precision import interpolated_precision, voc_11_points, voc_all_points

# Kinds of false positives.
DUPLICATE, CLASSIFICATION, LOCALIZATION, BACKGROUND = range(4)
# Below this overlap a box is not about the object at all. Source of the four kinds and of 0.1: Hoiem et al. 2012.
SLIGHT_OVERLAP = 0.1
# At which precision is read for the curves.
RECALL_STEPS = 100
_HUNDREDTHS = np.arange(1, 100)


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
        return box_area(self.corners)

    def chosen(self, rows: Indices) -> "Boxes":
        """Return the boxes of some rows, in their order."""
        return Boxes(self.images[rows], self.classes[rows], self.corners[rows])


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
    """Read COCO's ground truth and results; boxes of unknown images and numbers that are not finite are left out."""
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
        objects=objects.chosen(np.flatnonzero(kept)),
        difficult=difficult[kept],
        detections=found.chosen(order),
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


@dataclass(frozen=True)
class Matches:
    """For D detections: the object of its class that each overlaps most (-1: none), and what that makes of it."""

    ious: Floats  # (D,) with that object
    objects: Indices  # (D,)
    true_positive: Flags  # (D,)
    ignored: Flags  # (D,) neither true nor false positive: at a difficult object

    @property
    def false_positive(self) -> Flags:
        """Tell which detections are wrong, (D,)."""
        return ~self.true_positive & ~self.ignored


def match(validation: ValidationSet, overlap_threshold: float) -> Matches:
    """Match detections with objects of their class by VOC's rule, all images at once."""
    objects, detections = validation.objects, validation.detections
    classes = len(validation.class_ids)
    ious, nearest = best_iou_in_group(
        detections.corners,
        detections.images * classes + detections.classes,
        objects.corners,
        objects.images * classes + objects.classes,
    )
    return Matches(ious, nearest, *match_voc(ious, nearest, validation.difficult, overlap_threshold))


@dataclass(frozen=True)
class Curve:
    """One class: the best precision at recall 0, 0.01 ... 1 or beyond, and the figures of the same matches."""

    precisions: Floats  # (RECALL_STEPS + 1,)
    voc07: float
    all_points: float


def curves(validation: ValidationSet, matches: Matches) -> list[Curve | None]:
    """Return each class's curve, None for classes without ground truth."""
    classes = validation.detections.classes
    order = np.argsort(classes, kind="stable")  # within a class still by falling score
    ends = np.searchsorted(classes[order], np.arange(len(validation.class_ids) + 1))
    result: list[Curve | None] = []
    for number, boxes in enumerate(boxes_per_class(validation).tolist()):
        rows = order[ends[number] : ends[number + 1]]
        right = matches.true_positive[rows[~matches.ignored[rows]]]
        result.append(
            Curve(
                interpolated_precision(right, boxes, RECALL_STEPS),
                voc_11_points(right, boxes),
                voc_all_points(right, boxes),
            )
            if boxes
            else None
        )
    return result


def boxes_per_class(validation: ValidationSet) -> Indices:
    """Return the objects of each class that are not difficult, (C,)."""
    return np.bincount(validation.objects.classes[~validation.difficult], minlength=len(validation.class_ids))


def best_f1_threshold(validation: ValidationSet, matches: Matches) -> float:
    """Return the score, in hundredths, from which on F1 over all classes is best; 0.5 where nothing is right.

    F1 is 2 right / (objects + detections that count); of equal ones the highest score.
    """
    if not matches.true_positive.any():
        return 0.5
    above = len(validation.scores) - np.searchsorted(validation.scores[::-1], _HUNDREDTHS / 100, side="left")
    right, counted = (np.append(0, np.cumsum(flags))[above] for flags in (matches.true_positive, ~matches.ignored))
    f1 = 2 * right / (int((~validation.difficult).sum()) + counted)
    return float(_HUNDREDTHS[len(f1) - 1 - f1[::-1].argmax()] / 100)


@dataclass(frozen=True)
class Mistakes:
    """W false positives by falling score and G objects, at one score and one overlap."""

    false_positives: Indices  # (W,) into the detections
    kinds: Indices  # (W,)
    ious: Floats  # (W,) with the one of `objects`
    objects: Indices  # (W,) the object of any class that each overlaps most, -1 where its image has none
    found: Flags  # (G,)
    confusions: Indices  # (P, 3): true class, detected class, how many; C stands for background


def find_mistakes(
    validation: ValidationSet, matches: Matches, score_threshold: float, overlap_threshold: float
) -> Mistakes:
    """Sort what is wrong among the detections with at least `score_threshold`."""
    shown = validation.scores >= score_threshold
    found = np.zeros(len(validation.objects), np.bool_)
    found[matches.objects[matches.true_positive & shown]] = True
    wrong = np.flatnonzero(shown & matches.false_positive)
    detections, objects = validation.detections, validation.objects
    ious, nearest = best_iou_in_group(
        detections.corners[wrong], detections.images[wrong], objects.corners, objects.images
    )
    own = matches.ious[wrong]
    kinds = np.full(len(wrong), BACKGROUND, np.int64)
    kinds[own >= SLIGHT_OVERLAP] = LOCALIZATION
    kinds[ious >= overlap_threshold] = CLASSIFICATION
    kinds[own >= overlap_threshold] = DUPLICATE
    right = detections.classes[matches.true_positive & shown]
    confusions = _confusions(validation, right, wrong, found, overlap_threshold)
    return Mistakes(wrong, kinds, ious, nearest, found, confusions)


def _confusions(
    validation: ValidationSet, right: Indices, wrong: Indices, found: Flags, overlap_threshold: float
) -> Indices:
    """Count objects and false positives by true and detected class; every object counts once.

    right: the classes of the true positives. wrong: the false positives.
    """
    background = len(validation.class_ids)
    objects, detections = validation.objects, validation.detections
    missed = np.flatnonzero(~found & ~validation.difficult)
    ious, nearest = best_iou_in_group(
        detections.corners[wrong], detections.images[wrong], objects.corners[missed], objects.images[missed]
    )
    true_class = np.append(objects.classes[missed], background)[nearest]
    confused = first_of_each(nearest, (ious >= overlap_threshold) & (true_class != detections.classes[wrong]))
    taken = np.zeros(len(missed), np.bool_)
    taken[nearest[confused]] = True
    pairs = [
        (right, right),
        (np.where(confused, true_class, background), detections.classes[wrong]),
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
    detections: Indices  # of any score, those that were left out included
    true_positives: Indices  # at score_threshold, as `false_positives`
    false_positives: Indices
    left_out: float | None  # the highest score that a detection which was left out can have; None: all are there

    @property
    def found(self) -> int:
        """How many objects are found at the score threshold."""
        return int(self.true_positives.sum())

    @property
    def total_boxes(self) -> int:
        """How many objects there are, difficult ones left out."""
        return int(self.boxes.sum())


def analyse(
    ground_truth: Mapping[str, Any],
    detections: Sequence[Mapping[str, Any]],
    overlap_threshold: float,
    *,
    counts: Mapping[int, int] | None = None,
    left_out: float | None = None,
) -> Analysis:
    """Match and count; the score threshold is the one with the best F1.

    counts: by class_id how many detections there are; where they are more than those given, these are the ones with
    the highest scores. left_out: as in `Analysis`, of detections that were left out in another way.
    """
    validation = read_instances(ground_truth, detections)
    matches = match(validation, overlap_threshold)
    score_threshold = best_f1_threshold(validation, matches)
    mistakes = find_mistakes(validation, matches, score_threshold, overlap_threshold)
    classes = validation.detections.classes
    size = len(validation.class_ids)
    shown = matches.true_positive & (validation.scores >= score_threshold)
    found = np.bincount(classes, minlength=size)
    if counts is not None and sum(counts.values()) > len(detections):
        found = np.maximum(found, [counts.get(class_id, 0) for class_id in validation.class_ids])
        left_out = float(validation.scores[-1]) if len(validation.scores) else 1.0
    return Analysis(
        validation=validation,
        matches=matches,
        mistakes=mistakes,
        curves=curves(validation, matches),
        score_threshold=score_threshold,
        overlap_threshold=overlap_threshold,
        boxes=boxes_per_class(validation),
        detections=found,
        true_positives=np.bincount(classes[shown], minlength=size),
        false_positives=np.bincount(classes[mistakes.false_positives], minlength=size),
        left_out=left_out,
    )
