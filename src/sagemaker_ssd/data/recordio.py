"""RecordIO framing: byte strings, each behind a magic word and a length word, padded to words of 4 bytes.

Layout: dmlc-core, `include/dmlc/recordio.h`. The length word holds a 3-bit flag and a 29-bit length. A
payload with the magic word at an aligned place is cut there into parts, and the word itself is left out.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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
