"""Archives of a model: good ones, other files under that name, and archives made to do harm."""

import gzip
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mxnet as mx
import numpy as np
import onnx
import pytest

from sagemaker_ssd.artifacts.model_archive import Limits, UnpackedModel, unpack_model
from sagemaker_ssd.errors import UserError
from written_torch_files import write_old_file, write_torch_file

PARAMETERS, SYMBOL = "model_algo_1-0000.params", "model_algo_1-symbol.json"
GOOD = {SYMBOL: b'{"nodes": []}', PARAMETERS: os.urandom(5000), "hyperparams.json": b'{"epochs": "3"}'}
HOW = f"make one by `tar -czf model.tar.gz {PARAMETERS} {SYMBOL} hyperparams.json`"
NOT_A_MODEL = "it is not the model of a job of this program or of the built-in algorithm"
SMALL = Limits(everything=200_000, parameters=20_000, configuration=100, headers=100_000, members=50)


def member(name: str, content: bytes = b"", **facts: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in facts.items():
        setattr(info, key, value)
    return info, content


def packed(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz", **options: object) -> Path:
    with tarfile.open(path, mode, **options) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return path


def good(path: Path, **options: object) -> Path:
    return packed(path, *(member(name, content) for name, content in GOOD.items()), **options)


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    """The folder to unpack into, below others of which nothing may change."""
    folder = tmp_path / "job" / "scratch" / "model"
    folder.mkdir(parents=True)
    return folder


def unpacked(archive: Path, folder: Path, limits: Limits = SMALL) -> UnpackedModel:
    return unpack_model(archive, "model/model.tar.gz", folder, limits)


def fault(archive: Path, folder: Path, limits: Limits = SMALL) -> str:
    with pytest.raises(UserError) as caught:
        unpacked(archive, folder, limits)
    assert caught.value.sentence.startswith("model/model.tar.gz: ")
    return caught.value.sentence.removeprefix("model/model.tar.gz: ")


def assert_good(model: UnpackedModel) -> None:
    assert model.parameters.read_bytes() == GOOD[PARAMETERS]
    assert model.parameters_name == PARAMETERS
    assert model.configuration == GOOD["hyperparams.json"]


@pytest.mark.parametrize("layout", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_archives_of_every_format(tmp_path: Path, inside: Path, layout: int, mode: str):
    assert_good(unpacked(good(tmp_path / "model.tar.gz", mode=mode, format=layout), inside))
    assert len(list(inside.iterdir())) == 1


def test_what_the_tar_command_writes(tmp_path: Path, inside: Path):
    folder = tmp_path / "model"
    (folder / ("deep" * 40)).mkdir(parents=True)
    for name, content in GOOD.items():
        (folder / name).write_bytes(content)
    (folder / ("deep" * 40) / "notes").write_text("x")
    subprocess.run(["tar", "-czf", tmp_path / "model.tar.gz", "-C", folder, "."], check=True)
    assert_good(unpacked(tmp_path / "model.tar.gz", inside))


def test_the_builtins_name_wins_wherever_it_stands(tmp_path: Path, inside: Path):
    archive = packed(
        tmp_path / "model.tar.gz",
        member("deploy_model_algo_1-0000.params", b"other"),
        member(f"out/{PARAMETERS}", GOOD[PARAMETERS]),
        member(f"out/._{PARAMETERS}", b"what macOS adds"),
        member("out/hyperparams.json", GOOD["hyperparams.json"]),
        member("zzz.params", b"other"),
    )
    assert_good(unpacked(archive, inside))


@pytest.mark.parametrize("folder", [".staging", "./.publishing", "@eaDir/deep", "__MACOSX"])
def test_a_hidden_folder_holds_no_model(tmp_path: Path, inside: Path, folder: str):
    """As of a job that was killed while it saved, or of a system for itself."""
    hidden = [member(f"{folder}/{name}", b"half") for name in GOOD]
    assert_good(unpacked(packed(tmp_path / "a.tar.gz", *hidden, *(member(*file) for file in GOOD.items())), inside))


@pytest.mark.parametrize("order", [1, -1])
def test_the_files_beside_the_parameters_count_wherever_others_stand(tmp_path: Path, inside: Path, order: int):
    members = [
        member(f"new/{PARAMETERS}", b"12"),
        member("new/hyperparams.json", b'{"image_shape": "512"}'),
        member(f"new/{SYMBOL}", b"{}"),
        member("hyperparams.json", b'{"image_shape": "400"}'),
        member("new/old/hyperparams.json", b'{"image_shape": "300"}'),
        member(f"new/old/{SYMBOL}", b"[]"),
        member("old/model.params", b"1234"),
        member("old/hyperparams.json", b'{"image_shape": "300"}'),
    ]
    model = unpacked(packed(tmp_path / "a", *members[::order]), inside)
    assert (model.configuration, model.symbol) == (b'{"image_shape": "512"}', b"{}")
    assert model.parameters.read_bytes() == b"12"


def test_the_files_of_another_folder_are_not_the_models(tmp_path: Path, inside: Path, caplog: pytest.LogCaptureFixture):
    archive = packed(
        tmp_path / "a",
        member(PARAMETERS, b"12"),
        member("old/hyperparams.json", b"{}"),
        member(f"old/{SYMBOL}", b"{}"),
        member("other-symbol.json", b"{}"),
    )
    model = unpacked(archive, inside)
    assert (model.configuration, model.symbol) == (None, None)
    assert caplog.messages == [
        f"The archive's {name} does not lie beside {PARAMETERS}, and is not used."
        for name in ("old/hyperparams.json", f"old/{SYMBOL}")
    ]


def test_of_many_configurations_no_more_is_kept_than_is_allowed(
    tmp_path: Path, inside: Path, caplog: pytest.LogCaptureFixture
):
    others = [member(f"{number}/hyperparams.json", bytes(90)) for number in range(5)]
    limits = replace(SMALL, configurations=5 * 90 + 14)
    archive = packed(tmp_path / "a", *others, member(PARAMETERS, b"12"), member("hyperparams.json", b'{"epochs":"3"}'))
    assert unpacked(archive, inside, limits).configuration == b'{"epochs":"3"}'
    assert not caplog.records
    assert unpacked(archive, inside, replace(limits, configurations=5 * 90 + 13)).configuration is None
    assert caplog.messages == [
        "The model's hyperparams.json is not used: the archive holds too many such files before it, more than 463 "
        "bytes."
    ]


def test_another_name_does_when_it_is_the_only_one(tmp_path: Path, inside: Path):
    name = "ssd_resnet50_512-0000.params"
    model = unpacked(packed(tmp_path / "a", member(f"._{name}", b"by macOS"), member(name, b"12")), inside)
    assert (model.parameters.read_bytes(), model.configuration) == (b"12", None)
    assert model.parameters_name == "ssd_resnet50_512-0000.params"


def test_the_case_of_the_suffix_does_not_matter(tmp_path: Path, inside: Path):
    assert unpacked(packed(tmp_path / "a", member("NET.PARAMS", b"12")), inside).parameters_name == "NET.PARAMS"
    assert "it is packed twice" in fault(packed(tmp_path / "b", member("MODEL.TAR.GZ", b"12")), inside)


def test_several_parameters(tmp_path: Path, inside: Path):
    archive = packed(tmp_path / "a", *(member(f"{name}/{PARAMETERS}", b"12") for name in "ab"))
    assert fault(archive, inside) == (
        f"it holds several .params files, a/{PARAMETERS}, b/{PARAMETERS}; it must hold one, {PARAMETERS}"
    )


def test_a_later_file_of_the_same_name_replaces_the_earlier(tmp_path: Path, inside: Path):
    archive = packed(tmp_path / "a", member(PARAMETERS, b"older"), member(f"./{PARAMETERS}", b"new"))
    assert unpacked(archive, inside).parameters.read_bytes() == b"new"


# The begin of no kind of file.
NOISE = bytes(range(1, 251)) * 12
OTHER_FILES: dict[str, tuple[bytes, str]] = {
    "noise": (NOISE, f"it is neither a gzip file nor a tar archive; {HOW}"),
    "gzip of something else": (
        gzip.compress(NOISE),
        f"it is a gzip file, and what it holds is not a tar archive; {HOW}",
    ),
    "gzip of nothing": (gzip.compress(b""), f"it is a gzip file, and what it holds is not a tar archive; {HOW}"),
    "gzip's first bytes": (b"\x1f\x8b\x08\x00", "it is incomplete: the end of the gzip data is missing"),
    "noise behind gzip's mark": (b"\x1f\x8b\x01" + os.urandom(500), "it is damaged (Unknown compression method)"),
    "tar without files": (bytes(10240), f"it holds no files: {NOT_A_MODEL}; make one by"),
}


@pytest.mark.parametrize("name", OTHER_FILES)
def test_other_files_under_that_name(tmp_path: Path, inside: Path, name: str):
    content, text = OTHER_FILES[name]
    archive = tmp_path / "a"
    archive.write_bytes(content)
    assert fault(archive, inside).startswith(text)


def written_by_torch(path: Path) -> bytes:
    return write_torch_file(path, {"a": np.zeros(2, np.float32)}).read_bytes()


def written_by_mxnet(path: Path) -> bytes:
    mx.nd.save(str(path), {"a": mx.nd.zeros((2,))})
    return path.read_bytes()


def written_by_onnx(path: Path) -> bytes:
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "one", [], [])), path)
    return path.read_bytes()


