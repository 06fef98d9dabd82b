"""RecordIO framing: byte strings, each behind a magic word and a length word, padded to words of 4 bytes.

Layout: dmlc-core, `include/dmlc/recordio.h`. The length word holds a 3-bit flag and a 29-bit length. A
payload with the magic word at an aligned place is cut there into parts, and the word itself is left out.

The payload of an image record, and its label: a header, then class_id, xmin, ymin, xmax, ymax of each box.

Layout: MXNet, `src/io/image_recordio.h` (the payload) and `src/io/image_det_aug_default.cc` (the label).

What a record of a stream holds, told by its first bytes.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.errors import UserError

MAGIC = struct.pack("<I", 0xCED7230A)
_LENGTH_BITS = (1 << 29) - 1
MAX_LENGTH = _LENGTH_BITS
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_HEAD = struct.Struct("<4sI")
_BUFFER = 1 << 20


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
    """What is read, `a file` or `a stream`, and what to do where it is no RecordIO, is damaged, or is cut off."""

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
    while head := source.read(_HEAD.size):
        reader = _Reader(source, f"{shown}: record {number} (at byte {offset:,})", advice)
        payload, length = reader.record(head)
        yield Record(number, offset, payload, f"{shown}: record {number}", f"{prefix}record {number}")
        offset += length
        number += 1


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one record, which is `where`."""

    source: Source
    where: str
    advice: Advice

    def record(self, head: bytes) -> tuple[bytes, int]:
        """Read the frames of a record whose first head is read; its payload and its length in the source."""
        parts: list[bytes] = []
        used = joined = 0
        while True:
            flag, part, length = self._part(head)
            if (flag in (_WHOLE, _FIRST)) != (not parts):
                raise UserError(f"{self.where} has its parts in the wrong order: {self.advice.damaged}")
            parts.append(part)
            used += length
            joined += len(part) + (len(MAGIC) if parts[1:] else 0)
            # A damaged flag would join the records that follow until the memory is full.
            if joined > MAX_LENGTH:
                raise UserError(
                    f"{self.where} is longer than the {MAX_LENGTH:,} bytes of a record: {self.advice.damaged}"
                )
            if flag in (_WHOLE, _LAST):
                return MAGIC.join(parts), used
            head = self.source.read(_HEAD.size)

    def _part(self, head: bytes) -> tuple[int, bytes, int]:
        """Read the rest of a frame: its flag, its bytes, and its length in the source, head and padding included."""
        advice = self.advice
        if not MAGIC.startswith(head[:4]):
            raise UserError(f"{self.where} does not begin with RecordIO's magic number: {advice.no_recordio}")
        if len(head) < _HEAD.size:
            raise UserError(f"{self.where} is cut off: the {advice.what} ends inside its head; {advice.cut_off}")
        word = int.from_bytes(head[4:], "little")
        flag, length = word >> 29, word & _LENGTH_BITS
        padded = (length + 3) & ~3
        if flag > _LAST:
            raise UserError(f"{self.where} has the unknown flag {flag}: {advice.damaged}")
        data = self.source.read(padded)
        if len(data) < padded:
            raise UserError(
                f"{self.where} is cut off: it should be {padded:,} bytes long, but the {advice.what} ends after "
                f"{len(data):,} of them; {advice.cut_off}"
            )
        return flag, data[:length], _HEAD.size + padded


def read_payload(path: Path, begin: int, end: int) -> bytes:
    """Return the payload of the one record between two offsets of a checked file."""
    with path.open("rb") as file:
        file.seek(begin)
        content = io.BytesIO(file.read(end - begin))
    return next(split_records(content, str(path), FILE_ADVICE)).payload


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
        framed += [_HEAD.pack(MAGIC, flag << 29 | end - start), payload[start:end]]
    return b"".join([*framed, bytes(-len(payload) % 4)])


def _aligned_magic(payload: bytes) -> Iterator[int]:
    place = payload.find(MAGIC)
    while place >= 0:
        if place % 4 == 0:
            yield place
        # Two magic words cannot overlap: its four bytes differ.
        place = payload.find(MAGIC, place + 4)


