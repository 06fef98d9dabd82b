"""PyTorch's files read without PyTorch: state dictionaries, and everything that is refused."""

import contextlib
import os
import pickle
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sagemaker_ssd.artifacts.torch_file import read_torch_file
from sagemaker_ssd.errors import UserError
from written_torch_files import (
    DICTIONARY,
    TENSOR,
    dictionary,
    number,
    numbers,
    old_file,
    tensor,
    text,
    write_old_file,
    write_torch_file,
    zip_file,
)

DRAW = np.random.default_rng(1)
ARRAYS = {
    "backbone.0.weight": DRAW.normal(size=(4, 3, 3, 3)).astype(np.float32),
    "backbone.0.bias": DRAW.normal(size=4).astype(np.float32),
    "counter": np.array(7, np.int64),
}
SAVE = "save a state dictionary of float32 tensors: torch.save(model.float().state_dict(), 'weights.pth')"


def fault(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_torch_file(path, "pretrained/given.pth")
    assert caught.value.sentence.startswith("pretrained/given.pth: ")
    return caught.value.sentence.removeprefix("pretrained/given.pth: ")


@pytest.mark.parametrize("write", [write_torch_file, write_old_file])
def test_every_tensor_by_its_name(tmp_path: Path, write):
    found = read_torch_file(write(tmp_path / "x", ARRAYS), "x")
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found[name], array)


def test_parts_of_one_storage_in_another_order(tmp_path: Path):
    """Columns 1 and 2 of a transposed matrix of 2 x 3 that begins at number 1 of the storage."""
    stored = np.arange(7, dtype=np.float32)
    whole = tensor("0", stored)
    part = whole.replace(number(0) + numbers((7,)) + numbers((1,)), number(2) + numbers((2, 2)) + numbers((1, 3)))
    assert part != whole
    path = zip_file(tmp_path / "x", dictionary({"a": part}), {"0": stored.tobytes()})
    np.testing.assert_array_equal(read_torch_file(path, "x")["a"], [[2, 5], [3, 6]])


