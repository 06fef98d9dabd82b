"""The bytes of MXNet's parameter files (.params), of every version, with nothing in them trusted.

MXNet's own reader allocates whatever a damaged file's header asks for; here every size is held against the bytes that
are left. Source of the format: NDArray::Load in src/ndarray/ndarray.cc of MXNet 1.9.1.

Reads parameters that were saved by MXNet or GluonCV somewhere else.
"""

import math
import os
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Final

import mxnet as mx
import numpy as np
import numpy.typing as npt

from sagemaker_ssd.errors import UserError

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


_ARGUMENT, _STATE = "arg:", "aux:"
# BatchNorm's in MXNet's symbols and in Gluon's blocks.
_STATE_ENDINGS: Final = ("_moving_mean", "_moving_var", "_running_mean", "_running_var")
_SHOWN: Final = 3
# What people put where parameters belong, by its first bytes.
_KNOWN: Final = (
    (b"version https://git-lfs", "it is a Git LFS pointer, not the file itself: fetch it by `git lfs pull`"),
    (b"<", "it is a web page or an XML message, not an MXNet parameter file: download it again, and look into it"),
    (b"{", "it is JSON, such as a network's symbol, not an MXNet parameter file"),
    (b"\x1f\x8b", "it is a gzip file, not an MXNet parameter file: unpack it first"),
    (b"PK", "it is a zip file, such as NumPy and PyTorch write, not an MXNet parameter file"),
    (b"\x80", "it is a Python pickle, such as PyTorch writes, not an MXNet parameter file"),
    (b"\x89HDF", "it is an HDF5 file, such as Keras writes, not an MXNet parameter file"),
)
_MAKE_ONE: Final = "the file must be one that MXNet wrote, by `save_checkpoint`, `save_parameters` or `mx.nd.save`"


def read_parameter_file(path: Path, shown_as: str) -> dict[str, mx.nd.NDArray]:
    """Read every array of a .params file in float32 by its name in the file.

    shown_as: how the faults name the file. Raises UserError for anything but named, dense arrays of finite
    floating-point numbers, and OSError.
    """
    try:
        with path.open("rb") as file:
            stored = stored_arrays(file, os.fstat(file.fileno()).st_size)
        if not stored.arrays:
            raise BadBytesError("it holds no arrays")
        if not stored.names:
            raise BadBytesError(f"its {len(stored.arrays)} arrays have no names; save a dictionary, not a list")
        repeated = [name for name, count in Counter(map(_bare, stored.names)).items() if count > 1]
        if repeated:
            raise BadBytesError(f"it holds more than one array of the same name: {_some(repeated)}")
        named = dict(zip(stored.names, stored.arrays, strict=True))
        del stored
        return _usable(named)
    except BadBytesError as error:
        raise UserError(f"{shown_as}: {_told(path, str(error))}") from error


def arguments_and_states(
    arrays: Mapping[str, mx.nd.NDArray],
) -> tuple[dict[str, mx.nd.NDArray], dict[str, mx.nd.NDArray]]:
    """Part arrays into arguments and BatchNorm's states, names bare: by "aux:" or by ending.

    States can have the prefix "arg:" where a person has put it before every name.
    """
    arguments: dict[str, mx.nd.NDArray] = {}
    states: dict[str, mx.nd.NDArray] = {}
    for name, array in arrays.items():
        is_state = name.startswith(_STATE) or name.endswith(_STATE_ENDINGS)
        (states if is_state else arguments)[_bare(name)] = array
    return arguments, states


def _usable(named: dict[str, npt.NDArray[np.generic]]) -> dict[str, mx.nd.NDArray]:
    """Turn the arrays into MXNet's, one after the other so that only one is in memory twice."""
    other = {name: str(array.dtype) for name, array in named.items() if array.dtype.kind != "f"}
    if other:
        kinds = " and ".join(sorted(set(other.values())))
        raise BadBytesError(
            f"it holds numbers of type {kinds} in {_some(list(other))}; save floating-point numbers, by "
            "`.astype('float32')`"
        )
    arrays, bad = {}, []
    for name in list(named):
        # Numbers too large for float32 become infinite, which is told below.
        with np.errstate(over="ignore"):
            values = named.pop(name).astype(np.float32, copy=False)
        if not np.isfinite(values).all():
            bad.append(name)
        arrays[name] = mx.nd.array(values, dtype=np.float32)
    if bad:
        raise BadBytesError(
            f"it holds values that are not finite numbers in {_some(bad)}; they come from a training that diverged: "
            "take the parameters of an earlier epoch"
        )
    return arrays


def _told(path: Path, fault: str) -> str:
    if fault.startswith("it is not an MXNet"):
        with path.open("rb") as file:
            head = file.read(64)
        if not head:
            return f"it is empty; {_MAKE_ONE}"
        return next((text for start, text in _KNOWN if head.lstrip().startswith(start)), f"{fault}; {_MAKE_ONE}")
    return f"{fault}; copy or upload it again" if "damaged" in fault else fault


def _bare(name: str) -> str:
    return name.partition(":")[2] if name.startswith((_ARGUMENT, _STATE)) else name


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
