"""Reads state dictionaries that PyTorch saved (.pth, .pt), without PyTorch and with nothing in them trusted.

Such a file holds a pickle, and Python's own reader runs whatever a pickle names. Here its instructions are interpreted
one by one: those that a dictionary of tensors needs, and four names that stand for tensors and their storage. Nothing
is imported and nothing is called. Source of both formats, the zip archive and the one before PyTorch 1.6: torch.save
and torch.load in torch/serialization.py; of the instructions: Python's pickletools.
"""

import errno
import math
import os
import pickletools
import struct
import zipfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sagemaker_ssd.artifacts.params_file import MOST_ARRAYS, fault_of_name
from sagemaker_ssd.contract.channel_files import ARCHIVE_SUFFIXES, PARAMETERS_SUFFIXES, WEIGHTS_SUFFIXES
from sagemaker_ssd.errors import UserError, shown, some

Array = npt.NDArray[np.generic]
_ZIP_START: Final = b"PK\x03\x04"
_PICKLE: Final = "/data.pkl"
# The format before PyTorch 1.6 begins with this number as a pickle.
_MAGIC_NUMBER: Final = 0x1950A86A20F9469CFC6C
_PROTOCOL: Final = 1001
# Of a state dictionary of a thousand tensors, several times over; more would only take time.
_MOST_PICKLE_BYTES: Final = 4 << 20
_MOST_DIMENSIONS: Final = 32
# PyTorch's own: bytes are counted in signed 64-bit numbers. A side or stride can be that large where it leads nowhere:
# in a tensor without numbers, and along a side of 1.
_MOST_BYTES: Final = (1 << 63) - 1
_NAMED: Final = 3
# What people pack into zip archives and have to unpack: files of weights, and archives of a model.
_PACKED: Final = PARAMETERS_SUFFIXES | WEIGHTS_SUFFIXES | ARCHIVE_SUFFIXES
# Python's own reasons can hold what they are about, of any length.
_LONGEST_REASON: Final = 200
_DICTIONARY, _TENSOR = "collections.OrderedDict", "torch._utils._rebuild_tensor_v2"
_STORAGES: Final[dict[str, np.dtype[Any]]] = {
    "torch.FloatStorage": np.dtype("<f4"),
    "torch.LongStorage": np.dtype("<i8"),
}
_AGAIN: Final = "copy or upload it again"
_SAVE: Final = "save a state dictionary of float32 tensors: torch.save(model.float().state_dict(), 'weights.pth')"


class _BadTorchFileError(Exception):
    """Says what is wrong, so that it follows the file's name and a colon."""


def starts_like_torch(head: bytes) -> bool:
    """Say whether a file that begins with these bytes may be PyTorch's: a zip archive, or a pickle."""
    return head.startswith((_ZIP_START, b"\x80"))


def starts_like_other_zip(head: bytes) -> bool:
    """Say whether a file that begins with these 512 bytes is a zip archive that PyTorch did not write."""
    # The pickle is the first file that it writes.
    return head.startswith(_ZIP_START) and _PICKLE.encode() not in head


def read_torch_file(path: Path, shown_as: str, must_be: str = _SAVE) -> dict[str, Array]:
    """Read every tensor of a state dictionary by its name: float32 or int64.

    shown_as: how the faults name the file. must_be: what they say of the kinds of files that may be there, where it is
    not PyTorch's. Raises UserError for anything but a flat dictionary of such tensors of finite numbers, and OSError.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            zipped = file.peek(4).startswith(_ZIP_START)
            tensors = _read_safely(_read_zip if zipped else _read_old_format, file, size, must_be)
        endless = [name for name, array in tensors.items() if array.dtype.kind == "f" and not np.isfinite(array).all()]
        if endless:
            raise _BadTorchFileError(
                f"it holds values that are not finite numbers in {some(endless, _NAMED)}; they come from a training "
                "that diverged: take an earlier checkpoint"
            )
    except _BadTorchFileError as error:
        raise UserError(f"{shown_as}: {error}") from error
    return tensors


@dataclass(frozen=True)
class _Name:
    """One of the names that a state dictionary needs: module and attribute, which are never looked up."""

    text: str


@dataclass(frozen=True)
class _Storage:
    """Numbers in the file, of which tensors are parts: `key` says where."""

    kind: np.dtype[Any]
    key: str
    length: int


@dataclass(frozen=True)
class _Tensor:
    """A tensor before its numbers are read."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Mark:
    """The place on the stack where the parts of a tuple or a dictionary begin."""


