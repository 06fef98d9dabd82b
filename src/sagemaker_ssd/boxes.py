"""Boxes: which ones the data may have, how far two overlap, and which detections match an object; numpy alone."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]

# Decided for rounding in annotation tools: a box may reach this far past the border and is clipped.
BORDER_PIXELS = 2
# Fractions are stored in float32, so a box that ends at the border may seem to pass it by less than this.
_ROUNDING = 1e-6
CLIPPED = f"box past the image's border by up to {BORDER_PIXELS} px, clipped"
NO_AREA = "box without area or inverted, dropped"
ONLY_NO_AREA = "image whose boxes all have no area, left out"
# Boxes within this of images that are twice as large, all of a channel and not few: per cent of the image, likely.
_PERCENT = 100
ONE_PIXEL = "box of the one pixel in the upper left corner, or of the whole image in fractions; read as pixels"
# Room for what rounding adds to a fraction.
_FRACTION_ROUNDING = 1e-3
# Fewer boxes than this within 0 to 1 can be an accident; from this share of all boxes on they are none.
_FEWEST_FRACTIONS = 10
_SHARE_OF_FRACTIONS = 0.9

# Fewer inverted boxes than this, or a smaller share, are slips of the hand.
_FEWEST_INVERTED = 10
_SHARE_OF_INVERTED = 0.1

COCO_IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
# Pairs of boxes that are compared at once, which bounds the memory.
_PAIRS = 100_000


def valid_class_ids(class_ids: NDArray[np.floating[Any]], num_classes: int) -> Flags:
    """Tell which of (n,) class ids are whole numbers from 0 to num_classes - 1."""
    valid: Flags = (class_ids >= 0) & (class_ids < num_classes) & (class_ids == np.floor(class_ids))
    return valid


def pixels_outside(corners: NDArray[np.floating[Any]], width: float, height: float) -> Floats:
    """Tell how many pixels each of (n, 4) corners, in fractions of the image, lies past its border; (n,)."""
    fractions = np.maximum(-corners, corners - 1).astype(np.float64)
    fractions[fractions < _ROUNDING] = 0
    outside: Floats = (fractions * (width, height, width, height)).max(axis=1, initial=0)
    return outside


def too_far_outside(outside: Floats) -> Flags:
    """Tell which of (n,) distances in pixels are more than is clipped."""
    # A hundredth of a pixel for float32 in the fractions.
    far: Flags = outside > BORDER_PIXELS + 0.01
    return far


def with_area(corners: NDArray[np.floating[Any]]) -> Flags:
    """Tell which of (n, 4) corners the reader keeps: xmax > xmin and ymax > ymin."""
    mask: Flags = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
    return mask


def inverted(corners: NDArray[np.floating[Any]]) -> Flags:
    """Tell which of (n, 4) corners are in the wrong order: xmax < xmin or ymax < ymin. Flat ones are not."""
    mask: Flags = (corners[:, 2] < corners[:, 0]) | (corners[:, 3] < corners[:, 1])
    return mask


def have_another_order(inverted: int, boxes: int) -> bool:
    """Return whether so many boxes of a channel are inverted that its numbers must mean something else."""
    return inverted >= max(_FEWEST_INVERTED, _SHARE_OF_INVERTED * boxes)


@dataclass
class FractionCount:
    """Counts boxes that are read as pixels and may be fractions of their image: all their corners lie within 0 to 1.

    As pixels they would be in the one pixel of the corner, which an annotator hardly ever draws. boxes: all that have
    an area. within: those within 0 to 1. broken: those of them that have a coordinate between 0 and 1, which in pixels
    hardly any tool writes; the others are the corner's whole pixel, or the whole image in fractions. small: those
    within 0 to 100 in an image of 200 pixels or more a side, which may be per cent.
    """

    boxes: int = 0
    within: int = 0
    broken: int = 0
    small: int = 0

    @classmethod
    def of_image(cls, corners: NDArray[np.floating[Any]], size: tuple[float, float] = (0, 0)) -> Self:
        """Count the boxes of an image, (n, 4): xmin, ymin, xmax, ymax as they stand; size: its width and height."""
        drawn = corners[with_area(corners)]
        within = (drawn >= -_FRACTION_ROUNDING).all(axis=1) & (drawn <= 1 + _FRACTION_ROUNDING).all(axis=1)
        broken = within & (drawn != np.floor(drawn)).any(axis=1)
        small = ((drawn >= 0) & (drawn <= _PERCENT)).all(axis=1) & (min(size) >= 2 * _PERCENT)
        return cls(len(drawn), int(within.sum()), int(broken.sum()), int(small.sum()))

    def __add__(self, other: "FractionCount") -> "FractionCount":
        """Return the count of both."""
        return FractionCount(
            self.boxes + other.boxes,
            self.within + other.within,
            self.broken + other.broken,
            self.small + other.small,
        )

    @property
    def all_within(self) -> bool:
        """Whether there are boxes, and all of them lie within 0 to 1."""
        return self.within > 0 and self.within == self.boxes

    @property
    def are_fractions(self) -> bool:
        """Whether the boxes are fractions: all of them, or nine of ten and ten or more, lie within 0 to 1.

        All that are few and whole are no proof: such is the one pixel in the corner.
        """
        many = self.within >= max(_FEWEST_FRACTIONS, _SHARE_OF_FRACTIONS * self.boxes)
        return many or (self.all_within and self.broken > 0)

    @property
    def may_be_percent(self) -> bool:
        """Whether all boxes, ten or more, lie within 0 to 100 although their images are larger."""
        return self.small == self.boxes >= _FEWEST_FRACTIONS


def id_range(num_classes: int) -> str:
    """Say which class ids there are, and what says so: a hyperparameter of the job, or of the model that is scored."""
    return f"ids run from 0 to {num_classes - 1}; num_classes is {num_classes}"


def box_area(boxes: NDArray[np.floating[Any]]) -> NDArray[Any]:
    """Return the areas of boxes (N, 4) as (N,), in the boxes' precision; 0 for inverted ones."""
    return _area(boxes.T[:2], boxes.T[2:])


