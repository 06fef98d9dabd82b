"""What stands out in the detections, in sentences; what is counted is counted at the report's score."""

from collections.abc import Iterator

import numpy as np

from sagemaker_ssd.report.analysis import Analysis
from sagemaker_ssd.report.job_figures import ModelFigures
from sagemaker_ssd.report.mistakes import CONFUSED, LOOSE, NOTHING, REPEATED
from sagemaker_ssd.report.wording import counted, listing, percent, quoted

# A confusion is told from this many, and this share of the true class's objects, on.
_CONFUSED_COUNT = 3
_CONFUSED_SHARE = 0.1
# A kind of mistake is told when it is this share of the wrong detections or more, of at least so many.
_KIND_SHARE = 0.3
_KIND_COUNT = 10
# COCO's small objects, in square pixels of the image.
_SMALL_AREA = 32**2
# Small objects are found at less than this share of the rate of the others.
_SMALL_RATE = 0.6
_SMALL_COUNT = 10
_KIND_SENTENCES = {
    REPEATED: "are second boxes on an object that is found already: a lower nms_threshold removes some",
    CONFUSED: "lie on an object of another class",
    LOOSE: "lie on an object of their class, but fit too loosely",
    NOTHING: "lie where there is no object, or one that is not labelled",
}


def detection_findings(analysis: Analysis, figures: ModelFigures) -> Iterator[str]:
    """Say which classes and objects the model does badly on, and what its mistakes are."""
    if not analysis.total_boxes:
        return
    if not len(analysis.validation.scores):
        yield "The model detects nothing at all in the validation images."
        return
    if not analysis.matches.right.any():
        yield "Not one detection is right."
    yield from _weak_classes(analysis, figures)
    yield from _confusions(analysis)
    yield from _kinds(analysis)
    yield from _small_objects(analysis)
    yield from _empty_images(analysis)


def _weak_classes(analysis: Analysis, figures: ModelFigures) -> Iterator[str]:
    names, ids = analysis.validation.class_names, analysis.validation.class_ids
    silent = np.flatnonzero((analysis.boxes > 0) & (analysis.detections == 0))
    if len(silent):
        yield f"Never detected: {listing([quoted(names[number]) for number in silent])}."
    if not figures.mean:
        return
    weak = []
    for number in np.flatnonzero((analysis.boxes > 0) & (analysis.detections > 0)):
        of_class = figures.classes.get(ids[number])
        if of_class and of_class.voc07 is not None and of_class.voc07 < figures.mean / 2:
            weak.append((of_class.voc07, names[number]))
    if weak:
        each = [f"{quoted(name)} ({score:.3f})" for score, name in sorted(weak)]
        yield f"AP below half of the mean ({figures.mean:.3f}): {listing(each)}."


def _confusions(analysis: Analysis) -> Iterator[str]:
    names = analysis.validation.class_names
    background = len(names)
    told = []
    for truth, detected, count in analysis.mistakes.confusions.tolist():
        if truth == detected or background in (truth, detected) or count < _CONFUSED_COUNT:
            continue
        if count >= _CONFUSED_SHARE * analysis.boxes[truth]:
            told.append((-count, f"{quoted(names[truth])} for {quoted(names[detected])}", int(analysis.boxes[truth])))
    if told:
        each = [f"{pair} ({-count} of {boxes:,})" for count, pair, boxes in sorted(told)]
        yield f"Taken for another class: {listing(each)}."


def _kinds(analysis: Analysis) -> Iterator[str]:
    wrong = len(analysis.mistakes.wrong)
    if wrong < _KIND_COUNT:
        return
    for kind, count in enumerate(np.bincount(analysis.mistakes.kinds, minlength=len(_KIND_SENTENCES)).tolist()):
        if count >= _KIND_SHARE * wrong:
            yield (
                f"{percent(count, wrong)} of the {counted(wrong, 'wrong detection')} with a score of "
                f"{analysis.score_threshold:.2f} or more {_KIND_SENTENCES[kind]}."
            )


def _small_objects(analysis: Analysis) -> Iterator[str]:
    objects = analysis.validation.objects
    real = ~analysis.validation.difficult
    small = objects.areas() < _SMALL_AREA
    found = analysis.mistakes.found
    few, many = int((small & real).sum()), int((~small & real).sum())
    if few < _SMALL_COUNT or many < _SMALL_COUNT:
        return
    rate, other = (found & small & real).sum() / few, (found & ~small & real).sum() / many
    if rate < _SMALL_RATE * other:
        yield (
            f"Small objects are missed more often: {percent(rate, 1)} of the {few:,} below 32 × 32 pixels are found, "
            f"{percent(other, 1)} of the larger ones."
        )


def _empty_images(analysis: Analysis) -> Iterator[str]:
    validation = analysis.validation
    empty = np.ones(len(validation.images), np.bool_)
    empty[validation.objects.images] = False
    shown = np.zeros(len(validation.images), np.bool_)
    shown[validation.detections.images[analysis.mistakes.wrong]] = True
    false = int((empty & shown).sum())
    if false:
        yield (
            f"Something is detected in {false:,} of the {counted(int(empty.sum()), 'image')} without objects, with a "
            f"score of {analysis.score_threshold:.2f} or more."
        )
