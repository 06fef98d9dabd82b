"""RecordIO: the framing of records in a file or stream, and inside a record an image with its label.

Framing: dmlc-core, `include/dmlc/recordio.h`. A payload stands behind a magic word and a length word, and is padded to
words of 4 bytes. The length word holds a 3-bit flag and a 29-bit length. A payload with the magic word at an aligned
place is cut there into parts, and the word itself is left out.
Image record: MXNet, `src/io/image_recordio.h`. Its label: MXNet, `src/io/image_det_aug_default.cc`: a header, then
class_id, xmin, ymin, xmax, ymax of each box.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.boxes import with_area
from sagemaker_ssd.errors import UserError

MAGIC = struct.pack("<I", 0xCED7230A)
_LENGTH_BITS = (1 << 29) - 1
MAX_LENGTH = _LENGTH_BITS
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_FRAME_HEAD = struct.Struct("<4sI")
_BUFFER = 1 << 20
# MXNet's IRHeader: the number of label floats, a label of one number, id and id2.
_IMAGE_HEADER = struct.Struct("<IfQQ")
IMAGE_HEADER_BYTES: Final = _IMAGE_HEADER.size
# The label of an image without objects in files for others: MXNet's own reader aborts on a label without a box, but
# drops a box without area.
NO_OBJECT: NDArray[np.float32] = np.array([2, 5, 0, 0.5, 0.5, 0.5, 0.5], np.float32)
# Up to here a float32 represents every whole number; numpy takes no array much wider, not even an empty one.
_WIDEST_OBJECT: Final = 1 << 24
NO_LABEL_HINT = (
    "A label is header_width (2 or more), object_width (5 or more), then class_id, xmin, ymin, xmax, ymax of "
    "each box; most often the .rec was packed without --pack-label, or its .lst has no boxes"
)


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its number from 0, the byte offset of its first frame, its payload.

    `where` names it in a sentence; `brief` names it in a list of the channel's records.
    """

    number: int
    offset: int
    payload: bytes
    where: str
    brief: str


class Source(Protocol):
    """Where records come from, read from its begin to its end."""

    def read(self, count: int, /) -> bytes:
        """Return the next `count` bytes, fewer only at the end."""


@dataclass(frozen=True)
class Advice:
    """`what` is read, `file` or `stream`, and what to do where it is no RecordIO, is damaged, or is cut off."""

    what: str
    no_recordio: str
    damaged: str
    cut_off: str


FILE_ADVICE = Advice(
    "file",
    "this is not a RecordIO file, or it is damaged; pack it again with im2rec.py --pack-label",
    "the file is damaged, pack it again",
    "upload or pack the file again",
)


def read_records(path: Path, shown: str, prefix: str = "") -> Iterator[Record]:
    """Yield the records of a file in order, one in memory at a time; each is named by `shown`, briefly by `prefix`.

    Raises UserError with the name `shown`, the record number and its byte offset where the framing is broken.
    """
    with path.open("rb", buffering=_BUFFER) as source:
        yield from split_records(source, shown, FILE_ADVICE, prefix)


def split_records(source: Source, shown: str, advice: Advice, prefix: str = "") -> Iterator[Record]:
    """Yield the records of any source, as `read_records` does those of a file."""
    offset, number = 0, 0
    while head := source.read(_FRAME_HEAD.size):
        payload, length = _read_record(source, head, f"{shown}: record {number} (at byte {offset:,})", advice)
        yield Record(number, offset, payload, f"{shown}: record {number}", f"{prefix}record {number}")
        offset += length
        number += 1


def _read_record(source: Source, head: bytes, where: str, advice: Advice) -> tuple[bytes, int]:
    """Read the frames of the record `where`, whose first head is read; return payload and length in the source."""
    parts: list[bytes] = []
    used = joined = 0
    while True:
        flag, part, length = _read_frame(source, head, where, advice)
        if (flag in (_WHOLE, _FIRST)) != (not parts):
            raise UserError(f"{where} has its parts in the wrong order: {advice.damaged}")
        parts.append(part)
        used += length
        joined += len(part) + (len(MAGIC) if parts[1:] else 0)
        # A damaged flag would join the records that follow until the memory is full.
        if joined > MAX_LENGTH:
            raise UserError(f"{where} is longer than the {MAX_LENGTH:,} bytes of a record: {advice.damaged}")
        if flag in (_WHOLE, _LAST):
            return MAGIC.join(parts), used
        head = source.read(_FRAME_HEAD.size)


def _read_frame(source: Source, head: bytes, where: str, advice: Advice) -> tuple[int, bytes, int]:
    """Read a frame behind its head: its flag, its bytes, and its length in the source, head and padding included."""
    if not MAGIC.startswith(head[:4]):
        raise UserError(f"{where} does not begin with RecordIO's magic number: {advice.no_recordio}")
    if len(head) < _FRAME_HEAD.size:
        raise UserError(f"{where} is cut off: the {advice.what} ends inside its head; {advice.cut_off}")
    word = int.from_bytes(head[4:], "little")
    flag, length = word >> 29, word & _LENGTH_BITS
    padded = (length + 3) & ~3
    if flag > _LAST:
        raise UserError(f"{where} has the unknown flag {flag}: {advice.damaged}")
    data = source.read(padded)
    if len(data) < padded:
        raise UserError(
            f"{where} is cut off: it should be {padded:,} bytes long, but the {advice.what} ends after "
            f"{len(data):,} of them; {advice.cut_off}"
        )
    return flag, data[:length], _FRAME_HEAD.size + padded


