"""Parameter files: MXNet's own of every version, and what else people put in their place."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from mxnet.ndarray import sparse

from sagemaker_ssd.artifacts.params_file import arguments_and_states, read_parameter_file
from sagemaker_ssd.errors import UserError

SHOWN = "model/x.params"


def saved(folder: Path, content: object) -> Path:
    path = folder / "x.params"
    mx.nd.save(str(path), content)
    return path


@pytest.fixture
def good(tmp_path: Path) -> Path:
    generator = np.random.default_rng(1)
    return saved(
        tmp_path,
        {
            "arg:conv_weight": mx.nd.array(generator.normal(size=(2, 3, 1, 5))),
            "aux:bn_moving_mean": mx.nd.array(generator.normal(size=(4,))),
            "plain": mx.nd.array([[1.5]]),
        },
    )


def fault(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_parameter_file(path, SHOWN)
    assert caught.value.sentence.startswith(f"{SHOWN}: ")
    return caught.value.sentence.removeprefix(f"{SHOWN}: ")


def assert_as_mxnet_reads_it(path: Path) -> None:
    expected, found = mx.nd.load(str(path)), read_parameter_file(path, SHOWN)
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype is np.float32
        np.testing.assert_array_equal(found[name].asnumpy(), array.asnumpy().astype("float32"))


def test_what_mxnet_saves_is_read_as_mxnet_reads_it(good: Path):
    assert_as_mxnet_reads_it(good)


@pytest.mark.parametrize("kind", ["float16", "float64"])
def test_other_floating_point_numbers_become_float32(tmp_path: Path, kind: str):
    path = saved(tmp_path, {"a": mx.nd.array([[1.25, -3e-5]], dtype=kind), "b": mx.nd.array([7])})
    assert_as_mxnet_reads_it(path)


def test_numpy_arrays_of_mxnet(tmp_path: Path):
    # Version 3 of the format, saved under NumPy's rules for shapes.
    path = tmp_path / "x.params"
    code = f"import mxnet as mx; mx.npx.set_np(); mx.npx.save({str(path)!r}, {{'a': mx.np.array([[1., 2.]])}})"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert struct.pack("<I", 0xF993FACA) in path.read_bytes()
    found = read_parameter_file(path, SHOWN)
    np.testing.assert_array_equal(found["a"].asnumpy(), [[1, 2]])


@pytest.mark.parametrize("version", [0, 1])
def test_files_of_old_versions(tmp_path: Path, version: int):
    values = np.arange(6, dtype="<f4")
    shape = struct.pack("<III", 2, 3, 2) if version == 0 else struct.pack("<Iiqq", 0xF993FAC8, 2, 3, 2)
    array = shape + struct.pack("<iii", 1, 0, 0) + values.tobytes()
    path = tmp_path / "old.params"
    path.write_bytes(struct.pack("<QQQ", 0x112, 0, 1) + array + struct.pack("<QQ", 1, 5) + b"arg:w")
    assert_as_mxnet_reads_it(path)
    np.testing.assert_array_equal(read_parameter_file(path, SHOWN)["arg:w"].asnumpy(), values.reshape(3, 2))


def safetensors(length: int) -> bytes:
    """Return a file with one number, whose JSON has `length` bytes."""
    names = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", length) + names.ljust(length) + bytes(4)


OTHER_FILES = [
    (b"", "it is empty; the file must be one that MXNet wrote"),
    (b"\n <!DOCTYPE html><html><body>Sign in</body></html>", "it is a web page or an XML message"),
    (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "it is a web page or an XML message"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n", "fetch it by `git lfs pull`"),
    (
        b"PK\x03\x04" + bytes(40),
        "it is a zip file, such as NumPy and PyTorch write; the file must be one",
    ),
    (b"\x1f\x8b\x08" + bytes(40), "it is a gzip file, not parameters: unpack it first"),
    (b'{"nodes": []}', "it is JSON, such as a network's symbol, not parameters; the file must be one that MXNet wrote"),
    (b"some text that goes on for a while", "it is of an unknown kind; the file must be one that MXNet wrote"),
    (b"\x12\x01", "it is of an unknown kind; the file must be one that MXNet wrote"),
    (bytes(64), "it is of an unknown kind; the file must be one that MXNet wrote"),
    # The length of its JSON begins like JSON itself.
    (safetensors(ord("{")), "it is a safetensors file, such as Hugging Face's; the file must be one that MXNet wrote"),
]


@pytest.mark.parametrize(("content", "text"), OTHER_FILES, ids=[text for _, text in OTHER_FILES])
def test_other_files_are_called_by_their_name(tmp_path: Path, content: bytes, text: str):
    path = tmp_path / "x.params"
    path.write_bytes(content)
    assert text in fault(path)


def test_a_file_cut_anywhere_is_told_as_such(good: Path):
    content = good.read_bytes()
    for length in range(16, len(content)):
        good.write_bytes(content[:length])
        assert fault(good) == (
            f"it is incomplete or damaged: its contents do not end within its {length} bytes; copy or upload it again"
        )


@pytest.mark.timeout(60)
def test_damaged_bytes_never_ask_for_more_memory_than_the_file_has(tmp_path: Path, good: Path):
    # Every byte of the header, array heads and names, set to the largest and to the next value, in a process that
    # may not hold much more than it starts with.
    code = f"""