class Command:
    """What runs a program when Python's own pickle reads it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("form", ["zip", "old", "bare", "within"])
def test_nothing_in_a_hostile_file_is_run(tmp_path: Path, protocol: int, form: str):
    marker, path = tmp_path / "marker", tmp_path / "x"
    command = pickle.dumps(Command(marker), protocol=protocol)
    if form == "zip":
        zip_file(path, command, {})
    elif form == "old":
        start = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
        path.write_bytes(start + pickle.dumps({"little_endian": True}, 2) + command)
    elif form == "bare":
        path.write_bytes(command)
    else:
        # A whole state dictionary, and the command as one of its values.
        value = command.removesuffix(b".")
        value = value[2:] if protocol == 2 else value[11:] if protocol == 4 else value
        zip_file(path, dictionary({"a": tensor("0", np.zeros(2, np.float32)), "b": value}), {"0": bytes(8)})
    # The file is what it is meant to be: Python's own reader would run it.
    assert (pickle.loads(command), marker.exists()) == (0, True)
    marker.unlink()
    told = fault(path)
    assert not marker.exists()
    if protocol != 0:
        assert told == (
            "its pickle names 'posix.system', which a dictionary of tensors does not need: it could run any program, "
            f"so nothing of the file is used; {SAVE}"
        )


@pytest.mark.parametrize("name", ["builtins\neval", "torch\nload", "torch.storage\n_load_from_bytes", "os\nsystem"])
def test_other_names_are_told(tmp_path: Path, name: str):
    told = fault(zip_file(tmp_path / "x", b"\x80\x02c" + name.encode() + b"\n.", {}))
    assert told.startswith(f"its pickle names '{name.replace(chr(10), '.')}', which")


def test_other_numbers_are_told(tmp_path: Path):
    told = fault(write_torch_file(tmp_path / "x", {"a": np.zeros(2, np.float16)}))
    assert told == f"it holds numbers of type 'torch.HalfStorage'; {SAVE}"


VALUE = np.arange(6, dtype=np.float32)
WHOLE = dictionary({"a": tensor("0", VALUE)})
SHAPE, STRIDES, OFFSET = numbers((6,)), numbers((1,)), number(0)
HUGE = b"\x8a\x08" + (1 << 62).to_bytes(8, "little")
# A whole number of 300,000 bytes; Python writes none of more than 4,300 digits.
DIGITS = b"\x8b" + struct.pack("<i", 300_000) + b"\x01" * 300_000
NAMES = [
    ("", "is not text"),
    ("a\nb", "is not text"),
    ("x" * 1001, "has 1,001 characters; 1,000 are allowed"),
]


def changed(old: bytes, new: bytes) -> bytes:
    assert WHOLE.count(old) == 1
    return WHOLE.replace(old, new)


def short(value: object) -> str:
    """Name a case by its sentence: a pickle may have a hundred thousand bytes."""
    return value if isinstance(value, str) else "pickle"


def with_pickle(path: Path, pickled: bytes, *, old: bool = False) -> Path:
    """Write a file of either format with this pickle and the numbers of VALUE."""
    if not old:
        return zip_file(path, pickled, {"0": VALUE.tobytes()})
    old_file(path, pickled, ["0"], [(VALUE.size, VALUE.tobytes())])
    if not pickled.endswith(b"."):
        # Else what is behind it would be read as its end.
        path.write_bytes(path.read_bytes().partition(pickled)[0] + pickled)
    return path


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    ("pickled", "told"),
    [
        (changed(OFFSET + SHAPE, OFFSET + numbers((7,))), "a tensor of it is larger than its storage"),
        (changed(OFFSET + SHAPE, number(1) + SHAPE), "a tensor of it is larger than its storage"),
        (changed(SHAPE + STRIDES, SHAPE + numbers((2,))), "a tensor of it is larger than its storage"),
        (changed(SHAPE + STRIDES, numbers((6, 9)) + numbers((1, 0))), "a tensor of it is larger than its storage"),
        (changed(SHAPE + STRIDES, numbers((6, 1)) + STRIDES), "a tensor of it has no shape that PyTorch knows"),
        (changed(SHAPE + STRIDES, numbers((-6,)) + STRIDES), "a tensor of it has no shape that PyTorch knows"),
        (changed(SHAPE + STRIDES, SHAPE + numbers((-1,))), "a tensor of it has no shape that PyTorch knows"),
        (changed(OFFSET + SHAPE, number(-1) + SHAPE), "a tensor of it has no shape that PyTorch knows"),
        (changed(OFFSET + SHAPE, b"\x88" + SHAPE), "a tensor of it has no shape that PyTorch knows"),
        (changed(text("cpu") + number(6), text("cpu") + number(-6)), "a storage of it has a length that PyTorch does"),
        (changed(text("cpu") + number(6), text("cpu") + DIGITS), "a storage of it has a length that PyTorch does"),
        (changed(text("cpu") + number(6), text("cpu") + number(5)), "a tensor of it is larger than its storage"),
        (changed(text("storage"), text("module")), "its pickle names no storage where one must be"),
        (changed(b"tRu", b"t)Ru"), "its pickle makes something else than tensors and dictionaries"),
        (WHOLE[:-1], "its pickle cannot be read"),
        (WHOLE[:40], "its pickle cannot be read"),
        (b"\x80\x02.", "its pickle cannot be read"),
        (b"\x80\x02h\x09.", "its pickle cannot be read"),
        (b"\x80\x02" + TENSOR + b")R.", "its pickle makes something else than tensors and dictionaries"),
        (b"\x80\x02" + DICTIONARY + b"K\x01\x85R.", "its pickle makes something else than tensors and dictionaries"),
        (b"\x80\x02K\x01}b.", "its pickle cannot be read"),
        # A step that leads nowhere along a side of 1, and a side of a tensor without numbers, both of 2 ** 62.
        (
            changed(SHAPE + STRIDES, numbers((1,)) + b"(" + HUGE + b"t"),
            "a tensor of it has no shape that PyTorch knows",
        ),
        (
            changed(SHAPE + STRIDES, b"(" + number(0) + HUGE + b"t" + numbers((1, 1))),
            "a tensor of it has no shape that",
        ),
        # Tuples within a tuple as a name: a hash of them ended the process.
        (b"\x80\x02})" + b"\x85" * 200_000 + b"Ns.", "its pickle cannot be read (a name in a dictionary of it is a"),
        # The same as the name of what is to be imported: as text it ended in a traceback.
        (
            b"\x80\x02)" + b"\x85" * 200_000 + text("a") + b"\x93.",
            "its pickle cannot be read (a name of it is no",
        ),
        (b"\x80\x02" + text("a") + b"K\x01\x93.", "its pickle cannot be read (a name of it is no"),
        # A reason of Python's that holds what it is about.
        (b"\x80\x02S" + b"x" * 100_000 + b"\n.", "its pickle cannot be read (no string quotes around b'xxx"),
        (b"\x80\x02L" + b"1" * 5000 + b"L\n.", "its pickle cannot be read (Exceeds the limit"),
        *((dictionary({name: tensor("0", VALUE)}), f"the name of an array {end}") for name, end in NAMES),
        # Half of a pair of UTF-16, which cannot be written to a log.
        (changed(text("a"), b"X" + struct.pack("<I", 4) + b"a\xed\xa0\x80"), "the name of an array is not text"),
        # Sides whose product takes minutes.
        (
            changed(SHAPE + STRIDES, b"(" + DIGITS + b"q\x07" + b"h\x07" * 31 + b"t" + numbers((1,) * 32)),
            "a tensor of it has no shape that PyTorch knows",
        ),
    ],
    ids=short,
)
def test_damaged_pickles(tmp_path: Path, pickled: bytes, told: str, old: bool):
    found = fault(with_pickle(tmp_path / "x", pickled, old=old))
    assert found.startswith(f"it is damaged: {told}")
    assert found.endswith("; copy or upload it again")
    assert len(found) < 400


def test_a_storage_that_is_not_there(tmp_path: Path):
    pickled = changed(text("0"), text("1"))
    assert fault(with_pickle(tmp_path / "x", pickled)) == (
        "it is damaged: There is no item named 'weights/data/1' in the archive; copy or upload it again"
    )
    assert fault(with_pickle(tmp_path / "x", pickled, old=True)) == (
        "it is damaged: its storages are not those that its pickle names; copy or upload it again"
    )


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    ("pickled", "told"),
    [
        (pickle.dumps([1], 2), "it holds a value of type list, not a dictionary of tensors"),
        (pickle.dumps({"epoch": 3, "model": {"a": 1}}, 2), "beside tensors its dictionary holds 'epoch': a value of"),
        (
            pickle.dumps({7: 1, "a": 2}, 2),
            "beside tensors its dictionary holds 'a': a value of type int, a name",
        ),
        (pickle.dumps({10**5000: 1}, 2), "beside tensors its dictionary holds a name that is a value of type int; "),
        (pickle.dumps({None: 1, 0.5: 1}, 2), "beside tensors its dictionary holds a name that is a value of type None"),
        (pickle.dumps({}, 2), "its dictionary holds no tensors"),
        (pickle.dumps({"a"}, 4), "its pickle holds the instruction EMPTY_SET, which a dictionary of tensors does not"),
        (pickle.dumps(bytearray(b"x" * 300), 5), "its pickle holds the instruction BYTEARRAY8"),
        (b"\x80\x02c__main__\nDetector\n)\x81.", "its pickle names '__main__.Detector', which"),
    ],
    ids=short,
)
def test_other_contents(tmp_path: Path, pickled: bytes, told: str, old: bool):
    found = fault(with_pickle(tmp_path / "x", pickled, old=old))
    assert found.startswith(told)
    assert found.endswith(SAVE)


def test_many_tensors_of_one_storage_take_no_more_memory_than_the_file(tmp_path: Path):
    entries = {str(k): tensor("0", np.zeros(10_000, np.float32)) for k in range(100)}
    assert fault(zip_file(tmp_path / "x", dictionary(entries), {"0": bytes(40_000)})) == (
        "it is damaged: its tensors are larger than the file; copy or upload it again"
    )


@pytest.mark.parametrize("old", [False, True])
def test_a_storage_is_read_once_for_all_of_its_tensors(tmp_path: Path, old: bool):
    """Reading it for each took a minute here, and hours for a file of 100 MB; its tensors stay in their order."""
    stored = np.arange(4_000_000, dtype=np.float32)
    entries = {}
    for place in range(2000):
        whole = tensor("0", stored, old=old)
        entries[str(place)] = whole.replace(
            number(0) + numbers(stored.shape) + numbers((1,)), number(1999 * place) + numbers((1,)) + numbers((1,))
        )
    entries["other"] = tensor("1", VALUE, old=old)
    entries["last"] = entries["7"]
    pickled, numbers_of = dictionary(entries), {"0": stored, "1": VALUE}
    if old:
        path = old_file(tmp_path / "x", pickled, ["0", "1"], [(a.size, a.tobytes()) for a in numbers_of.values()])
    else:
        path = zip_file(tmp_path / "x", pickled, {key: a.tobytes() for key, a in numbers_of.items()})
    before = time.process_time()
    found = read_torch_file(path, "x")
    assert time.process_time() - before < 10
    assert list(found) == list(entries)
    assert [found[str(place)].tolist() for place in (0, 1, 1999)] == [[0], [1999], [1999 * 1999]]
    assert found["last"].tolist() == [7 * 1999]
    np.testing.assert_array_equal(found["other"], VALUE)


def test_more_tensors_than_a_network_has(tmp_path: Path):
    entries = dict.fromkeys(map(str, range(10_001)), tensor("0", VALUE[:1]))
    assert fault(zip_file(tmp_path / "x", dictionary(entries), {"0": VALUE[:1].tobytes()})) == (
        f"it holds 10,001 tensors; 10,000 are allowed; {SAVE}"
    )


def test_storages_at_one_place_of_the_file_are_not_read(tmp_path: Path):
    """Each with the whole of what the file holds: many of them took hours."""
    stored = np.zeros(30_000, np.float32)
    one = number(0) + numbers((1,)) + numbers((1,))
    entries = {
        str(k): tensor(str(k), stored).replace(number(0) + numbers(stored.shape) + numbers((1,)), one) for k in range(9)
    }
    path = zip_file(tmp_path / "x", dictionary(entries), {"0": stored.tobytes()})
    assert fault(path) == "it is damaged: its storages are larger than the file; copy or upload it again"


def described_twice(first: np.ndarray, second: np.ndarray, *, old: bool) -> bytes:
    """Pickle tensors a and b of one storage, which each says to be an array of its own."""
    return dictionary({"a": tensor("0", first, old=old), "b": tensor("0", second, old=old)})


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    ("first", "one", "second", "other"),
    [
        ((10, np.float32), "10 numbers of type float32", (1, np.float32), "1 of type float32"),
        ((1, np.float32), "1 numbers of type float32", (10, np.float32), "10 of type float32"),
        # The same 8 bytes.
        ((1, np.int64), "1 numbers of type int64", (2, np.float32), "2 of type float32"),
        ((2, np.int64), "2 numbers of type int64", (2, np.float32), "2 of type float32"),
    ],
)
def test_a_storage_that_is_described_in_two_ways_is_not_read(
    tmp_path: Path, first: tuple[int, type], one: str, second: tuple[int, type], other: str, old: bool
):
    pickled = described_twice(np.zeros(*first), np.zeros(*second), old=old)
    stored = np.zeros(*second)
    if old:
        path = old_file(tmp_path / "x", pickled, ["0"], [(stored.size, stored.tobytes())])
        # Long enough that both tensors could be in it.
        os.truncate(path, path.stat().st_size + 100)
    else:
        path = zip_file(tmp_path / "x", pickled, {"0": stored.tobytes()})
    assert fault(path) == (
        f"it is damaged: its pickle says of storage '0' that it holds {one}, and for tensor 'b' that it holds {other}; "
        "copy or upload it again"
    )


def test_no_tensor_is_read_beyond_its_storage(tmp_path: Path):
    """Its 79,999,996 bytes behind the only number that is there ended the process."""
    array, stored = np.zeros(20_000_000, np.float32), np.zeros(1, np.float32)
    pickled = described_twice(array, stored, old=True)
    path = old_file(tmp_path / "x", pickled, ["0"], [(1, stored.tobytes())])
    os.truncate(path, path.stat().st_size + array.nbytes)
    assert "that it holds 20,000,000 numbers of type float32, and for tensor 'b' that it holds 1 of" in fault(path)


@pytest.mark.parametrize("keys", [[0], ["0", "0"], ["1"], [], [("0",)], [None], "0", {"0": 0}])
def test_keys_that_are_not_those_of_the_storages(tmp_path: Path, keys):
    pickled = dictionary({"a": tensor("0", VALUE, old=True)})
    path = old_file(tmp_path / "x", pickled, keys, [(VALUE.size, VALUE.tobytes())] * 2)
    assert fault(path) == ("it is damaged: its storages are not those that its pickle names; copy or upload it again")


@pytest.mark.parametrize("old", [False, True])
def test_a_tensor_without_numbers(tmp_path: Path, old: bool):
    array = np.zeros((0, 3), np.float32)
    path = (write_old_file if old else write_torch_file)(tmp_path / "x", {"a": array})
    assert read_torch_file(path, "x")["a"].shape == (0, 3)


def test_a_large_pickle_is_not_read(tmp_path: Path):
    assert fault(zip_file(tmp_path / "x", b"\x80\x02" + b"N0" * 3_000_000, {})) == (
        "its 'weights/data.pkl' has 6,000,002 bytes; 4,194,304 are allowed"
    )


def test_a_compressed_archive_is_not_unpacked(tmp_path: Path):
    path = zip_file(tmp_path / "x", WHOLE, {"0": bytes(1 << 20)}, zipfile.ZIP_DEFLATED)
    assert "is compressed, as torch.save never does" in fault(path)


def test_values_that_are_no_numbers(tmp_path: Path):
    told = fault(write_torch_file(tmp_path / "x", {"a": np.float32([1, np.nan]), "b": np.zeros(2, np.float32)}))
    assert told.startswith("it holds values that are not finite numbers in a; ")


@pytest.mark.parametrize("write", [write_torch_file, write_old_file])
def test_truncated_anywhere(tmp_path: Path, write):
    path = write(tmp_path / "x", ARRAYS)
    content = path.read_bytes()
    for length in range(8, len(content), 37):
        path.write_bytes(content[:length])
        assert "damaged" in (told := fault(path)) or "incomplete" in told, (length, told)


@pytest.mark.parametrize("write", [write_torch_file, write_old_file])
def test_any_changed_byte_gives_a_sentence_or_numbers(tmp_path: Path, write):
    path = write(tmp_path / "x", ARRAYS)
    content = path.read_bytes()
    draw = np.random.default_rng(2)
    for place in range(0, len(content), 3):
        changed_bytes = bytearray(content)
        changed_bytes[place] = (changed_bytes[place] + int(draw.integers(1, 256))) % 256
        path.write_bytes(changed_bytes)
        # Anything else than a UserError is a failure.
        with contextlib.suppress(UserError):
            read_torch_file(path, "x")


def zipped(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return path


@pytest.mark.parametrize(
    ("names", "told"),
    [
        # As GluonCV's model zoo and mxnet-ssd's releases have them.
        (["vgg16_atrous-4fa2e1ad.params"], "holds 'vgg16_atrous-4fa2e1ad.params': unpack it, and give that file"),
        (
            ["ssd/", "ssd/ssd_300-0000.params", "ssd/ssd_300-symbol.json", "__MACOSX/ssd/._ssd_300-0000.params"],
            "holds 'ssd/ssd_300-0000.params': unpack it, and give that file",
        ),
        (["best.pth", "net.ONNX", "notes"], "holds 'best.pth', 'net.ONNX': unpack it, and give one of these files"),
        (["output/model.tar.gz"], "holds 'output/model.tar.gz': unpack it, and give that file"),
    ],
)
def test_packed_weights_are_to_be_unpacked(tmp_path: Path, names: list[str], told: str):
    assert fault(zipped(tmp_path / "x", *names)) == f"it is a zip archive that {told}"


def test_other_zip_archives(tmp_path: Path):
    np.savez(tmp_path / "x.npz", a=np.zeros(2))
    assert fault(tmp_path / "x.npz") == f"it is a zip archive of arrays, such as NumPy writes; {SAVE}"
    assert fault(zipped(tmp_path / "x", "config.json", "model.weights.h5")) == (
        "it is a zip archive, but not one that torch.save wrote: it holds 'config.json', 'model.weights.h5'; " + SAVE
    )
    with zipfile.ZipFile(tmp_path / "script", "w") as archive:
        archive.writestr("m/data.pkl", WHOLE)
        archive.writestr("m/code/__torch__.py", "")
    assert "it is a zip archive, but TorchScript's" in fault(tmp_path / "script")
