"""Reads .params files that MXNet or GluonCV saved somewhere else, of every version, with nothing in them trusted.

MXNet's own reader allocates whatever a damaged file's header asks for; here every size is compared with the bytes that
are left. Source of the format: NDArray::Load in src/ndarray/ndarray.cc of MXNet 1.9.1.
"""

import math
import os
import struct
from collections import Counter
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from typing import Final

import mxnet as mx
import numpy as np
import numpy.typing as npt

from sagemaker_ssd.errors import UserError, some

_LIST: Final = 0x112
_VERSION_1, _VERSION_2, _VERSION_3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_DENSE: Final = 0
_MOST_DIMENSIONS: Final = 32
# mshadow's type flags; bfloat16, which numpy lacks, is 12.
_TYPES: Final = {0: "f4", 1: "f8", 2: "f2", 3: "u1", 4: "i4", 5: "i1", 6: "i8", 7: "?"}
_BFLOAT16: Final = 12
_ARGUMENT, _STATE = "arg:", "aux:"
# BatchNorm's in MXNet's symbols and in Gluon's blocks.
_STATE_ENDINGS: Final = ("_moving_mean", "_moving_var", "_running_mean", "_running_var")
_NAMED: Final = 3
# Characters. Networks have names of less than a hundred; looking for theirs in longer ones would only take time.
_LONGEST_NAME: Final = 1000
# Of a network of hundreds of layers, several times over; looking for a network among more would only take time.
MOST_ARRAYS: Final = 10_000
# What people put where parameters belong, by its first bytes. What has to be done with it first stands behind a colon;
# behind the others it is said what the file must be.
_KNOWN: Final = (
    (b"version https://git-lfs", "it is a Git LFS pointer, not the file itself: fetch it by `git lfs pull`"),
    (b"<", "it is a web page or an XML message, not parameters: download it again, and look into it"),
    (b"{", "it is JSON, such as a network's symbol, not parameters"),
    (b"\x1f\x8b", "it is a gzip file, not parameters: unpack it first"),
    (b"PK", "it is a zip file, such as NumPy and PyTorch write"),
    (b"\x80", "it is a Python pickle, such as PyTorch writes"),
    (b"\x89HDF", "it is an HDF5 file, such as Keras writes"),
)
SAFETENSORS: Final = "it is a safetensors file, such as Hugging Face's"
# Such a file begins with the length of its JSON, which its own library lets have so many bytes.
_MOST_SAFETENSORS_JSON: Final = 100_000_000
# Of ONNX, the field behind the version of the format: one to eight, in the order that all writers keep.
_SECOND_ONNX_FIELDS: Final = frozenset({0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42})
_HEAD: Final = 64
_MAKE_ONE: Final = "the file must be one that MXNet wrote, by `save_checkpoint`, `save_parameters` or `mx.nd.save`"


class BadParamsFileError(Exception):
    """Says what is wrong, so that it follows the file's name and a colon."""


class _OtherKindError(BadParamsFileError):
    """It is another kind of file altogether."""


def starts_like_safetensors(head: bytes) -> bool:
    """Say whether a file that begins with these bytes, nine or more, is of Hugging Face's format safetensors."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _MOST_SAFETENSORS_JSON


def starts_like_onnx(head: bytes) -> bool:
    """Say whether a file that begins with these bytes is ONNX: the version of its format, then another short field."""
    # Not beside the reader of ONNX: what only tells files apart need not import that library.
    return len(head) >= 3 and head[0] == 0x08 and 0 < head[1] < 0x40 and head[2] in _SECOND_ONNX_FIELDS


def starts_like_params(head: bytes) -> bool:
    """Say whether a file that begins with these bytes is one of MXNet's .params files."""
    return head[:8] == struct.pack("<Q", _LIST)


def read_parameter_file(path: Path, shown_as: str, must_be: str = _MAKE_ONE) -> dict[str, mx.nd.NDArray]:
    """Read every array of a .params file in float32 by its name in the file.

    shown_as: how the faults name the file. must_be: what they say of the kinds of files that may be there. Raises
    UserError for anything but named, dense arrays of finite floating-point numbers, and OSError.
    """
    try:
        with path.open("rb") as file:
            arrays, names = _stored_arrays(file, os.fstat(file.fileno()).st_size)
        if not arrays:
            raise BadParamsFileError("it holds no arrays")
        if not names:
            raise BadParamsFileError(f"its {len(arrays)} arrays have no names; save a dictionary, not a list")
        repeated = [name for name, count in Counter(map(_bare, names)).items() if count > 1]
        if repeated:
            raise BadParamsFileError(f"it holds more than one array of the same name: {some(repeated, _NAMED)}")
        named = dict(zip(names, arrays, strict=True))
        # So that each array is held by `named` alone, and goes when its copy has been made.
        del arrays
        return _in_float32(named)
    except _OtherKindError as error:
        raise UserError(f"{shown_as}: {_of_another_kind(path, must_be)}") from error
    except BadParamsFileError as error:
        again = "; copy or upload it again" if "damaged" in str(error) else ""
        raise UserError(f"{shown_as}: {error}{again}") from error


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


def fault_of_name(name: str) -> str | None:
    """Say what is wrong with the name of an array in a file, so that it follows "the name of an array"; or None."""
    if not name or not name.isprintable():
        return "is not text"
    if len(name) > _LONGEST_NAME:
        return f"has {len(name):,} characters; {_LONGEST_NAME:,} are allowed"
    return None