def _damaged(what: str) -> _BadTorchFileError:
    return _BadTorchFileError(f"it is damaged: {what}; {_AGAIN}")


def _reason(error: Exception) -> str:
    return str(error).strip("\"'")[:_LONGEST_REASON]


def _read_safely(
    read: Callable[[BufferedReader, int, str], dict[str, Array]], file: BufferedReader, size: int, must_be: str
) -> dict[str, Array]:
    """Call the reader of a format; raises _BadTorchFileError for whatever a damaged or hostile file makes of it."""
    try:
        return read(file, size, must_be)
    except (zipfile.BadZipFile, EOFError) as error:
        raise _BadTorchFileError(f"it is an incomplete or damaged zip archive ({_reason(error)}); {_AGAIN}") from error
    except OSError as error:
        # Where a zip archive's list leads to a place before the file.
        if error.errno != errno.EINVAL:
            raise
        raise _damaged("its list of contents leads out of it") from error
    # What zipfile raises on passwords, on members that are not there, and on numbers that are none; and what Python
    # raises on values that are nested deeply (RecursionError is a RuntimeError), too large, or of an unexpected type.
    except (RuntimeError, LookupError, ValueError, TypeError, OverflowError, struct.error) as error:
        raise _damaged(_reason(error)) from error


class _Interpreter:
    """Interprets one pickle: a stack, and a memory of values that come again."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memory: dict[int, Any] = {}

    def value(self, file: BytesIO) -> Any:
        """Return the value of the pickle that begins here, and leave the file behind it."""
        try:
            for instruction, argument, _ in pickletools.genops(file):
                if instruction.name == "STOP":
                    return self._stack.pop()
                self._step(instruction.name, argument)
        except (LookupError, ValueError, TypeError, OverflowError, struct.error) as error:
            raise _damaged(f"its pickle cannot be read ({_reason(error)})") from error
        raise _damaged("its pickle has no end")

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        match name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                stack.append(_Mark)
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(self._popped(int(name[-1]))))
            case "TUPLE":
                stack.append(tuple(self._to_mark()))
            case "APPEND":
                (item,) = self._popped(1)
                self._top(list).append(item)
            case "APPENDS":
                items = self._to_mark()
                self._top(list).extend(items)
            case "SETITEM":
                self._set_items(self._popped(2))
            case "SETITEMS":
                self._set_items(self._to_mark())
            case "BINPUT" | "LONG_BINPUT":
                self._memory[argument] = stack[-1]
            case "MEMOIZE":
                self._memory[len(self._memory)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self._memory[argument])
            case "GLOBAL":
                stack.append(_known(argument.replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                stack.append(_known(_dotted(*self._popped(2))))
            case "BINPERSID":
                stack.append(_storage(*self._popped(1)))
            case "REDUCE":
                stack.append(_made(*self._popped(2)))
            case "BUILD":
                # The metadata of a module's state dictionary: versions of its layers.
                self._popped(1)
                self._top(dict)
            case _ if name.startswith(("BINUNICODE", "SHORT_BINUNICODE", "BININT", "LONG", "BINFLOAT")):
                stack.append(argument)
            case _:
                raise _BadTorchFileError(
                    f"its pickle holds the instruction {name}, which a dictionary of tensors does not need; {_SAVE}"
                )

    def _popped(self, count: int) -> list[Any]:
        values = self._stack[-count:]
        if len(values) < count or any(value is _Mark for value in values):
            raise ValueError("values are missing on its stack")
        del self._stack[-count:]
        return values

    def _to_mark(self) -> list[Any]:
        values = []
        while (value := self._stack.pop()) is not _Mark:
            values.append(value)
        return values[::-1]

    def _set_items(self, items: list[Any]) -> None:
        # Python's hash of tuples within tuples, a hundred thousand deep, ends the process: the stack overflows.
        if any(isinstance(key, tuple) for key in items[::2]):
            raise ValueError("a name in a dictionary of it is a tuple")
        self._top(dict).update(zip(items[::2], items[1::2], strict=True))

    def _top(self, kind: type) -> Any:
        if not isinstance(self._stack[-1], kind):
            raise ValueError(f"a {kind.__name__} is missing on its stack")
        return self._stack[-1]


def _dotted(module: Any, attribute: Any) -> str:
    # Tuples within tuples, a hundred thousand deep, cannot be written as text.
    if not isinstance(module, str) or not isinstance(attribute, str):
        raise TypeError("a name of it is no text")
    return f"{module}.{attribute}"


def _known(name: str) -> _Name:
    if name in (_DICTIONARY, _TENSOR, *_STORAGES):
        return _Name(name)
    if name.startswith("torch.") and name.endswith("Storage"):
        raise _BadTorchFileError(f"it holds numbers of type {shown(name)}; {_SAVE}")
    raise _BadTorchFileError(
        f"its pickle names {shown(name)}, which a dictionary of tensors does not need: it could run any program, so "
        f"nothing of the file is used; {_SAVE}"
    )


def _storage(given: Any) -> _Storage:
    """Return what a persistent id stands for: ("storage", type, key, device, length), and None in the old format."""
    match given:
        case ("storage", _Name(text), str(key), str(), int(length), *rest) if text in _STORAGES:
            if not 0 <= length <= _MOST_BYTES // _STORAGES[text].itemsize:
                raise _damaged("a storage of it has a length that PyTorch does not know")
            if rest not in ([], [None]):
                raise _BadTorchFileError(f"it holds views of storages, as very old files do; {_SAVE}")
            return _Storage(_STORAGES[text], key, length)
    raise _damaged("its pickle names no storage where one must be")


def _made(what: Any, arguments: Any) -> Any:
    """Return an empty dictionary or a tensor, for the call that the pickle asks for."""
    if what == _Name(_DICTIONARY) and arguments == ():
        return {}
    if what == _Name(_TENSOR):
        match arguments:
            # Behind the strides: whether it has a gradient, its hooks, and in newer files metadata.
            case (_Storage() as storage, int(offset), tuple(shape), tuple(strides), *_):
                return _checked(_Tensor(storage, offset, shape, strides))
    raise _damaged("its pickle makes something else than tensors and dictionaries")


def _checked(tensor: _Tensor) -> _Tensor:
    most = _MOST_BYTES // tensor.storage.kind.itemsize
    # In this order: each number is looked at before they are multiplied, for one may have millions of digits.
    if (
        len(tensor.shape) != len(tensor.strides)
        or len(tensor.shape) > _MOST_DIMENSIONS
        or any(
            type(number) is not int or not 0 <= number <= most
            for number in (tensor.offset, *tensor.shape, *tensor.strides)
        )
        or math.prod(max(side, 1) for side in tensor.shape) > most
    ):
        raise _damaged("a tensor of it has no shape that PyTorch knows")
    count = math.prod(tensor.shape)
    last = tensor.offset + sum((side - 1) * stride for side, stride in zip(tensor.shape, tensor.strides, strict=True))
    # A tensor that repeats its numbers by a stride of 0 could ask for any amount of memory.
    if count > tensor.storage.length or (count and last >= tensor.storage.length):
        raise _damaged("a tensor of it is larger than its storage")
    return tensor


def _state_dictionary(value: Any) -> dict[str, _Tensor]:
    """Return the tensors of a flat dictionary; raises for anything else, and names it."""
    if not isinstance(value, dict):
        raise _BadTorchFileError(f"it holds {_described(value)}, not a dictionary of tensors; {_SAVE}")
    other = [
        f"{shown(name)}: {_described(item)}"
        for name, item in value.items()
        if isinstance(name, str) and not isinstance(item, _Tensor)
    ]
    # Not written itself: a whole number can have more digits than Python writes.
    other += [f"a name that is {_described(name)}" for name in value if not isinstance(name, str)]
    if other:
        raise _BadTorchFileError(f"beside tensors its dictionary holds {some(other, _NAMED)}; {_SAVE}")
    if not value:
        raise _BadTorchFileError(f"its dictionary holds no tensors; {_SAVE}")
    if len(value) > MOST_ARRAYS:
        raise _BadTorchFileError(f"it holds {len(value):,} tensors; {MOST_ARRAYS:,} are allowed; {_SAVE}")
    if faults := [fault for name in value if (fault := fault_of_name(name))]:
        raise _damaged(f"the name of an array {faults[0]}")
    return value


def _storages(tensors: dict[str, _Tensor], size: int) -> dict[str, _Storage]:
    """Return the storages by their keys; raises where reading their tensors would leave the memory that is read.

    Many tensors that share one storage could take any amount of memory, and many storages at the same place of the file
    any amount of time. A key that is described in two ways has one of them alone behind it in the file, and tensors are
    checked against the one that they name.
    """
    if sum(math.prod(tensor.shape) * tensor.storage.kind.itemsize for tensor in tensors.values()) > size:
        raise _damaged("its tensors are larger than the file")
    storages: dict[str, _Storage] = {}
    for name, tensor in tensors.items():
        storage = tensor.storage
        other = storages.setdefault(storage.key, storage)
        if other != storage:
            raise _damaged(
                f"its pickle says of storage {shown(storage.key)} that it holds {other.length:,} numbers of type "
                f"{other.kind}, and for tensor {shown(name)} that it holds {storage.length:,} of type {storage.kind}"
            )
    if sum(storage.length * storage.kind.itemsize for storage in storages.values()) > size:
        raise _damaged("its storages are larger than the file")
    return storages


def _described(value: Any) -> str:
    if isinstance(value, dict):
        return f"a dictionary of {len(value)}"
    if isinstance(value, (_Tensor, _Storage, _Name)):
        return {_Tensor: "a tensor", _Storage: "a storage", _Name: "a name"}[type(value)]
    return f"a value of type {type(value).__name__}"


def _arrays(tensors: dict[str, _Tensor], numbers: Callable[[_Storage], Array]) -> dict[str, Array]:
    """Return the tensors' values, in their order; each storage is asked for once, however many tensors it has."""
    names: dict[_Storage, list[str]] = defaultdict(list)
    for name, tensor in tensors.items():
        names[tensor.storage].append(name)
    arrays: dict[str, Array] = {}
    for storage in names:
        stored = numbers(storage)
        for name in names[storage]:
            tensor = tensors[name]
            steps = [stride * stored.itemsize for stride in tensor.strides]
            view = np.lib.stride_tricks.as_strided(stored[tensor.offset :], tensor.shape, steps, writeable=False)
            arrays[name] = np.array(view, dtype=view.dtype.newbyteorder("="))
    return {name: arrays[name] for name in tensors}


