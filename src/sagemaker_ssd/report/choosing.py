"""Which pictures tell most: chosen by the figures alone, before any image is read."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from sagemaker_ssd.report.analysis import Analysis
from sagemaker_ssd.report.instances import Floats, Indices
from sagemaker_ssd.report.mistakes import CONFUSED, LOOSE, REPEATED
from sagemaker_ssd.report.wording import counted, quoted

BEST_PICTURES = 3
MISTAKE_PICTURES = 6


@dataclass(frozen=True)
class Choice:
    """An image of the validation set, what there is to see, and the detection or object to look at, if it is one."""

    image: int
    sentence: str
    detection: int | None = None
    missed: int | None = None


def best_images(analysis: Analysis) -> list[Choice]:
    """Choose images with the best F1 of their own; of equal ones those with more objects, then higher scores."""
    right, wrong, boxes, scores = _counts(analysis)
    f1 = 2 * right / np.maximum(right + wrong + boxes, 1)
    order = np.lexsort([-scores, -right, -f1])
    return [
        Choice(int(image), _best_sentence(int(right[image]), int(wrong[image]), int(boxes[image])))
        for image in order[:BEST_PICTURES]
        if right[image]
    ]


def _counts(analysis: Analysis) -> tuple[Indices, Indices, Indices, Floats]:
    """Right and wrong detections, objects, and mean score of the right ones, for each image."""
    validation, matches = analysis.validation, analysis.matches
    size = len(validation.images)
    shown = matches.right & (validation.scores >= analysis.score_threshold)
    images = validation.detections.images
    right = np.bincount(images[shown], minlength=size)
    wrong = np.bincount(images[analysis.mistakes.wrong], minlength=size)
    boxes = np.bincount(validation.objects.images[~validation.difficult], minlength=size)
    scores = np.bincount(images[shown], validation.scores[shown], minlength=size) / np.maximum(right, 1)
    return right, wrong, boxes, scores


def _best_sentence(right: int, wrong: int, boxes: int) -> str:
    if right == boxes:
        found = "The only object is found" if boxes == 1 else f"All {boxes:,} objects are found"
    else:
        found = f"{right:,} of {counted(boxes, 'object')} {'is' if right == 1 else 'are'} found"
    return f"{found}, {counted(wrong, 'detection') if wrong else 'nothing'} wrong."


def false_detections(analysis: Analysis) -> list[Choice]:
    """Choose the wrong detections with the highest scores, one an image."""
    validation, mistakes = analysis.validation, analysis.mistakes
    _, first = np.unique(validation.detections.images[mistakes.wrong], return_index=True)
    return [_false_choice(analysis, int(row)) for row in np.sort(first)[:MISTAKE_PICTURES]]


def _false_choice(analysis: Analysis, row: int) -> Choice:
    validation, mistakes = analysis.validation, analysis.mistakes
    detection = mistakes.wrong[row]
    name = quoted(validation.class_names[validation.detections.classes[detection]])
    overlap, kind = mistakes.overlaps[row], mistakes.kinds[row]
    said = f"{name} with a score of {validation.scores[detection]:.2f}"
    if kind == CONFUSED:
        other = validation.class_names[validation.objects.classes[mistakes.nearest[row]]]
        sentence = f"{said}: the object is labelled {quoted(other)} (overlap {overlap:.2f})."
    elif kind == REPEATED:
        sentence = f"{said}: a second box on an object that is found already."
    elif kind == LOOSE:
        own = analysis.matches.overlaps[detection]
        sentence = f"{said}: overlaps an object of its class by {own:.2f}, {analysis.overlap_threshold:.2f} is needed."
    else:
        sentence = f"{said}: nothing is labelled there."
    return Choice(int(validation.detections.images[detection]), sentence, detection=int(detection))


def missed_objects(analysis: Analysis, used: Collection[int]) -> list[Choice]:
    """Choose missed objects, class by class in turn, the largest of each class first, one an image.

    Images that are `used` come last, since they are shown already.
    """
    validation = analysis.validation
    objects = validation.objects
    missed = np.flatnonzero(~analysis.mistakes.found & ~validation.difficult)
    sizes = np.array([max(image.width * image.height, 1.0) for image in validation.images])
    shares = (objects.areas() / sizes[objects.images])[missed] if len(missed) else np.zeros(0)
    again = np.isin(objects.images[missed], list(used)).astype(np.int64)
    groups = again * len(validation.class_ids) + objects.classes[missed]
    order = np.lexsort([-shares, groups])
    turns = np.empty(len(missed), np.int64)
    turns[order] = np.arange(len(missed)) - np.searchsorted(groups[order], groups[order], side="left")
    order = missed[np.lexsort([groups, turns, again])]
    _, first = np.unique(objects.images[order], return_index=True)
    return [_missed_choice(analysis, int(order[row])) for row in np.sort(first)[:MISTAKE_PICTURES]]


def _missed_choice(analysis: Analysis, missed: int) -> Choice:
    validation = analysis.validation
    box = validation.objects.corners[missed]
    width, height = box[2:] - box[:2]
    sentence = (
        f"{quoted(validation.class_names[validation.objects.classes[missed]])} of {width:.0f} × {height:.0f} pixels is "
        f"{_what_became(analysis, missed)}."
    )
    return Choice(int(validation.objects.images[missed]), sentence, missed=missed)


def _what_became(analysis: Analysis, missed: int) -> str:
    validation, matches, mistakes = analysis.validation, analysis.matches, analysis.mistakes
    taken = mistakes.wrong[(mistakes.nearest == missed) & (mistakes.kinds == CONFUSED)]
    if len(taken):
        other = validation.class_names[validation.detections.classes[taken[0]]]
        return f"taken for {quoted(other)} (score {validation.scores[taken[0]]:.2f})"
    near = (matches.nearest == missed) & (matches.overlaps >= analysis.overlap_threshold)
    lower = validation.scores[near & (validation.scores < analysis.score_threshold)]
    return f"found with a score of {lower[0]:.2f} only" if len(lower) else "not found at any score"
