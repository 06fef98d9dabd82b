"""What stands out in the training, the data and the detections, in sentences.

Detections are counted from the report's score threshold on.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sagemaker_ssd.errors import in_words
from sagemaker_ssd.report.analysis import BACKGROUND, CLASSIFICATION, DUPLICATE, LOCALIZATION, Analysis
from sagemaker_ssd.report.metrics_file import EpochFigures, ModelFigures, hyperparameter, nested
from sagemaker_ssd.report.wording import digits, listing, number, percent, quoted

# Below these a figure says little, since a few images more or less change it.
FEW_IMAGES = 100
FEW_BOXES = 20
FEW_TRAINING_BOXES = 50
# The last epochs are compared with the best one by their mean, as single epochs jump.
_LAST = 3
_FALL = 0.9
# A loss that is still falling lost more than this share over the last quarter of the epochs.
_STILL_FALLING = 0.05
# A confusion is reported from this many, and this share of the true class's objects, on.
_CONFUSED_COUNT = 3
_CONFUSED_SHARE = 0.1
# A kind of mistake is reported when it is this share of the wrong detections or more, of at least so many.
_KIND_SHARE = 0.3
_KIND_COUNT = 10
# COCO's small objects, in square pixels of the image.
_SMALL_AREA = 32**2
# Small objects are found at less than this share of the rate of the others.
_SMALL_RATE = 0.6
_SMALL_COUNT = 10
_KIND_SENTENCES = {
    DUPLICATE: "are second boxes on an object that is found already: a lower nms_threshold removes some",
    CLASSIFICATION: "lie on an object of another class",
    LOCALIZATION: "lie on an object of their class, but fit too loosely",
    BACKGROUND: "lie where there is no object, or one that is not labelled",
}


def training_findings(metrics: Mapping[str, Any], epochs: Sequence[EpochFigures]) -> Iterator[str]:
    """Say whether training ended too early, or went on too long."""
    if len(epochs) < 2:
        return
    # Those before a resumption with other validation data have no mAP that compares.
    scored = [epoch for epoch in epochs if epoch.mean is not None]
    known = [epoch.mean for epoch in epochs if epoch.mean is not None]
    if epochs[-1].mean is None:
        yield from _loss_only(epochs)
        return
    best = max(range(len(known)), key=known.__getitem__)
    kept = metrics.get("best_epoch")
    last = sum(known[-_LAST:]) / len(known[-_LAST:])
    if known[best] == 0:
        yield (
            "No epoch has a validation mAP above 0: the network has not learned to detect anything yet. Train longer, "
            "or check learning_rate and the boxes."
        )
    elif kept not in (None, scored[best].epoch):
        # A job that was interrupted while the best epoch's file was written.
        yield (
            f"The model kept is that of epoch {kept}, although epoch {scored[best].epoch} has the highest mAP "
            f"({known[best]:.3f}): that one's file was lost when the job was interrupted."
        )
    elif best == len(known) - 1:
        yield (
            f"The last epoch is the best one (mAP {known[best]:.3f}): training was still improving. "
            "More epochs may give a better model."
        )
    elif best < len(known) - _LAST and last < _FALL * known[best]:
        yield _fall(metrics, scored, best, known[best], last)
    if metrics.get("ended_early") is True:
        yield f"Early stopping ended the job after {in_words(len(epochs), 'epoch', 'epochs')}."


def _loss_only(epochs: Sequence[EpochFigures]) -> Iterator[str]:
    losses = [epoch.cross_entropy for epoch in epochs if epoch.cross_entropy is not None]
    quarter = max(1, len(losses) // 4)
    if len(losses) > quarter and losses[-1] < (1 - _STILL_FALLING) * losses[-1 - quarter]:
        yield (
            f"The cross-entropy was still falling at the end (from {losses[-1 - quarter]:.3f} to {losses[-1]:.3f} in "
            f"the last {in_words(quarter, 'epoch', 'epochs')}): more epochs may give a better model."
        )


def _fall(metrics: Mapping[str, Any], epochs: Sequence[EpochFigures], best: int, score: float, last: float) -> str:
    said = (
        f"The mAP was best in epoch {epochs[best].epoch} ({score:.3f}) and fell to {last:.3f}, the mean of the last "
        f"{_LAST} epochs"
    )
    before, after = epochs[best].cross_entropy, epochs[-1].cross_entropy
    if before is not None and after is not None and after < before:
        return (
            f"{said}, while the training loss went on falling: overfitting. The model kept is that of the "
            "best epoch; more or more varied training images help, more epochs do not."
        )
    # The rate says nothing to adadelta.
    adadelta = nested(metrics, "hyperparameters").get("optimizer") == "adadelta"
    remedy = "Another optimizer, such as sgd," if adadelta else "A lower learning_rate, or lr_scheduler_step,"
    return f"{said}: training became unstable. {remedy} may help."


def data_findings(metrics: Mapping[str, Any], epochs: Sequence[EpochFigures], analysis: Analysis) -> Iterator[str]:
    """Say what the data cannot show or teach: too few images and boxes, and boxes that the network cannot reach."""
    validation = analysis.validation
    names = validation.class_names
    if not validation.images:
        if all(epoch.mean is None for epoch in epochs):
            yield "There are no validation images, so nothing is known of how well the model detects."
        return
    if len(validation.images) < FEW_IMAGES:
        yield (
            f"The validation set is small ({in_words(len(validation.images), 'image', 'images')}): differences in mAP "
            "of a few hundredths may be chance."
        )
    drawn = np.bincount(validation.objects.classes, minlength=len(names))
    for kind, rows in (
        ("Without a box", drawn == 0),
        ("With only difficult boxes", (drawn > 0) & (analysis.boxes == 0)),
    ):
        if rows.any():
            without = [quoted(names[row]) for row in np.flatnonzero(rows)]
            yield f"{kind} in the validation data, and so left out of the mAP: {listing(without)}."
    few = [number for number in np.argsort(analysis.boxes, kind="stable") if 0 < analysis.boxes[number] < FEW_BOXES]
    if few:
        each = [f"{quoted(names[number])} ({analysis.boxes[number]})" for number in few]
        yield f"Fewer than {FEW_BOXES} boxes in the validation data, so that their AP is uncertain: {listing(each)}."
    yield from _training_boxes(metrics, analysis)
    yield from _anchors(metrics)


def _training_boxes(metrics: Mapping[str, Any], analysis: Analysis) -> Iterator[str]:
    boxes = nested(metrics, "data", "train").get("boxes_per_class")
    if not isinstance(boxes, Sequence):
        return
    named = zip(analysis.validation.class_ids, analysis.validation.class_names, strict=True)
    few = [
        (boxes[class_id], name)
        for class_id, name in named
        if 0 <= class_id < len(boxes) and boxes[class_id] < FEW_TRAINING_BOXES
    ]
    if few:
        each = [f"{quoted(name)} ({count})" for count, name in sorted(few, key=lambda pair: pair[0])]
        yield f"Fewer than {FEW_TRAINING_BOXES} boxes to learn from in the training data: {listing(each)}."


def _anchors(metrics: Mapping[str, Any]) -> Iterator[str]:
    anchors = nested(metrics, "anchors")
    boxes, unmatched = number(anchors.get("boxes")), number(anchors.get("unmatched"))
    shape = hyperparameter(metrics, "image_shape")
    if boxes and unmatched:
        yield (
            f"{percent(unmatched, boxes)} of the boxes ({unmatched:,.0f} of {boxes:,.0f}) overlap no anchor of the "
            "network by half: such sizes and shapes are hard to learn."
        )
    smallest, below = number(anchors.get("smallest")), number(anchors.get("below_smallest"))
    if boxes and smallest and below:
        at = f" at image_shape {shape:.0f}" if shape else ""
        yield (
            f"{percent(below, boxes)} of the boxes ({below:,.0f}) are smaller{at} than the smallest anchor "
            f"({digits(smallest, 0)} pixels): a larger image_shape, or cutting images into parts, helps."
        )


def detection_findings(analysis: Analysis, figures: ModelFigures) -> Iterator[str]:
    """Say which classes and objects the model does badly on, and what its mistakes are."""
    if not analysis.total_boxes:
        return
    if not len(analysis.validation.scores):
        yield "The model detects nothing at all in the validation images."
        return
    if not analysis.matches.true_positive.any():
        highest = f" of the {len(analysis.validation.scores):,} with the highest scores"
        yield f"Not one detection{'' if analysis.left_out is None else highest} is right."
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
    for row in np.flatnonzero((analysis.boxes > 0) & (analysis.detections > 0)):
        of_class = figures.classes.get(ids[row])
        if of_class and of_class.voc07 is not None and of_class.voc07 < figures.mean / 2:
            weak.append((of_class.voc07, names[row]))
    if weak:
        each = [f"{quoted(name)} ({score:.3f})" for score, name in sorted(weak)]
        yield f"AP below half of the mean ({figures.mean:.3f}): {listing(each)}."


def _confusions(analysis: Analysis) -> Iterator[str]:
    names = analysis.validation.class_names
    background = len(names)
    confused = []
    for truth, detected, count in analysis.mistakes.confusions.tolist():
        if truth == detected or background in (truth, detected) or count < _CONFUSED_COUNT:
            continue
        if count >= _CONFUSED_SHARE * analysis.boxes[truth]:
            confused.append(
                (-count, f"{quoted(names[truth])} for {quoted(names[detected])}", int(analysis.boxes[truth]))
            )
    if confused:
        each = [f"{pair} ({-count} of {boxes:,})" for count, pair, boxes in sorted(confused)]
        yield f"Taken for another class: {listing(each)}."


def _kinds(analysis: Analysis) -> Iterator[str]:
    wrong = len(analysis.mistakes.false_positives)
    if wrong < _KIND_COUNT:
        return
    for kind, count in enumerate(np.bincount(analysis.mistakes.kinds, minlength=len(_KIND_SENTENCES)).tolist()):
        if count >= _KIND_SHARE * wrong:
            yield (
                f"{percent(count, wrong)} of the {in_words(wrong, 'wrong detection', 'wrong detections')} with a score "
                f"of {analysis.score_threshold:.2f} or more {_KIND_SENTENCES[kind]}."
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
    shown[validation.detections.images[analysis.mistakes.false_positives]] = True
    false = int((empty & shown).sum())
    if false:
        yield (
            f"Something is detected in {false:,} of the {in_words(int(empty.sum()), 'image', 'images')} without "
            f"objects, with a score of {analysis.score_threshold:.2f} or more."
        )