def _of_another_zip(names: list[str], must_be: str) -> str:
    """Say what a zip archive is that torch.save did not write, so that it follows "it is a zip archive"."""
    # macOS packs a ._name beside every file.
    files = [PurePosixPath(name) for name in names if not name.endswith("/")]
    weights = [shown(str(file)) for file in files if file.suffix.lower() in _PACKED and file.name[0] != "."]
    if weights:
        which = "that file" if len(weights) == 1 else "one of these files"
        return f" that holds {some(weights, _NAMED)}: unpack it, and give {which}"
    if names and all(name.endswith(".npy") for name in names):
        return f" of arrays, such as NumPy writes; {must_be}"
    held = some([shown(name) for name in names], _NAMED) or "nothing"
    return f", but not one that torch.save wrote: it holds {held}; {must_be}"


def _read_zip(file: BufferedReader, size: int, must_be: str) -> dict[str, Array]:
    """Read the archive that torch.save writes: NAME/data.pkl, and each storage as NAME/data/KEY, not compressed."""
    archive = zipfile.ZipFile(file)
    names = archive.namelist()
    pickles = [name for name in names if name.count("/") == 1 and name.endswith(_PICKLE)]
    if len(pickles) != 1:
        raise _BadTorchFileError(f"it is a zip archive{_of_another_zip(names, must_be)}")
    if any("/code/" in name for name in names):
        held = some([shown(name) for name in names], _NAMED)
        raise _BadTorchFileError(f"it is a zip archive, but TorchScript's: it holds {held}; {_SAVE}")
    folder = pickles[0].removesuffix("data.pkl")

    def content(name: str, most: int) -> bytes:
        member = archive.getinfo(name)
        if member.compress_type != zipfile.ZIP_STORED or member.file_size > size:
            raise _damaged(f"{shown(name)} in it is compressed, as torch.save never does")
        if member.file_size > most:
            raise _BadTorchFileError(f"its {shown(name)} has {member.file_size:,} bytes; {most:,} are allowed")
        return archive.read(member)

    if (order := f"{folder}byteorder") in names and content(order, 16) != b"little":
        raise _BadTorchFileError(f"its numbers are stored with the highest byte first; {_SAVE}")
    pickled = BytesIO(content(pickles[0], _MOST_PICKLE_BYTES))
    tensors = _state_dictionary(_Interpreter().value(pickled))
    _storages(tensors, size)

    def numbers(storage: _Storage) -> Array:
        stored = content(f"{folder}data/{storage.key}", size)
        if len(stored) != storage.length * storage.kind.itemsize:
            raise _damaged(f"storage {shown(storage.key)} in it has another size than its pickle says")
        return np.frombuffer(stored, storage.kind)

    return _arrays(tensors, numbers)


