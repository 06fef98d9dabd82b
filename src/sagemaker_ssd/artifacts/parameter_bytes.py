"""The bytes of MXNet's parameter files (.params), of every version, with nothing in them trusted.

MXNet's own reader allocates whatever a damaged file's header asks for; here every size is held against the bytes that
are left. Source of the format: NDArray::Load in src/ndarray/ndarray.cc of MXNet 1.9.1.
"""

import math
import struct
from dataclasses import dataclass
from io import BufferedReader
from typing import Final

import numpy as np
import numpy.typing as npt

_LIST: Final = 0x112
_VERSION_1, _VERSION_2, _VERSION_3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_DENSE: Final = 0
_MOST_DIMENSIONS: Final = 32
# mshadow's type flags; bfloat16, which numpy lacks, is 12.
_TYPES: Final = {0: "f4", 1: "f8", 2: "f2", 3: "u1", 4: "i4", 5: "i1", 6: "i8", 7: "?"}
_BFLOAT16: Final = 12


class BadBytesError(Exception):
    """Says what is wrong, so that it follows the file's name and a colon."""


@dataclass(frozen=True)
class StoredArrays:
    """Every array as it is stored, and the names: as many, or none for a file that was saved as a list."""

    arrays: list[npt.NDArray[np.generic]]
    names: list[str]


def stored_arrays(file: BufferedReader, size: int) -> StoredArrays:
    """Read a whole file of `size` bytes; raises BadBytesError and OSError."""
    data = _Bytes(file, size)
    head = data.take(min(16, size))
    if len(head) < 16 or struct.unpack("<Q", head[:8])[0] != _LIST:
        raise BadBytesError("it is not an MXNet parameter file")
    arrays = [_array(data, number) for number in range(1, data.numbers("Q")[0] + 1)]
    names = [_name(data) for _ in range(data.numbers("Q")[0])]
    if names and len(names) != len(arrays):
        raise BadBytesError(f"it is damaged: it holds {len(arrays)} arrays and {len(names)} names")
    return StoredArrays(arrays, names)


class _Bytes:
    """A file's bytes from begin to end, never more than it has."""

    def __init__(self, file: BufferedReader, size: int) -> None:
        self._file, self._size, self._left = file, size, size

    def take(self, length: int) -> bytes:
        self._spend(length)
        content = self._file.read(length)
        if len(content) < length:
            raise self._truncated()
        return content

    def fill(self, values: npt.NDArray[np.generic]) -> None:
        if self._file.readinto(values.reshape(-1).view(np.uint8).data) < values.nbytes:
            raise self._truncated()

    def reserve(self, kind: str, shape: tuple[int, ...]) -> npt.NDArray[np.generic]:
        self._spend(math.prod(shape) * np.dtype(kind).itemsize)
        return np.empty(shape, np.dtype(kind).newbyteorder("<"))

    def numbers(self, kind: str, count: int = 1) -> tuple[int, ...]:
        layout = f"<{count}{kind}"
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def _spend(self, length: int) -> None:
        if length > self._left:
            raise self._truncated()
        self._left -= length

    def _truncated(self) -> BadBytesError:
        return BadBytesError(f"it is incomplete or damaged: its contents do not end within its {self._size:,} bytes")


def _array(data: _Bytes, number: int) -> npt.NDArray[np.generic]:
    (version,) = data.numbers("I")
    if version in (_VERSION_2, _VERSION_3):
        (storage,) = data.numbers("i")
        if storage != _DENSE:
            raise BadBytesError(f"its array number {number} is sparse; save it dense, by `.tostype('default')`")
    shape = _shape(data, version, number)
    # The device that it was on, of no meaning here, and the type of its numbers.
    kind = data.numbers("i", 3)[2]
    if kind == _BFLOAT16:
        raise BadBytesError(f"its array number {number} is bfloat16; save it as float32, by `.astype('float32')`")
    if kind not in _TYPES:
        raise BadBytesError(f"it is damaged: array number {number} has no type that MXNet knows")
    values = data.reserve(_TYPES[kind], shape)
    data.fill(values)
    return values


def _shape(data: _Bytes, version: int, number: int) -> tuple[int, ...]:
    # Before version 1 there was no version: the array began with its number of dimensions.
    versioned = version in (_VERSION_1, _VERSION_2, _VERSION_3)
    dimensions = data.numbers("i")[0] if versioned else version
    if dimensions > _MOST_DIMENSIONS:
        raise BadBytesError(f"it is damaged: array number {number} has no shape that MXNet knows")
    shape = data.numbers("q" if versioned else "I", dimensions) if dimensions > 0 else ()
    if not shape or min(shape) < 1:
        raise BadBytesError(f"its array number {number} holds no values; save the parameters of an initialised network")
    return shape


def _name(data: _Bytes) -> str:
    try:
        name = data.take(data.numbers("Q")[0]).decode()
    except UnicodeDecodeError:
        name = ""
    if not name or not name.isprintable():
        raise BadBytesError("it is damaged: the name of an array is not text")
    return name
