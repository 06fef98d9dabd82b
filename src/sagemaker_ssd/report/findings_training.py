"""What stands out in the course of the training and in the data, in sentences."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sagemaker_ssd.report.analysis import Analysis
from sagemaker_ssd.report.job_figures import EpochFigures, hyperparameter, section
from sagemaker_ssd.report.wording import counted, figure, listing, number, percent, quoted

# Below these a figure says little, since a few images more or less change it.
FEW_IMAGES = 100
FEW_BOXES = 20
FEW_TRAINING_BOXES = 50
# The last epochs are compared with the best one by their mean, as single epochs jump.
_LAST = 3
_FALL = 0.9
# A loss that is still falling lost more than this share over the last quarter of the epochs.
_STILL_FALLING = 0.05


def training_findings(metrics: Mapping[str, Any], epochs: Sequence[EpochFigures]) -> Iterator[str]:
    """Say whether training ended too early, or went on too long."""
    scores = [epoch.mean for epoch in epochs]
    known = [score for score in scores if score is not None]
    if len(epochs) < 2:
        return
    if len(known) < len(scores):
        yield from _loss_only(epochs)
        return
    best = max(range(len(known)), key=known.__getitem__)
    last = sum(known[-_LAST:]) / len(known[-_LAST:])
    if known[best] == 0:
        yield (
            "No epoch has a validation mAP above 0: the network has not learned to detect anything yet. Train longer, "
            "or check learning_rate and the boxes."
        )
    elif best == len(known) - 1:
        yield (
            f"The last epoch is the best one (mAP {known[best]:.3f}): training was still improving. "
            "More epochs may give a better model."
        )
    elif best < len(known) - _LAST and last < _FALL * known[best]:
        yield _fall(epochs, best, known[best], last)
    if metrics.get("ended_early") is True:
        yield f"Early stopping ended the job after {counted(len(epochs), 'epoch')}."


def _loss_only(epochs: Sequence[EpochFigures]) -> Iterator[str]:
    losses = [epoch.cross_entropy for epoch in epochs if epoch.cross_entropy is not None]
    quarter = max(1, len(losses) // 4)
    if len(losses) > quarter and losses[-1] < (1 - _STILL_FALLING) * losses[-1 - quarter]:
        yield (
            f"The cross-entropy was still falling at the end (from {losses[-1 - quarter]:.3f} to {losses[-1]:.3f} in "
            f"the last {counted(quarter, 'epoch')}): more epochs may give a better model."
        )


def _fall(epochs: Sequence[EpochFigures], best: int, score: float, last: float) -> str:
    said = (
        f"The mAP was best in epoch {epochs[best].epoch} ({score:.3f}) and fell to {last:.3f}, the mean of the last "
        f"{_LAST} epochs"
    )
    before, after = epochs[best].cross_entropy, epochs[-1].cross_entropy
    if before is not None and after is not None and after < before:
        return (
            f"{said}, while the training loss went on falling: overfitting. The model kept is that of the best epoch; "
            "more or more varied training images help, more epochs do not."
        )
    return f"{said}: training became unstable. A lower learning_rate, or lr_scheduler_step, may help."


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
            f"The validation set is small ({counted(len(validation.images), 'image')}): differences in mAP of a few "
            "hundredths may be chance."
        )
    without = [quoted(names[number]) for number in np.flatnonzero(analysis.boxes == 0)]
    if without:
        yield f"Without a box in the validation data, and so left out of the mAP: {listing(without)}."
    few = [number for number in np.argsort(analysis.boxes, kind="stable") if 0 < analysis.boxes[number] < FEW_BOXES]
    if few:
        each = [f"{quoted(names[number])} ({analysis.boxes[number]})" for number in few]
        yield f"Fewer than {FEW_BOXES} boxes in the validation data, so that their AP is uncertain: {listing(each)}."
    yield from _training_boxes(metrics, analysis)
    yield from _anchors(metrics)


def _training_boxes(metrics: Mapping[str, Any], analysis: Analysis) -> Iterator[str]:
    boxes = section(metrics, "data", "train").get("boxes_per_class")
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
    anchors = section(metrics, "anchors")
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
            f"({figure(smallest, 0)} pixels): a larger image_shape, or cutting images into parts, helps."
        )