def _read_old_format(file: BufferedReader, size: int, must_be: str) -> dict[str, Array]:
    """Read the format before PyTorch 1.6: five pickles, then each storage, its length before it."""
    # The pickles come first; what is behind them stays on the disk.
    start = BytesIO(file.read(_MOST_PICKLE_BYTES))
    if _Interpreter().value(start) != _MAGIC_NUMBER or _Interpreter().value(start) != _PROTOCOL:
        raise _BadTorchFileError(f"it is a Python pickle, but not one that torch.save wrote; {must_be}")
    system = _Interpreter().value(start)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise _BadTorchFileError(f"its numbers are stored with the highest byte first; {_SAVE}")
    tensors = _state_dictionary(_Interpreter().value(start))
    storages = _storages(tensors, size)
    keys = _Interpreter().value(start)
    if not isinstance(keys, list) or any(not isinstance(key, str) for key in keys) or sorted(keys) != sorted(storages):
        raise _damaged("its storages are not those that its pickle names")
    file.seek(start.tell())
    stored: dict[str, Array] = {}
    for key in keys:
        storage = storages[key]
        head = file.read(8)
        length = storage.length * storage.kind.itemsize
        # Not read before it is known to be there: the length may be any number. The file may shrink meanwhile.
        content = file.read(length) if length <= size - file.tell() else b""
        if len(head) < 8 or len(content) < length:
            raise _BadTorchFileError(f"it is incomplete: its storages do not end within its {size:,} bytes; {_AGAIN}")
        if struct.unpack("<q", head)[0] != storage.length:
            raise _damaged(f"storage {shown(key)} in it has another size than its pickle says")
        stored[key] = np.frombuffer(content, storage.kind)
    return _arrays(tensors, lambda storage: stored[storage.key])
