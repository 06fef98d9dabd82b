"""What is wrong with detections, and what becomes of objects, at the report's score and overlap."""

from dataclasses import dataclass

import numpy as np

from sagemaker_ssd.report.instances import Flags, Floats, Indices, ValidationSet
from sagemaker_ssd.report.matching import Matches, first_claims, nearest_objects

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
