"""Everything that the report says of ground truth and detections, computed once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sagemaker_ssd.report.curves import Curve, boxes_per_class, curves, useful_score
from sagemaker_ssd.report.instances import Indices, ValidationSet, read_instances
from sagemaker_ssd.report.matching import Matches, match
from sagemaker_ssd.report.mistakes import Mistakes, find_mistakes


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