_HEADER = struct.Struct("<IfQQ")
# MXNet's reader aborts on a label without a box, but drops a box without area.
NO_OBJECT: NDArray[np.float32] = np.array([2, 5, 0, 0.5, 0.5, 0.5, 0.5], np.float32)
_SHORTEST = 7
# Up to here a float32 tells every whole number; numpy takes no array much wider, not even an empty one.
_WIDEST = 1 << 24
NO_LABEL_HINT = (
    "A label is header_width (2 or more), object_width (5 or more), then class_id, xmin, ymin, xmax, ymax of "
    "each box; most often the .rec was packed without --pack-label, or its .lst has no boxes"
)


class LabelError(ValueError):
    """A record without a label that MXNet's reader could read; the text tells why."""


@dataclass(frozen=True, slots=True)
class Payload:
    """An image record taken apart: its id, `label` as the floats it stands as, the image file's bytes."""

    identity: int
    label: NDArray[np.float32]
    image: bytes


def split_payload(payload: bytes) -> Payload:
    """Take an image record apart; raises LabelError for one without label floats."""
    if len(payload) < _HEADER.size:
        raise LabelError(f"has only {len(payload)} bytes, too few for an image record")
    count, number, identity, _ = _HEADER.unpack_from(payload)
    if count == 0:
        raise LabelError(f"has no boxes, only the one number {number:g} as its label")
    end = _HEADER.size + 4 * count
    if end > len(payload):
        raise LabelError(f"claims a label of {count:,} numbers, but is only {len(payload):,} bytes long")
    return Payload(identity, np.frombuffer(payload, "<f4", count, _HEADER.size), payload[end:])


def join_payload(payload: Payload) -> bytes:
    """Put an image record together."""
    label = payload.label.astype("<f4")
    return b"".join([_HEADER.pack(len(label), 0.0, payload.identity, 0), label.tobytes(), payload.image])


def split_label(label: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the boxes of a label as a view (boxes, object_width); raises LabelError for a bad header.

    Rows of -1, the filling of labels of equal width, count as boxes here: see `filling`.
    """
    if len(label) < 2:
        raise LabelError(f"has a label of one number, {label[0]:g}")
    if not np.isfinite(label[:2]).all():
        raise LabelError("has a label whose header is not a number")
    header_width, object_width = (int(number) for number in label[:2])
    if (header_width, object_width) != tuple(label[:2]) or header_width < 2 or not 5 <= object_width <= _WIDEST:
        raise LabelError(f"has a label that begins {label[0]:g}, {label[1]:g}: no header_width and object_width")
    if header_width > len(label) or (len(label) - header_width) % object_width:
        raise LabelError(
            f"has a label of {len(label):,} numbers, which is not header_width {header_width} plus boxes of "
            f"{object_width} each"
        )
    return label[header_width:].reshape(-1, object_width)


def filling(objects: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell which rows of (boxes, object_width) only fill a label up: -1 throughout, dropped by the reader."""
    mask: NDArray[np.bool_] = (objects[:, :5] == -1).all(axis=1)
    return mask


def is_empty(objects: NDArray[np.float32]) -> bool:
    """Whether (boxes, object_width) holds nothing but filling and the pseudo object of an empty image."""
    pseudo = (objects[:, :5] == NO_OBJECT[2:]).all(axis=1)
    return bool((pseudo | filling(objects)).all())


def readable(label: NDArray[np.float32]) -> bool:
    """Whether the reader takes a label of this length."""
    return len(label) >= _SHORTEST


def label_of(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the label of boxes (n, 5) in fractions of the image; without any, that of an empty image."""
    if not len(boxes):
        return NO_OBJECT
    return np.concatenate([np.array([2, 5], np.float32), boxes.ravel()])


Kind = Literal["image", "JSON", "RecordIO", "other"]
# Of what OpenCV decodes: JPEG, PNG, GIF, BMP, TIFF in both orders of bytes, JPEG 2000.
_IMAGES: Final = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ")
BEGINNING: Final = 12


def kind_of(payload: bytes) -> Kind:
    """Tell an image file, a JSON object and a whole RecordIO file; an image record is something other."""
    if payload.startswith(MAGIC):
        return "RecordIO"
    if payload.startswith(_IMAGES) or (payload[:4] == b"RIFF" and payload[8:12] == b"WEBP"):
        return "image"
    # An image record begins with the number of its labels, whose last byte is 0 in any that fits into memory.
    if 0 not in payload[:4] and payload[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return "JSON"
    return "other"
