"""The check of image records, wherever they come from, and of a channel that is .rec files.

One pass: each record is kept, corrected, left out, or a fault; they are copied only where that is needed or asked for.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd import boxes
from sagemaker_ssd.channels.findings import COUNTED_FROM_0, ChannelFindings, CheckOptions
from sagemaker_ssd.channels.images import Decode, ExaminedImage, examine_image
from sagemaker_ssd.channels.record_file import RecordFile, RecordFileWriter
from sagemaker_ssd.channels.recordio import (
    NO_LABEL_HINT,
    LabelError,
    Payload,
    Record,
    is_empty,
    is_padding,
    join_payload,
    read_records,
    split_label,
    split_payload,
)
from sagemaker_ssd.errors import UserError, in_words
from sagemaker_ssd.files import file_size

_FRACTIONS: Final = "Coordinates are fractions of the image's width and height, from 0 to 1"
_ORDER: Final = (
    "A box must be class_id, xmin, ymin, xmax, ymax in this order: turn centre and size, corner and size, or xmin, "
    "xmax, ymin, ymax into that"
)
_log = logging.getLogger(__name__)


def check_recordio(files: Path | Sequence[Path], options: CheckOptions, *, copy: bool = False) -> RecordFile:
    """Read a channel's .rec files once, count and check them, and return the file to train on.

    One file alone is used in place unless a record has to change; `copy`: it is copied in every case, so that it is
    never read again. Several become one, in the order given. Raises UserError with the first ten faults and their
    number.
    """
    paths = [files] if isinstance(files, Path) else list(files)
    in_place = paths[0] if len(paths) == 1 and not copy else None
    corrected = f"a corrected copy of {paths[0].name}"
    copied = f"a copy of {in_words(len(paths), '.rec file', '.rec files')}"
    findings = ChannelFindings(options)
    needed = sum(file_size(path) for path in paths)
    with options.writer(corrected if in_place else copied, needed=needed, in_place=in_place) as writer:
        check_records(_read_all(paths, findings), writer, findings, options)
        findings.conclude(writer)
        file = writer.finish(findings.checked, findings.class_names.names())
    _log.info("%s", file.summary(options.name))
    return file


def _read_all(paths: Sequence[Path], findings: ChannelFindings) -> Iterator[Record]:
    """Yield the records of all files; what is behind broken framing in one of them is noted as a fault."""
    root = os.path.commonpath([path.parent for path in paths])
    for path in paths:
        shown = path.relative_to(root).as_posix()
        try:
            yield from read_records(path, f"{findings.name}/{shown}", f"{shown} " if len(paths) > 1 else "")
        except UserError as error:
            findings.fault(error.sentence, COUNTED_FROM_0)
        except OSError as error:
            findings.fault(f"{findings.name}/{shown}: cannot be read: {error.strerror}")


@dataclass(frozen=True, slots=True)
class _ExaminedRecord:
    """`objects` (boxes, object_width) is a view of the payload's label."""

    payload: Payload
    objects: NDArray[np.float32]
    image: ExaminedImage


def check_records(
    records: Iterable[Record], writer: RecordFileWriter, findings: ChannelFindings, options: CheckOptions
) -> None:
    """Check image records one by one: put what is kept into `writer`, and note what is wrong."""
    for record, examined in options.examiner.map(_examine, records, lambda record: record.payload):
        findings.count_image()
        if isinstance(examined, LabelError):
            findings.fault(f"{record.where} {examined}", NO_LABEL_HINT)
            continue
        kept = _check(record, examined, findings, options.num_classes)
        if findings.faulty:
            continue  # only to find the other faults
        if kept is None:
            writer.leave_out(record)
            continue
        label, class_ids = kept
        if label is examined.payload.label:
            writer.keep(record, label, class_ids)
        else:
            writer.replace(record, join_payload(replace(examined.payload, label=label)), label, class_ids)


def _examine(record: Record, decode: Decode) -> tuple[Record, _ExaminedRecord | LabelError]:
    try:
        payload = split_payload(record.payload)
        objects = split_label(payload.label)
    except LabelError as error:
        return record, error
    return record, _ExaminedRecord(payload, objects, examine_image(payload.image, decode=decode))


def _check(
    record: Record, examined: _ExaminedRecord, findings: ChannelFindings, num_classes: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Return the label to train on and the class ids of its boxes with an area; None for a record without use.

    Such a record is left out, with a warning, or has a fault. The label is the record's own unless boxes are clipped.
    """
    label, objects, image = examined.payload.label, examined.objects, examined.image
    numbers = np.flatnonzero(~is_padding(objects))
    valid = boxes.valid_class_ids(objects[:, 0], num_classes)
    finite = np.isfinite(objects[:, 1:5]).all(axis=1)
    wrong = numbers[~(valid & finite)[numbers]]
    for number in wrong:
        text = (
            f"({_corners(objects[number])}) has a coordinate that is not a number"
            if valid[number]
            else f"has class_id {objects[number, 0]:g} ({boxes.id_range(num_classes)})"
        )
        findings.fault(f"{record.where}, box {number} {text}", COUNTED_FROM_0)
    if len(wrong) or not findings.usable_image(image, record.brief):
        return None
    if is_empty(objects):
        return label, np.empty(0, np.float32)
    findings.count_inverted(
        objects[numbers, 1:5],
        lambda row: f"{record.where}, box {numbers[row]} ({_corners(objects[numbers[row]])})",
        _ORDER,
    )
    outside = boxes.pixels_outside(objects[numbers, 1:5], image.width, image.height)
    far = numbers[boxes.too_far_outside(outside)]
    for number in far:
        findings.fault(
            f"{record.where}, box {number} ({_corners(objects[number])}) is not inside its image",
            _FRACTIONS,
            COUNTED_FROM_0,
        )
    if len(far):
        return None
    clipped = outside > 0
    if clipped.any():
        label = label.copy()
        objects = split_label(label)
        objects[numbers[clipped], 1:5] = objects[numbers[clipped], 1:5].clip(0, 1)
    with_area = findings.usable_boxes(objects[numbers, 1:5], numbers, clipped, record.brief)
    if with_area is None:
        return None
    used = numbers[with_area]
    findings.count_difficult(objects[used], used, record.brief)
    return label, objects[used, 0]


def _corners(box: NDArray[np.float32]) -> str:
    return ", ".join(
        f"{side} {value:g}" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box[1:5], strict=True)
    )