import resource, sys
from pathlib import Path
from sagemaker_ssd.artifacts.params_file import read_parameter_file
from sagemaker_ssd.errors import UserError
content = Path({str(good)!r}).read_bytes()
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + (64 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
path, refused = Path({str(tmp_path / "damaged")!r}), 0
for place in range(len(content)):
    for value in (255, 127, (content[place] + 1) % 256):
        path.write_bytes(content[:place] + bytes([value]) + content[place + 1:])
        try:
            read_parameter_file(path, "x")
        except UserError:
            refused += 1
print(refused)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert int(ended.stdout) > 100


def test_a_list_without_names(tmp_path: Path):
    path = saved(tmp_path, [mx.nd.ones((2,)), mx.nd.ones((2,))])
    assert fault(path) == "its 2 arrays have no names; save a dictionary, not a list"


def test_a_file_without_arrays(tmp_path: Path):
    path = saved(tmp_path, [])
    assert fault(path) == "it holds no arrays"


def test_values_that_are_not_finite_are_named(tmp_path: Path):
    bad = {f"arg:w{k}": mx.nd.array([1, value]) for k, value in enumerate((np.nan, np.inf, -np.inf, np.nan, 1))}
    bad["arg:large"] = mx.nd.array([1e300], dtype="float64")
    text = fault(saved(tmp_path, bad))
    assert text.startswith("it holds values that are not finite numbers in arg:w0, arg:w1, arg:w2 and 2 more; ")


def test_arrays_of_whole_numbers_are_named(tmp_path: Path):
    path = saved(tmp_path, {"a": mx.nd.ones((2,)), "b": mx.nd.ones((2,), dtype="int8")})
    assert fault(path) == ("it holds numbers of type int8 in b; save floating-point numbers, by `.astype('float32')`")


@pytest.mark.parametrize("kind", ["csr", "row_sparse"])
def test_sparse_arrays(tmp_path: Path, kind: str):
    path = saved(tmp_path, {"a": mx.nd.ones((2,)), "b": sparse.zeros(kind, (2, 3))})
    assert fault(path) == "its array number 2 is sparse; save it dense, by `.tostype('default')`"


def test_bfloat16(tmp_path: Path):
    path = saved(tmp_path, {"a": mx.nd.ones((2,))})
    content = bytearray(path.read_bytes())
    # The type stands behind header (24), version and storage (8), shape (12) and device (8).
    content[52:56] = struct.pack("<i", 12)
    path.write_bytes(content)
    assert fault(path).startswith("its array number 1 is bfloat16; save it as float32")


def test_an_array_without_values(tmp_path: Path):
    path = tmp_path / "x.params"
    array = struct.pack("<Iii", 0xF993FAC9, 0, 0)
    path.write_bytes(struct.pack("<QQQ", 0x112, 0, 1) + array + struct.pack("<QQ", 1, 1) + b"a")
    assert fault(path).startswith("its array number 1 holds no values")


@pytest.mark.parametrize("name", [b"a\nb", b"\xff", b""])
def test_names_that_are_no_text(tmp_path: Path, name: bytes):
    path = saved(tmp_path, {"x": mx.nd.ones((2,))})
    # Header (24), head of the array (32) and its values (8) stand before the names.
    path.write_bytes(path.read_bytes()[:64] + struct.pack("<QQ", 1, len(name)) + name)
    assert fault(path) == "it is damaged: the name of an array is not text; copy or upload it again"


def test_names_that_are_too_long(tmp_path: Path):
    """A name of a megabyte of dots took half a terabyte of copies to look into."""
    assert list(read_parameter_file(saved(tmp_path, {"." * 1000: mx.nd.ones((2,))}), SHOWN)) == ["." * 1000]
    assert fault(saved(tmp_path, {"." * 1_000_000: mx.nd.ones((2,))})) == (
        "it is damaged: the name of an array has 1,000,000 characters; 1,000 are allowed; copy or upload it again"
    )


def test_more_arrays_than_a_network_has(tmp_path: Path):
    """To look for a network among a million names took a quarter of an hour."""
    path = saved(tmp_path, {str(number): mx.nd.ones((1,)) for number in range(10_001)})
    assert fault(path) == (
        "it is damaged, or of no network: it says that it holds 10,001 arrays; 10,000 are allowed; copy or upload it "
        "again"
    )


def test_more_names_than_arrays(tmp_path: Path):
    path = saved(tmp_path, {"x": mx.nd.ones((2,))})
    # Header (24), head of the array (32) and its values (8) stand before the number of names.
    path.write_bytes(path.read_bytes()[:64] + struct.pack("<Q", 1 << 40) + path.read_bytes()[72:])
    assert fault(path) == ("it is damaged: it holds 1 arrays and 1,099,511,627,776 names; copy or upload it again")


def test_more_dimensions_than_arrays_have(tmp_path: Path):
    path = tmp_path / "x.params"
    array = struct.pack("<Iii", 0xF993FAC9, 0, 40) + struct.pack("<40q", *[1] * 40) + struct.pack("<iiif", 1, 0, 0, 1)
    path.write_bytes(struct.pack("<QQQ", 0x112, 0, 1) + array + struct.pack("<QQ", 1, 1) + b"a")
    assert fault(path).startswith("it is damaged: array number 1 has no shape that MXNet knows")


def test_the_same_name_twice(tmp_path: Path):
    path = saved(tmp_path, {"arg:a": mx.nd.ones((2,)), "a": mx.nd.ones((2,)), "aux:a:b": mx.nd.ones((2,))})
    assert fault(path) == "it holds more than one array of the same name: a"


def test_parting_by_prefix_and_by_ending():
    one = mx.nd.ones((1,))
    names = ["arg:a_weight", "aux:b_odd", "arg:c_moving_mean", "d_gamma", "e_moving_mean", "f_moving_var"]
    arguments, states = arguments_and_states(dict.fromkeys([*names, "g_running_mean", "g_running_var"], one))
    assert list(arguments) == ["a_weight", "d_gamma"]
    assert list(states) == [
        "b_odd",
        "c_moving_mean",
        "e_moving_mean",
        "f_moving_var",
        "g_running_mean",
        "g_running_var",
    ]
