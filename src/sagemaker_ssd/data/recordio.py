"""RecordIO framing: byte strings, each behind a magic word and a length word, padded to words of 4 bytes.

Layout: dmlc-core, `include/dmlc/recordio.h`. The length word holds a 3-bit flag and a 29-bit length. A
payload with the magic word at an aligned place is cut there into parts, and the word itself is left out.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sagemaker_ssd.errors import UserError

MAGIC = struct.pack("<I", 0xCED7230A)
MAX_LENGTH = (1 << 29) - 1
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_HEAD = struct.Struct("<4sI")
_BUFFER = 1 << 20


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its number from 0, the byte offset of its first frame, its payload."""

    number: int
    offset: int
    payload: bytes


def read_records(path: Path, shown: str) -> Iterator[Record]:
    """Yield the records of a file in order, one in memory at a time.

    Raises UserError with the name `shown`, the record number and its byte offset where the framing is broken.
    """
    with path.open("rb", buffering=_BUFFER) as source:
        size = os.fstat(source.fileno()).st_size
        offset, number = 0, 0
        while offset < size:
            where = f"{shown}: record {number} (at byte {offset:,})"
            payload, length = _read_record(source, size - offset, where)
            yield Record(number, offset, payload)
            offset += length
            number += 1


def _read_record(source: BinaryIO, left: int, where: str) -> tuple[bytes, int]:
    parts: list[bytes] = []
    used = 0
    while True:
        flag, part, length = _read_part(source, left - used, where)
        if (flag in (_WHOLE, _FIRST)) != (not parts):
            raise UserError(f"{where} has its parts in the wrong order: the file is damaged, pack it again")
        parts.append(part)
        used += length
        if flag in (_WHOLE, _LAST):
            return MAGIC.join(parts), used


def _read_part(source: BinaryIO, left: int, where: str) -> tuple[int, bytes, int]:
    """Read one frame: its flag, its bytes, and its length in the file, head and padding included."""
    head = source.read(_HEAD.size)
    if not MAGIC.startswith(head[:4]):
        raise UserError(
            f"{where} does not begin with RecordIO's magic number: this is not a RecordIO file, or it is "
            "damaged; pack it again with im2rec.py --pack-label"
        )
    if len(head) < _HEAD.size:
        raise UserError(f"{where} is cut off: the file ends inside its head; upload or pack the file again")
    word = int.from_bytes(head[4:], "little")
    flag, length = word >> 29, word & MAX_LENGTH
    padded = (length + 3) & ~3
    if flag > _LAST:
        raise UserError(f"{where} has the unknown flag {flag}: the file is damaged, pack it again")
    if _HEAD.size + padded > left:
        raise UserError(
            f"{where} is cut off: it should be {length:,} bytes long, but the file ends after "
            f"{left - _HEAD.size:,} of them; upload or pack the file again"
        )
    return flag, source.read(padded)[:length], _HEAD.size + padded


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