def box_iou(boxes: NDArray[np.floating[Any]], others: NDArray[np.floating[Any]]) -> NDArray[Any]:
    """Return intersection over union of boxes (N, 4) and (M, 4) as (N, M), in the boxes' precision.

    It is 0 where either has no area or is not finite.
    """
    return _iou(_columns(boxes)[:, :, None], _columns(others)[:, None, :])


def box_ioa(boxes: NDArray[np.floating[Any]], others: NDArray[np.floating[Any]]) -> NDArray[Any]:
    """Return the share of each of boxes (N, 4) that lies in each of (M, 4) others as (N, M), in the boxes' precision.

    It is 0 for a box without area. COCO compares detections with crowds by it.
    """
    return _over_area(_columns(boxes)[:, :, None], _columns(others)[:, None, :])


def best_iou_in_group(boxes: Floats, groups: Indices, others: Floats, other_groups: Indices) -> tuple[Floats, Indices]:
    """Find which of the boxes `others` (M, 4) of its own group each of `boxes` (N, 4) overlaps most.

    groups: (N,) and (M,) numbers, such as one for every class of every image. Returns IoU and index, both (N,): of
    equal overlaps the first, 0 and -1 where the group has no other box.
    """
    columns, other_columns = _columns(boxes), _columns(others)
    ious, best = np.zeros(len(boxes)), np.full(len(boxes), -1, np.int64)
    order = np.argsort(other_groups, kind="stable")
    grouped = other_groups[order]
    begin = np.searchsorted(grouped, groups, side="left")
    pairs = np.searchsorted(grouped, groups, side="right") - begin
    rows = np.flatnonzero(pairs)
    for part in _parts(rows, pairs[rows]):
        sizes = pairs[part]
        starts = np.cumsum(sizes) - sizes
        owner = np.repeat(np.arange(len(part)), sizes)
        candidates = order[begin[part][owner] + np.arange(len(owner)) - starts[owner]]
        overlaps = _iou(columns[:, part[owner]], other_columns[:, candidates])
        largest = np.maximum.reduceat(overlaps, starts)
        at_largest = np.flatnonzero(overlaps == largest[owner])
        _, first = np.unique(owner[at_largest], return_index=True)
        ious[part], best[part] = largest, candidates[at_largest[first]]
    return ious, best


def match_voc(ious: Floats, objects: Indices, difficult: Flags, overlap_threshold: float) -> tuple[Flags, Flags]:
    """Tell which detections are true positives and which are ignored, both (D,); the others are false positives.

    Each detection looks only at the object of its class and image that it overlaps most (equal overlaps: the first),
    difficult ones included: `objects` (D,) is its index, `ious` (D,) how far. Detections come by falling score,
    `difficult` is (G,). Below `overlap_threshold`, which is above 0, a detection is a false positive; at a difficult
    object it is ignored; else the first detection to come to the object is a true positive and later ones are false.
    Source: VOCdevkit, VOCevaldet.
    """
    near = ious >= overlap_threshold
    ignored = np.zeros(len(ious), np.bool_)
    ignored[near] = difficult[objects[near]]
    return first_of_each(objects, near & ~ignored), ignored