def record_payload(record: bytes) -> bytes:
    """Return the payload of the bytes of one whole record, frames included.

    Raises UserError where the framing is broken or the bytes end before the record does.
    """
    if len(record) >= _FRAME_HEAD.size:
        magic, word = _FRAME_HEAD.unpack_from(record)
        # Nearly every record is one frame, which needs no reader.
        if magic == MAGIC and word >> 29 == _WHOLE and word <= len(record) - _FRAME_HEAD.size:
            return record[_FRAME_HEAD.size : _FRAME_HEAD.size + word]
    for whole in split_records(io.BytesIO(record), "it", FILE_ADVICE):
        return whole.payload
    raise UserError("the file ends before it")


def read_payload(path: Path, begin: int, end: int) -> bytes:
    """Return the payload of the one record between two offsets of a checked file."""
    with path.open("rb") as file:
        file.seek(begin)
        return record_payload(file.read(end - begin))


def frame(payload: bytes) -> bytes:
    """Return a payload as it stands in a file: frames, and padding to 4 bytes.

    Raises ValueError for a payload longer than a length word can say.
    """
    if len(payload) > MAX_LENGTH:
        raise ValueError(f"a RecordIO record holds {MAX_LENGTH:,} bytes at most, not {len(payload):,}")
    cuts = list(_aligned_magic(payload))
    starts = [0, *(cut + 4 for cut in cuts)]
    ends = [*cuts, len(payload)]
    framed = []
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        last = index == len(cuts)
        flag = (_LAST if last else _MIDDLE) if index else (_WHOLE if last else _FIRST)
        framed += [_FRAME_HEAD.pack(MAGIC, flag << 29 | end - start), payload[start:end]]
    return b"".join([*framed, bytes(-len(payload) % 4)])


def _aligned_magic(payload: bytes) -> Iterator[int]:
    place = payload.find(MAGIC)
    while place >= 0:
        if place % 4 == 0:
            yield place
        # Two magic words cannot overlap: its four bytes differ.
        place = payload.find(MAGIC, place + 4)


class LabelError(ValueError):
    """A record whose label does not hold boxes in the form that training reads; the text says why."""


@dataclass(frozen=True, slots=True)
class Payload:
    """An image record taken apart: its id, `label` as the floats it stands as, the image file's bytes."""

    identity: int
    label: NDArray[np.float32]
    image: bytes


def split_payload(payload: bytes) -> Payload:
    """Take an image record apart; raises LabelError for one without label floats."""
    if len(payload) < _IMAGE_HEADER.size:
        raise LabelError(f"has only {len(payload)} bytes, too few for an image record")
    count, number, identity, _ = _IMAGE_HEADER.unpack_from(payload)
    if count == 0:
        raise LabelError(f"has no boxes, only the one number {number:g} as its label")
    end = _IMAGE_HEADER.size + 4 * count
    if end > len(payload):
        raise LabelError(f"claims a label of {count:,} numbers, but is only {len(payload):,} bytes long")
    return Payload(identity, np.frombuffer(payload, "<f4", count, _IMAGE_HEADER.size), payload[end:])


def join_payload(payload: Payload) -> bytes:
    """Put an image record together."""
    label = payload.label.astype("<f4")
    return b"".join([_IMAGE_HEADER.pack(len(label), 0.0, payload.identity, 0), label.tobytes(), payload.image])


def split_label(label: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the boxes of a label as a view (boxes, object_width); raises LabelError for a bad header.

    Rows of -1, the padding of labels to one width, count as boxes here: see `is_padding`.
    """
    if len(label) < 2:
        raise LabelError(f"has a label of one number, {label[0]:g}")
    if not np.isfinite(label[:2]).all():
        raise LabelError("has a label whose header is not a number")
    header_width, object_width = (int(number) for number in label[:2])
    if (header_width, object_width) != tuple(label[:2]) or header_width < 2 or not 5 <= object_width <= _WIDEST_OBJECT:
        raise LabelError(f"has a label that begins {label[0]:g}, {label[1]:g}: no header_width and object_width")
    if header_width > len(label) or (len(label) - header_width) % object_width:
        raise LabelError(
            f"has a label of {len(label):,} numbers, which is not header_width {header_width} plus boxes of "
            f"{object_width} each"
        )
    return label[header_width:].reshape(-1, object_width)


def is_padding(objects: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which rows of (boxes, object_width) only pad a label: -1 throughout, which `with_area` drops; (boxes,)."""
    mask: NDArray[np.bool_] = (objects[:, :5] == -1).all(axis=1)
    return mask


def is_empty(objects: NDArray[np.float32]) -> bool:
    """Whether (boxes, object_width) holds nothing but padding and the pseudo object of an empty image."""
    pseudo = (objects[:, :5] == NO_OBJECT[2:]).all(axis=1)
    return bool((pseudo | is_padding(objects)).all())


def objects_with_area(objects: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the objects that a network can learn from, (n, 5 or 6): class_id, box and, where it is there, difficult.

    Without an area are rows that only fill a label up, and what some tools write into the label of an empty image.
    """
    kept = objects[with_area(objects[:, 1:5]), :6]
    return kept.copy() if len(kept) else np.empty((0, 5), np.float32)


def label_of(objects: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the label of (boxes, object_width) in fractions of the image."""
    return np.concatenate([np.array([2, objects.shape[1]], np.float32), objects.ravel()])