def _bare(name: str) -> str:
    return name.partition(":")[2] if name.startswith((_ARGUMENT, _STATE)) else name


def _in_float32(named: dict[str, npt.NDArray[np.generic]]) -> dict[str, mx.nd.NDArray]:
    """Turn the arrays into MXNet's, one after the other so that only one is in memory twice."""
    other = {name: str(array.dtype) for name, array in named.items() if array.dtype.kind != "f"}
    if other:
        kinds = " and ".join(sorted(set(other.values())))
        raise BadParamsFileError(
            f"it holds numbers of type {kinds} in {some(list(other), _NAMED)}; save floating-point numbers, by "
            "`.astype('float32')`"
        )
    arrays, bad = {}, []
    for name in list(named):
        # Numbers too large for float32 become infinite, which is reported below.
        with np.errstate(over="ignore"):
            values = named.pop(name).astype(np.float32, copy=False)
        if not np.isfinite(values).all():
            bad.append(name)
        arrays[name] = mx.nd.array(values, dtype=np.float32)
    if bad:
        raise BadParamsFileError(
            f"it holds values that are not finite numbers in {some(bad, _NAMED)}; they come from a training that "
            "diverged: take the parameters of an earlier epoch"
        )
    return arrays


def _of_another_kind(path: Path, must_be: str) -> str:
    with path.open("rb") as file:
        head = file.read(_HEAD)
    found = next((text for start, text in _KNOWN if head.lstrip().startswith(start)), "it is of an unknown kind")
    if not head:
        found = "it is empty"
    elif starts_like_safetensors(head):
        found = SAFETENSORS
    return found if ": " in found else f"{found}; {must_be}"


def _stored_arrays(file: BufferedReader, size: int) -> tuple[list[npt.NDArray[np.generic]], list[str]]:
    """Read a whole file of `size` bytes: every array as it is stored, and the names.

    There are as many names as arrays, or none for a file that was saved as a list. Raises BadParamsFileError and
    OSError.
    """
    data = _BoundedReader(file, size)
    head = data.take(min(16, size))
    if len(head) < 16 or not starts_like_params(head):
        raise _OtherKindError("it is not an MXNet parameter file")
    (count,) = data.numbers("Q")
    if count > MOST_ARRAYS:
        raise BadParamsFileError(
            f"it is damaged, or of no network: it says that it holds {count:,} arrays; {MOST_ARRAYS:,} are allowed"
        )
    arrays = [_array(data, number) for number in range(1, count + 1)]
    (named,) = data.numbers("Q")
    if named not in (0, count):
        raise BadParamsFileError(f"it is damaged: it holds {count:,} arrays and {named:,} names")
    return arrays, [_name(data) for _ in range(named)]


class _BoundedReader:
    """A file's bytes from begin to end, never more than it has."""

    def __init__(self, file: BufferedReader, size: int) -> None:
        self._file, self._size, self._left = file, size, size

    def take(self, length: int) -> bytes:
        self._spend(length)
        content = self._file.read(length)
        if len(content) < length:
            raise self._truncated()
        return content

    def numbers(self, kind: str, count: int = 1) -> tuple[int, ...]:
        layout = f"<{count}{kind}"
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def array(self, kind: str, shape: tuple[int, ...]) -> npt.NDArray[np.generic]:
        self._spend(math.prod(shape) * np.dtype(kind).itemsize)
        values = np.empty(shape, np.dtype(kind).newbyteorder("<"))
        if self._file.readinto(values.reshape(-1).view(np.uint8).data) < values.nbytes:
            raise self._truncated()
        return values

    def _spend(self, length: int) -> None:
        if length > self._left:
            raise self._truncated()
        self._left -= length

    def _truncated(self) -> BadParamsFileError:
        return BadParamsFileError(
            f"it is incomplete or damaged: its contents do not end within its {self._size:,} bytes"
        )


def _array(data: _BoundedReader, number: int) -> npt.NDArray[np.generic]:
    (version,) = data.numbers("I")
    if version in (_VERSION_2, _VERSION_3):
        (storage,) = data.numbers("i")
        if storage != _DENSE:
            raise BadParamsFileError(f"its array number {number} is sparse; save it dense, by `.tostype('default')`")
    # Before version 1 there was no version: the array began with its number of dimensions.
    versioned = version in (_VERSION_1, _VERSION_2, _VERSION_3)
    dimensions = data.numbers("i")[0] if versioned else version
    if dimensions > _MOST_DIMENSIONS:
        raise BadParamsFileError(f"it is damaged: array number {number} has no shape that MXNet knows")
    shape = data.numbers("q" if versioned else "I", dimensions) if dimensions > 0 else ()
    if not shape or min(shape) < 1:
        raise BadParamsFileError(
            f"its array number {number} holds no values; save the parameters of an initialised network"
        )
    # The device that it was on, of no meaning here, and the type of its numbers.
    kind = data.numbers("i", 3)[2]
    if kind == _BFLOAT16:
        raise BadParamsFileError(f"its array number {number} is bfloat16; save it as float32, by `.astype('float32')`")
    if kind not in _TYPES:
        raise BadParamsFileError(f"it is damaged: array number {number} has no type that MXNet knows")
    return data.array(_TYPES[kind], shape)


def _name(data: _BoundedReader) -> str:
    try:
        name = data.take(data.numbers("Q")[0]).decode()
    except UnicodeDecodeError:
        name = ""
    if fault := fault_of_name(name):
        raise BadParamsFileError(f"it is damaged: the name of an array {fault}")
    return name