def written_by_numpy(path: Path) -> bytes:
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(2))
    return path.read_bytes()


AS_PRETRAINED = "from which only a training can start: {}put it into the channel `pretrained`"
OWN_ONNX = "; of a job that wrote it as its model.onnx, the model.tar.gz is what to give"
KINDS: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "PyTorch": (written_by_torch, f"a file such as PyTorch writes, {AS_PRETRAINED}"),
    "PyTorch before 1.6": (
        lambda path: write_old_file(path, {"a": np.zeros(2, np.float32)}).read_bytes(),
        f"a file such as PyTorch writes, {AS_PRETRAINED}",
    ),
    "ONNX": (written_by_onnx, f"an ONNX file, {AS_PRETRAINED}{OWN_ONNX}"),
    "MXNet": (written_by_mxnet, "a .params file of MXNet: {}give it under a name that ends on .params"),
    "another zip": (
        written_by_numpy,
        "a zip archive: {}where that holds a .params file, unpack it, and give that file",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_are_no_archive_are_told_what_to_do_with(tmp_path: Path, inside: Path, kind: str):
    write, text = KINDS[kind]
    content = write(tmp_path / "weights")
    (tmp_path / "weights.gz").write_bytes(gzip.compress(content))
    assert fault(tmp_path / "weights", inside) == (
        f"it is neither a gzip file nor a tar archive, but {text.format('')}"
    )
    assert fault(tmp_path / "weights.gz", inside) == (
        f"it is a gzip file, and what it holds is not a tar archive, but {text.format('unpack it by `gunzip`, and ')}"
    )


@pytest.mark.parametrize(
    ("names", "told", "which"),
    [
        (["model.pth", "code/inference.py"], "model.pth", "that file"),
        # macOS packs a ._name beside every file.
        (["._net.onnx", "net.ONNX"], "net.ONNX", "that file"),
        (["a/last.pt", "a/best.pt", "a/code.tar.gz"], "a/last.pt, a/best.pt", "one of these files"),
    ],
)
def test_the_model_of_a_job_of_another_program(tmp_path: Path, inside: Path, names: list[str], told: str, which: str):
    archive = packed(tmp_path / "a", *(member(name, b"12") for name in names))
    assert fault(archive, inside) == (
        f"it holds no .params file, but weights of another program, {told}, from which only a training can start: "
        f"unpack it, and put {which} into the channel `pretrained`{OWN_ONNX if 'net.ONNX' in names else ''}"
    )


def test_another_jobs_output(tmp_path: Path, inside: Path):
    archive = packed(tmp_path / "a", *(member(name, b"{}") for name in ("metrics.json", "b", "c", "d", "e")))
    assert fault(archive, inside) == (
        f"it holds no .params file, but metrics.json, b, c, d and 1 more: {NOT_A_MODEL}; {HOW}"
    )


def test_packed_twice(tmp_path: Path, inside: Path):
    once = good(tmp_path / "model.tar.gz").read_bytes()
    archive = packed(tmp_path / "a", member("output/model.tar.gz", once))
    assert fault(archive, inside) == (
        "it is packed twice: it holds no .params file, but another archive, output/model.tar.gz; give that one"
    )


def test_an_archive_cut_anywhere(tmp_path: Path, inside: Path):
    archive = good(tmp_path / "a")
    content = archive.read_bytes()
    for length in (*range(11, len(content), 97), len(content) - 1):
        archive.write_bytes(content[:length])
        assert fault(archive, inside).startswith("it is incomplete")
        for file in inside.iterdir():
            file.unlink()


def test_a_plain_archive_cut_within_its_parameters(tmp_path: Path, inside: Path):
    archive = good(tmp_path / "a", mode="w")
    archive.write_bytes(archive.read_bytes()[:4000])
    assert fault(archive, inside).startswith("it is incomplete: it ends within a file")


def test_a_wrong_byte_in_the_parameters_is_seen_by_gzips_checksum(tmp_path: Path, inside: Path):
    plain = good(tmp_path / "plain", mode="w").read_bytes()
    archive = tmp_path / "a"
    # Stored, not compressed, so that the byte alone is wrong.
    content = bytearray(gzip.compress(plain, compresslevel=0))
    content[content.index(GOOD[PARAMETERS][:50]) + 30] ^= 1
    archive.write_bytes(content)
    assert fault(archive, inside).startswith("it is damaged (CRC check failed")


def hostile_path(name: str) -> Callable[[Path], list[tuple[tarfile.TarInfo, bytes]]]:
    return lambda _: [member(name, b"harm")]


def through_a_link(root: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    return [
        member("way", type=tarfile.SYMTYPE, linkname=str(root)),
        member("way/harm.params", b"harm"),
        member(PARAMETERS, type=tarfile.SYMTYPE, linkname=str(root / "secret")),
    ]


HOSTILE: dict[str, tuple[Callable[[Path], list[tuple[tarfile.TarInfo, bytes]]], str | None]] = {
    "up": (hostile_path(f"../{PARAMETERS}"), "is outside the archive's own folder"),
    "down and up": (hostile_path(f"a/../../../{PARAMETERS}"), "is outside the archive's own folder"),
    "absolute": (lambda root: [member(f"{root}/harm.params", b"harm")], "is outside the archive's own folder"),
    # The file goes to a name of ours, and the link is never made.
    "through a link": (through_a_link, None),
    "symbolic link": (
        lambda root: [member(PARAMETERS, type=tarfile.SYMTYPE, linkname=str(root / "secret"))],
        f"its {PARAMETERS} is a link, not the file itself",
    ),
    "hard link": (
        lambda root: [member(PARAMETERS, type=tarfile.LNKTYPE, linkname=str(root / "secret"))],
        f"its {PARAMETERS} is a link, not the file itself",
    ),
    "device": (
        lambda root: [member(PARAMETERS, type=tarfile.CHRTYPE, devmajor=1, devminor=5)],
        f"its {PARAMETERS} is stored as a sparse or special file",
    ),
    "pipe": (
        lambda root: [member(PARAMETERS, type=tarfile.FIFOTYPE)],
        f"its {PARAMETERS} is stored as a sparse or special file",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_lands_outside(tmp_path: Path, inside: Path, name: str):
    make, text = HOSTILE[name]
    (tmp_path / "secret").write_text("not for the model")
    archive = packed(tmp_path / "a", *make(tmp_path))
    before = sorted(path for path in tmp_path.rglob("*") if inside not in path.parents)
    if text is None:
        model = unpacked(archive, inside)
        assert model.parameters.read_bytes() == b"harm"
        assert not model.parameters.is_symlink()
    else:
        assert text in fault(archive, inside)
        assert list(inside.iterdir()) == []
    assert sorted(path for path in tmp_path.rglob("*") if inside not in path.parents) == before
    assert (tmp_path / "secret").read_text() == "not for the model"


def test_a_configuration_that_is_a_link_is_left_out(tmp_path: Path, inside: Path, caplog: pytest.LogCaptureFixture):
    link = member("hyperparams.json", type=tarfile.SYMTYPE, linkname="/etc/hostname")
    model = unpacked(packed(tmp_path / "a", link, member(PARAMETERS, GOOD[PARAMETERS])), inside)
    assert (model.parameters.read_bytes(), model.configuration) == (GOOD[PARAMETERS], None)
    assert caplog.messages == ["The model's hyperparams.json is a link, not the file itself, and is not used."]
    assert "no .params file, but hyperparams.json" in fault(packed(tmp_path / "b", link), inside)


def test_a_bomb_of_zeros_beside_the_model(tmp_path: Path, inside: Path):
    zeros = member("zeros", bytes(1_000_000))
    archive = packed(tmp_path / "a", *(member(name, content) for name, content in GOOD.items()), zeros)
    assert fault(archive, inside) == (
        "it holds more than 200,000 bytes when unpacked, the most that is read; pack only the model's own files"
    )
    assert_good(unpacked(archive, inside, replace(SMALL, everything=1_100_000)))


def test_a_bomb_behind_the_end_of_the_archive(tmp_path: Path, inside: Path):
    archive = tmp_path / "a"
    archive.write_bytes(gzip.compress(good(tmp_path / "plain", mode="w").read_bytes() + bytes(300_000)))
    assert fault(archive, inside).startswith("it holds more than 200,000 bytes when unpacked")


def test_sizes_of_the_wanted_files(tmp_path: Path, inside: Path):
    archive = packed(tmp_path / "a", member(PARAMETERS, bytes(20_001)))
    assert fault(archive, inside) == (
        f"its {PARAMETERS} has 20,001 bytes, and 20,000 are the most that is read out of an archive: unpack it, and "
        "give the .params file"
    )
    assert list(inside.iterdir()) == []


def test_a_configuration_that_is_too_large_is_left_out(tmp_path: Path, inside: Path, caplog: pytest.LogCaptureFixture):
    large = member("hyperparams.json", bytes(101))
    model = unpacked(packed(tmp_path / "a", large, member(PARAMETERS, GOOD[PARAMETERS])), inside)
    assert (model.parameters.read_bytes(), model.configuration) == (GOOD[PARAMETERS], None)
    assert caplog.messages == ["The model's hyperparams.json is too large, 101 bytes, and is not used."]


def test_too_many_members(tmp_path: Path, inside: Path):
    archive = packed(tmp_path / "a", *(member(f"{number}") for number in range(20_000)))
    assert fault(archive, inside, Limits()) == (
        "it holds more than 10,000 files, the most that are looked at; pack only the model's own files"
    )


def test_headers_that_would_fill_the_memory(tmp_path: Path, inside: Path):
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 20
    archive = tmp_path / "a"
    archive.write_bytes(gzip.compress(info.tobuf() + b"x" * (1 << 20) + tarfile.TarInfo("long").tobuf()))
    assert fault(archive, inside, Limits()).startswith("it is damaged: its headers are longer than any that tar writes")
    many = [member("x" * 90, pax_headers={"comment": "y" * 9000}) for _ in range(20)]
    archive = packed(tmp_path / "a", *many, format=tarfile.PAX_FORMAT)
    assert "its headers are longer" in fault(archive, inside)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_negative_size(tmp_path: Path, inside: Path, kind: bytes):
    # tarfile would go back and read the same header for ever.
    info = tarfile.TarInfo("x")
    info.type = kind
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\xff" * 8 + (-1024).to_bytes(4, "big", signed=True)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    archive = tmp_path / "a"
    archive.write_bytes(bytes(tarfile.TarInfo("first").tobuf()) + bytes(block) + bytes(1024))
    text = "(a negative size)" if kind == tarfile.REGTYPE else "its headers are longer than any that tar writes"
    assert text in fault(archive, inside)


def test_headers_that_tarfile_does_not_survive(tmp_path: Path, inside: Path):
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    archive = packed(tmp_path / "a", member("first"), member("x", b"no number", pax_headers=sparse))
    assert fault(archive, inside).startswith("it is incomplete or damaged (")
    info = tarfile.TarInfo("x")
    info.type = tarfile.GNUTYPE_LONGNAME
    archive.write_bytes(tarfile.TarInfo("first").tobuf() + info.tobuf(tarfile.GNU_FORMAT) * 2000)
    assert fault(archive, inside, replace(SMALL, everything=2_000_000, headers=2_000_000)).startswith(
        "it is incomplete or damaged (maximum recursion depth exceeded"
    )


def test_damaged_headers_end_in_a_sentence(tmp_path: Path, inside: Path):
    plain = good(tmp_path / "plain", mode="w", format=tarfile.PAX_FORMAT).read_bytes()
    archive = tmp_path / "a"
    for place in range(0, 512):
        block = bytearray(plain[:512])
        block[place] ^= 0x85
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        archive.write_bytes(bytes(block) + plain[512:])
        try:
            unpacked(archive, inside)
        except UserError as error:
            assert error.sentence.startswith("model/model.tar.gz: it")  # noqa: PT017
        for file in inside.iterdir():
            file.unlink()


def test_a_full_disk_names_the_file(tmp_path: Path, inside: Path):
    # A limit on file sizes stands in for a full disk.
    archive = good(tmp_path / "a")
    code = f"""
import resource, signal
from pathlib import Path
from sagemaker_ssd.artifacts.model_archive import unpack_model
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    unpack_model(Path({str(archive)!r}), "x", Path({str(inside)!r}))
except OSError as error:
    print(error.errno, error.filename)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["27", str(inside / "0.params")]
