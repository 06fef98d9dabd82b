"""Which detections find an object: PASCAL VOC's rule, over the whole set at once."""

from dataclasses import dataclass

import numpy as np

from sagemaker_ssd.report.instances import Flags, Floats, Indices, ValidationSet

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