def first_of_each(objects: Indices, candidates: Flags) -> Flags:
    """Tell which of the candidates (D,) are the first, in the order given, with their number in `objects` (D,)."""
    first = np.zeros(len(objects), np.bool_)
    rows = np.flatnonzero(candidates)
    _, places = np.unique(objects[rows], return_index=True)
    first[rows[places]] = True
    return first


def match_coco(overlaps: Floats, crowd: Flags, outside: Flags) -> tuple[Flags, Flags]:
    """Tell which detections of an image are true positives and which are ignored at each of COCO's ten thresholds.

    Both are (D, 10). `overlaps` (D, G) is 0 between different classes, `box_ioa` with crowds and IoU with other
    objects; `crowd` and `outside`, of the range of areas that is scored, are (G,); detections come by falling score.
    Each detection takes the still free object it overlaps most (equal overlaps: the last); a crowd or an object
    outside only if no other is free and near enough, and then the detection is ignored. A crowd is free for any
    number of detections. Source: pycocotools, cocoeval.
    """
    ignore = crowd | outside
    true_positive = np.zeros((len(overlaps), len(COCO_IOU_THRESHOLDS)), np.bool_)
    ignored = np.zeros_like(true_positive)
    free = np.ones((len(COCO_IOU_THRESHOLDS), len(ignore)), np.bool_)
    rows = np.arange(len(COCO_IOU_THRESHOLDS))
    rank = overlaps - 2.0 * ignore  # what is ignored ranks below all others
    for detection in np.flatnonzero(overlaps.max(axis=1) >= COCO_IOU_THRESHOLDS[0]):
        within_reach = free & (overlaps[detection] >= COCO_IOU_THRESHOLDS[:, None])
        ranked = np.where(within_reach, rank[detection], -np.inf)
        best = len(ignore) - 1 - ranked[:, ::-1].argmax(axis=1)  # argmax takes the first, COCO the last
        taken = within_reach[rows, best]
        free[rows[taken], best[taken]] = crowd[best[taken]]
        true_positive[detection] = taken & ~ignore[best]
        ignored[detection] = taken & ignore[best]
    return true_positive, ignored


def _iou(left: NDArray[np.floating[Any]], right: NDArray[np.floating[Any]]) -> NDArray[Any]:
    """Return the overlaps of `_columns` of boxes, broadcast against one another: (4, ...) and (4, ...) as (...)."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        intersection = _area(np.maximum(left[:2], right[:2]), np.minimum(left[2:], right[2:]))
        union = _area(left[:2], left[2:]) + _area(right[:2], right[2:]) - intersection
        iou: NDArray[Any] = intersection / union
        defined = union > 0
    # Nearly always all are, and assigning through a mask costs more than looking.
    if not defined.all():
        iou[~defined] = 0
    return iou


def _over_area(left: NDArray[np.floating[Any]], right: NDArray[np.floating[Any]]) -> NDArray[Any]:
    """Return how much of each left one lies in the right one, of `_columns` of boxes as `_iou` takes them."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        shares: NDArray[Any] = _area(np.maximum(left[:2], right[:2]), np.minimum(left[2:], right[2:])) / _area(
            left[:2], left[2:]
        )
    shares[~np.isfinite(shares)] = 0
    return shares


def _columns(boxes: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    # A view would make numpy keep the four numbers of a box together in every result, which takes it twice as long.
    return np.ascontiguousarray(boxes.T)


def _area(low: NDArray[np.floating[Any]], high: NDArray[np.floating[Any]]) -> NDArray[Any]:
    sides = high - low
    np.maximum(sides, 0, out=sides)
    area: NDArray[Any] = sides[0] * sides[1]
    return area


def _parts(rows: Indices, sizes: Indices) -> list[Indices]:
    """Split rows that have `sizes` pairs each into parts of about `_PAIRS`."""
    total = np.cumsum(sizes)
    if not len(rows):
        return []
    cuts = np.searchsorted(total, np.arange(_PAIRS, total[-1], _PAIRS))
    return [part for part in np.split(rows, np.unique(cuts)) if len(part)]
