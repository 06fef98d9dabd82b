"""The rules for boxes, alike for every input format: class ids, the image's border, area.

Which detections of one image find an object, by PASCAL VOC's rule and by COCO's; numpy alone.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Decided for rounding in annotation tools: a box may reach this far past the border and is clipped.
BORDER_PIXELS = 2
# Fractions are stored in float32, so a box that ends at the border may seem to pass it by less than this.
_ROUNDING = 1e-6
CLIPPED = f"box past the image's border by up to {BORDER_PIXELS} px, clipped"
NO_AREA = "box without area or inverted, dropped"
ONLY_NO_AREA = "image whose boxes all have no area, left out"


def valid_class_ids(class_ids: NDArray[np.floating[Any]], num_classes: int) -> NDArray[np.bool_]:
    """Tell which of (n,) class ids are whole numbers from 0 to num_classes - 1."""
    valid: NDArray[np.bool_] = (class_ids >= 0) & (class_ids < num_classes) & (class_ids == np.floor(class_ids))
    return valid


def pixels_outside(corners: NDArray[np.floating[Any]], width: float, height: float) -> NDArray[np.float64]:
    """Tell how many pixels each of (n, 4) corners, in fractions of the image, lies past its border; (n,)."""
    fractions = np.maximum(-corners, corners - 1).astype(np.float64)
    fractions[fractions < _ROUNDING] = 0
    outside: NDArray[np.float64] = (fractions * (width, height, width, height)).max(axis=1, initial=0)
    return outside


def too_far_outside(outside: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which of (n,) distances in pixels are more than is clipped."""
    # A hundredth of a pixel for float32 in the fractions.
    far: NDArray[np.bool_] = outside > BORDER_PIXELS + 0.01
    return far


def with_area(corners: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Tell which of (n, 4) corners the reader keeps: xmax > xmin and ymax > ymin."""
    mask: NDArray[np.bool_] = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
    return mask


def id_range(num_classes: int) -> str:
    """Say which class ids there are."""
    return f"ids run from 0 to {num_classes - 1}"


COCO_OVERLAPS = np.linspace(0.5, 0.95, 10)

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def pairwise_overlap(left: Floats, right: Floats) -> Floats:
    """Intersection over union of boxes (D, 4) and (G, 4) as (D, G); 0 if either has no area."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        low = np.maximum(left[:, None, :2], right[None, :, :2])
        high = np.minimum(left[:, None, 2:], right[None, :, 2:])
        shared = _area(low, high)
        union = _area(left[:, :2], left[:, 2:])[:, None] + _area(right[:, :2], right[:, 2:]) - shared
        overlaps: Floats = shared / union
    overlaps[~np.isfinite(overlaps)] = 0.0
    return overlaps


def match_voc(overlaps: Floats, difficult: Flags, overlap_threshold: float) -> tuple[Flags, Flags]:
    """Which detections are right, and which count, both (D,).

    `overlaps` (D, G) is 0 between different classes, `difficult` is (G,), detections come by falling score.
    Each detection looks only at the object it overlaps most (equal overlaps: the first), difficult ones
    included. Below `overlap_threshold` it is wrong; at a difficult object it does not count; else the first
    detection to come to the object is right and later ones are wrong. Source: VOCdevkit, VOCevaldet.
    """
    best = overlaps.argmax(axis=1)
    near = overlaps.max(axis=1) >= overlap_threshold
    counted = ~(near & difficult[best])
    right = np.zeros(len(overlaps), np.bool_)
    candidates = np.flatnonzero(near & counted)
    _, first = np.unique(best[candidates], return_index=True)
    right[candidates[first]] = True
    return right, counted


def match_coco(overlaps: Floats, difficult: Flags) -> tuple[Flags, Flags]:
    """Which detections are right, and which count, at each of COCO's ten overlaps: both (D, 10).

    `overlaps` (D, G) is 0 between different classes, `difficult` is (G,), detections come by falling score.
    Each detection takes the still free object it overlaps most (equal overlaps: the last); a difficult object
    only if no other is free and near enough, and then the detection does not count. Source: pycocotools,
    cocoeval, where objects outside the area range are what difficult ones are here.
    """
    right = np.zeros((len(overlaps), len(COCO_OVERLAPS)), np.bool_)
    counted = np.ones_like(right)
    free = np.ones((len(COCO_OVERLAPS), len(difficult)), np.bool_)
    rows = np.arange(len(COCO_OVERLAPS))
    rank = overlaps - 2.0 * difficult  # difficult objects rank below all others
    for detection in np.flatnonzero(overlaps.max(axis=1) >= COCO_OVERLAPS[0]):
        within_reach = free & (overlaps[detection] >= COCO_OVERLAPS[:, None])
        ranked = np.where(within_reach, rank[detection], -np.inf)
        best = len(difficult) - 1 - ranked[:, ::-1].argmax(axis=1)  # argmax takes the first, COCO the last
        taken = within_reach[rows, best]
        free[rows[taken], best[taken]] = False
        right[detection] = taken & ~difficult[best]
        counted[detection] = ~(taken & difficult[best])
    return right, counted


def rank_in_class(class_ids: NDArray[np.int32]) -> NDArray[np.intp]:
    """How many rows of the same class stand before each row (D,)."""
    order = np.argsort(class_ids, kind="stable")
    grouped = class_ids[order]
    ranks = np.empty(len(class_ids), np.intp)
    ranks[order] = np.arange(len(class_ids)) - np.searchsorted(grouped, grouped, side="left")
    return ranks


def _area(low: Floats, high: Floats) -> Floats:
    sides = np.maximum(high - low, 0.0)
    area: Floats = sides[..., 0] * sides[..., 1]
    return area
