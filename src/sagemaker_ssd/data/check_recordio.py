"""The check of a channel that is a RecordIO file: one pass, and a corrected copy only where one is needed."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.data import boxes
from sagemaker_ssd.data.channel import COUNTED_FROM_0, Progress, conclude, usable_image
from sagemaker_ssd.data.findings import Findings
from sagemaker_ssd.data.images import ImageFacts, examine_image, in_order
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
from sagemaker_ssd.data.record_file import RecordFile, Tally
from sagemaker_ssd.data.recordio import Record, read_records
from sagemaker_ssd.data.repack import RepackedFile
from sagemaker_ssd.errors import UserError

FRACTIONS = "Coordinates are fractions of the image's width and height, from 0 to 1"
_log = logging.getLogger(__name__)


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


def check_recordio(
    path: Path, *, name: str, num_classes: int, scratch: Path, max_bad_images: float, label_width: int
) -> RecordFile:
    """Read the .rec of the channel `name` once, count and check it, and return the file to train on.

    Raises UserError with the first ten faults and their number.
    """
    findings, tally, progress = Findings(name), Tally(num_classes), Progress(name)
    with RepackedFile(path, scratch / f"{name}.rec") as target:
        records = _until_broken(path, f"{name}/{path.name}", findings)
        for record, examined in in_order(_examine, records):
            progress.step()
            where = f"{name}/{path.name}: record {record.number}"
            if isinstance(examined, LabelError):
                findings.fault(f"{where} {examined}", NO_LABEL_HINT)
                continue
            kept = _check(examined, where, findings, num_classes)
            if not findings.faulty:
                _store(examined, kept, target, tally)
        conclude(findings, tally, images=progress.images, max_bad_images=max_bad_images, label_width=label_width)
        file = target.finish(tally)
    _log.info("%s", file.summary(name))
    return file


def _until_broken(path: Path, shown: str, findings: Findings) -> Iterator[Record]:
    """Yield the records up to broken framing, after which none can be found, and note that as a fault."""
    try:
        yield from read_records(path, shown)
    except UserError as error:
        findings.fault(error.sentence, COUNTED_FROM_0)
    except OSError as error:
        findings.fault(f"{shown}: cannot be read: {error.strerror}")


def _examine(record: Record) -> tuple[Record, _Examined | LabelError]:
    try:
        payload = split_payload(record.payload)
        objects = split_label(payload.label)
    except LabelError as error:
        return record, error
    return record, _Examined(record, payload, objects, examine_image(payload.image))


def _check(examined: _Examined, where: str, findings: Findings, num_classes: int) -> _Kept | None:
    """Return the label to train on, or None for a record to leave out or with a fault."""
    objects, facts = examined.objects, examined.facts
    numbers = np.flatnonzero(~filling(objects))
    if not _check_values(objects, numbers, where, findings, num_classes):
        return None
    record = f"record {examined.record.number}"
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


def _store(examined: _Examined, kept: _Kept | None, target: RepackedFile, tally: Tally) -> None:
    if kept is None:
        target.leave_out(examined.record)
        return
    if kept.label is examined.payload.label and not examined.facts.changed:
        offset = target.keep(examined.record)
    else:
        payload = replace(examined.payload, label=kept.label, image=examined.facts.image)
        offset = target.replace(examined.record, join_payload(payload))
    tally.add(offset, kept.class_ids, len(kept.label))


def _corners(box: NDArray[np.float32]) -> str:
    return ", ".join(
        f"{side} {value:g}" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box[1:5], strict=True)
    )
