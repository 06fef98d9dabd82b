"""State dictionaries as torch.save writes them, without PyTorch: both formats, instruction by instruction.

What PyTorch itself writes was compared with it (`make test-weights`).
"""

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
DICTIONARY = b"ccollections\nOrderedDict\n"
MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
STORAGES = {
    "float32": b"ctorch\nFloatStorage\n",
    "int64": b"ctorch\nLongStorage\n",
    "float16": b"ctorch\nHalfStorage\n",
}


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(key: str, array: np.ndarray, *, old: bool = False) -> bytes:
    strides = tuple(stride // array.itemsize for stride in np.ascontiguousarray(array).reshape(array.shape).strides)
    storage = b"(" + text("storage") + STORAGES[array.dtype.name] + text(key) + text("cpu") + number(array.size)
    storage += (b"N" if old else b"") + b"tQ"
    hooks = DICTIONARY + b")R"
    return TENSOR + b"(" + storage + number(0) + numbers(array.shape) + numbers(strides) + b"\x89" + hooks + b"tR"


def dictionary(entries: Mapping[str, bytes]) -> bytes:
    """Pickle an OrderedDict with the metadata of a module's state dictionary."""
    items = b"".join(text(name) + value for name, value in entries.items())
    metadata = b"}" + text("_metadata") + DICTIONARY + b")R" + text("") + b"}" + text("version") + b"K\x01ss" + b"s"
    return b"\x80\x02" + DICTIONARY + b")Rq\x00(" + items + b"u" + metadata + b"b."


def zip_file(path: Path, pickled: bytes, storages: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("weights/data.pkl", pickled)
        archive.writestr("weights/byteorder", b"little")
        for key, content in storages.items():
            archive.writestr(f"weights/data/{key}", content)
        archive.writestr("weights/version", b"3\n")
    return path


def write_torch_file(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    entries = {name: tensor(str(key), array) for key, (name, array) in enumerate(arrays.items())}
    return zip_file(path, dictionary(entries), {str(key): a.tobytes() for key, a in enumerate(arrays.values())})


def old_file(path: Path, pickled: bytes, keys: list[object], storages: Sequence[tuple[int, bytes]]) -> Path:
    """Write the format before PyTorch 1.6; storages: how many numbers each says that it has, and its bytes."""
    content = io.BytesIO()
    for value in (MAGIC_NUMBER, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}):
        pickle.dump(value, content, protocol=2)
    content.write(pickled)
    pickle.dump(keys, content, protocol=2)
    for length, stored in storages:
        content.write(struct.pack("<q", length) + stored)
    path.write_bytes(content.getvalue())
    return path


def write_old_file(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    entries = {name: tensor(str(key), array, old=True) for key, (name, array) in enumerate(arrays.items())}
    keys = [str(key) for key in range(len(arrays))]
    return old_file(path, dictionary(entries), keys, [(array.size, array.tobytes()) for array in arrays.values()])
