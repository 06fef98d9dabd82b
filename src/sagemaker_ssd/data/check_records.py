"""The check of image records, wherever they come from: each is kept, corrected, left out, or a fault."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.data import boxes
from sagemaker_ssd.data.channel import COUNTED_FROM_0, Progress, usable_image
from sagemaker_ssd.data.examination import Examiner
from sagemaker_ssd.data.findings import Findings
from sagemaker_ssd.data.images import ImageFacts, Judge, examine_image
from sagemaker_ssd.data.labels import (
    NO_LABEL_HINT,
    NO_OBJECT,
    LabelError,
    Payload,
    filling,
    is_empty,
    join_payload,
    readable,
    split_label,
    split_payload,
)
from sagemaker_ssd.data.record_file import Tally
from sagemaker_ssd.data.recordio import Record
from sagemaker_ssd.data.repack import CopiedRecords, RecordsInPlace

FRACTIONS = "Coordinates are fractions of the image's width and height, from 0 to 1"


@dataclass(frozen=True, slots=True)
class _Examined:
    record: Record
    payload: Payload
    objects: NDArray[np.float32]
    facts: ImageFacts


@dataclass(frozen=True, slots=True)
class _Kept:
    label: NDArray[np.float32]
    class_ids: NDArray[np.float32]


def check_records(
    records: Iterable[Record],
    target: CopiedRecords | RecordsInPlace,
    findings: Findings,
    tally: Tally,
    progress: Progress,
    *,
    num_classes: int,
    examiner: Examiner,
) -> None:
    """Check image records one by one: count what is kept, put it into `target`, and note what is wrong."""
    for record, examined in examiner.in_order(_examine, records, lambda record: record.payload):
        progress.step()
        if isinstance(examined, LabelError):
            findings.fault(f"{record.where} {examined}", NO_LABEL_HINT)
            continue
        kept = _check(examined, findings, num_classes)
        if not findings.faulty:
            _store(examined, kept, target, tally)


def _examine(record: Record, judge: Judge) -> tuple[Record, _Examined | LabelError]:
    try:
        payload = split_payload(record.payload)
        objects = split_label(payload.label)
    except LabelError as error:
        return record, error
    return record, _Examined(record, payload, objects, examine_image(payload.image, judge=judge))


def _check(examined: _Examined, findings: Findings, num_classes: int) -> _Kept | None:
    """Return the label to train on, or None for a record to leave out or with a fault."""
    objects, facts = examined.objects, examined.facts
    where, record = examined.record.where, examined.record.brief
    numbers = np.flatnonzero(~filling(objects))
    if not _check_values(objects, numbers, where, findings, num_classes):
        return None
    if not usable_image(facts, record, findings):
        return None
    if is_empty(objects):
        label = examined.payload.label
        return _Kept(label if readable(label) else NO_OBJECT, np.empty(0, np.float32))
    outside = boxes.pixels_outside(objects[numbers, 1:5], facts.width, facts.height)
    far = numbers[boxes.too_far_outside(outside)]
    for number in far:
        findings.fault(
            f"{where}, box {number} ({_corners(objects[number])}) is not inside its image",
            FRACTIONS,
            COUNTED_FROM_0,
        )
    return None if len(far) else _correct(examined, numbers, outside, record, findings)


def _check_values(
    objects: NDArray[np.float32], numbers: NDArray[np.int64], where: str, findings: Findings, num_classes: int
) -> bool:
    """Note class ids and coordinates that can be none, of the rows `numbers` of (boxes, object_width)."""
    valid = boxes.valid_class_ids(objects[:, 0], num_classes)
    finite = np.isfinite(objects[:, 1:5]).all(axis=1)
    for number in numbers[~(valid & finite)[numbers]]:
        if not valid[number]:
            text = f"has class_id {objects[number, 0]:g} ({boxes.id_range(num_classes)})"
        else:
            text = f"({_corners(objects[number])}) has a coordinate that is not a number"
        findings.fault(f"{where}, box {number} {text}", COUNTED_FROM_0)
    return bool((valid & finite)[numbers].all())


def _correct(
    examined: _Examined,
    numbers: NDArray[np.int64],
    outside: NDArray[np.float64],
    record: str,
    findings: Findings,
) -> _Kept | None:
    """Clip what lies past the border, and leave an image out whose boxes have no area."""
    label, objects = examined.payload.label, examined.objects
    if outside.any():
        label = label.copy()
        objects = split_label(label)
        clipped = numbers[outside > 0]
        objects[clipped, 1:5] = objects[clipped, 1:5].clip(0, 1)
        for number in clipped:
            findings.warn(boxes.CLIPPED, f"{record} box {number}")
    with_area = boxes.with_area(objects[numbers, 1:5])
    for number in numbers[~with_area]:
        findings.warn(boxes.NO_AREA, f"{record} box {number}")
    if not with_area.any():
        findings.warn(boxes.ONLY_NO_AREA, record)
        return None
    return _Kept(label, objects[numbers[with_area], 0])


def _store(examined: _Examined, kept: _Kept | None, target: CopiedRecords | RecordsInPlace, tally: Tally) -> None:
    if kept is None:
        target.leave_out(examined.record)
        return
    if kept.label is examined.payload.label and not examined.facts.changed:
        offset = target.keep(examined.record)
    else:
        payload = replace(examined.payload, label=kept.label, image=examined.facts.image)
        offset = target.replace(examined.record, join_payload(payload))
    tally.add(offset, kept.class_ids, len(kept.label), examined.record.brief)


def _corners(box: NDArray[np.float32]) -> str:
    return ", ".join(
        f"{side} {value:g}" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box[1:5], strict=True)
    )
