"""Which checkpoint of a folder is used, and what is said of those that are not."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from written_checkpoints import names, write

from sagemaker_ssd.checkpoints.search import newest_checkpoint
from sagemaker_ssd.errors import UserError

MANIFEST, PARAMETERS = "sagemaker-ssd-0008.json", "sagemaker-ssd-0008.params"


def cut(name: str, left: int) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:left])


def flip(name: str, place: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[place] ^= 1
        (folder / name).write_bytes(content)

    return change


def edit(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = json.loads((folder / MANIFEST).read_text()) | changes
        (folder / MANIFEST).write_text(json.dumps(content))

    return change


def put(content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / MANIFEST).write_bytes(content)


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def rename(new: str) -> Callable[[Path], None]:
    return lambda folder: (folder / MANIFEST).rename(folder / new)


# What happens to the checkpoint of epoch 8, whose best epoch is 5; and the reason why epoch 7 is used.
BROKEN = {
    "torn manifest": (cut(MANIFEST, 400), f"{MANIFEST}: it is not whole JSON"),
    "empty manifest": (cut(MANIFEST, 0), f"{MANIFEST}: it is not whole JSON"),
    "manifest of zeros": (put(bytes(3000)), f"{MANIFEST}: it is not whole JSON"),
    "not UTF-8": (put(b'{"a": "\xff"}'), f"{MANIFEST}: it is not whole JSON"),
    "nested deeply": (put(b"[" * 100_000), f"{MANIFEST}: it is not whole JSON"),
    "a list": (put(b"[]"), f"{MANIFEST}: it is not a manifest of a checkpoint"),
    "another program's": (put(b'{"format": 1}'), f"{MANIFEST}: it is not a manifest of a checkpoint (program: Field"),
    "format 0": (edit(format=0), f"{MANIFEST}: it is not a manifest of a checkpoint (format: Input should be 1"),
    "not a number": (edit(scores=["a"] * 9), f"{MANIFEST}: it is not a manifest of a checkpoint (scores.0: "),
    "a best epoch to come": (
        edit(best_epoch=9, best_parameters="sagemaker-ssd-0009.params"),
        "the best epoch must be one of those so far",
    ),
    "NaN": (edit(lowest_loss=float("nan")), "it is not whole JSON"),
    "updates below 0": (edit(updates=-5), "it is not a manifest of a checkpoint (updates: "),
    "too few scores": (edit(scores=[0.5]), "scores and epochs must be as many as the epochs so far"),
    "a file elsewhere": (edit(parameters="../secret.params"), "the files must be those of the epoch"),
    "another epoch's": (rename("sagemaker-ssd-0009.json"), "sagemaker-ssd-0009.json: it is the manifest of epoch 8"),
    "no arrays": (remove(PARAMETERS), f"{PARAMETERS}, which it needs, is not there"),
    "no best arrays": (remove("sagemaker-ssd-0005.params"), "sagemaker-ssd-0005.params, which it needs, is not there"),
    "cut arrays": (cut(PARAMETERS, 1000), f"{PARAMETERS} has 1,000 bytes, but "),
    "flipped first byte": (flip(PARAMETERS, 0), f"{PARAMETERS} has changed since it was written: its sha256 differs"),
    "flipped last byte": (flip(PARAMETERS, -1), f"{PARAMETERS} has changed since it was written"),
    "flipped byte of the best": (flip("sagemaker-ssd-0005.params", 999), "sagemaker-ssd-0005.params has changed"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for epoch, best in ((5, 5), (7, 7), (8, 5)):
        write(tmp_path, epoch, best)
    return tmp_path


def test_the_newest_is_used(folder: Path):
    found = newest_checkpoint(folder)
    assert found.manifest is not None
    assert (found.manifest.epoch, found.manifest.best_epoch, found.unusable) == (8, 5, ())


@pytest.mark.parametrize("fault", BROKEN)
def test_the_one_before_is_used_where_the_newest_is_broken(folder: Path, fault: str):
    change, reason = BROKEN[fault]
    change(folder)
    found = newest_checkpoint(folder)
    assert found.manifest is not None
    assert found.manifest.epoch == 7
    (text,) = found.unusable
    assert text.startswith(str(folder))
    assert reason in text


def test_none_is_used_where_all_are_broken(folder: Path):
    for epoch in (5, 7, 8):
        cut(f"sagemaker-ssd-{epoch:04d}.params", 100)(folder)
    found = newest_checkpoint(folder)
    assert found.manifest is None
    assert [Path(reason.split(":")[0]).name for reason in found.unusable] == [
        f"sagemaker-ssd-{epoch:04d}.json" for epoch in (8, 7, 5)
    ]


def test_without_the_best_arrays_anywhere_the_newest_goes_on_as_its_own_best(folder: Path):
    for epoch in (5, 7):
        remove(f"sagemaker-ssd-000{epoch}.params")(folder)
    found = newest_checkpoint(folder)
    assert found.manifest is not None
    assert (found.manifest.epoch, found.manifest.best_epoch) == (8, 8)
    assert found.manifest.best_parameters == PARAMETERS
    assert found.manifest.files.keys() == {PARAMETERS}
    assert found.lost == (
        "the best model, of epoch 5, is lost: sagemaker-ssd-0005.params, which it needs, is not there"
    )


UNREADABLE = """
import ctypes, os, sys
from pathlib import Path
from sagemaker_ssd.checkpoints.search import newest_checkpoint
# Root reads everything, whatever the mode.
if os.getuid() == 0:
    os.setuid(65534)
try:
    newest_checkpoint(Path(sys.argv[1]))
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("name", [MANIFEST, PARAMETERS])
def test_what_cannot_be_read_stops_the_job_and_is_not_taken_for_broken(folder: Path, name: str):
    # pytest's own folders are closed to the other user.
    with tempfile.TemporaryDirectory() as created:
        Path(created).chmod(0o755)
        copied = Path(shutil.copytree(folder, Path(created) / "checkpoints"))
        copied.chmod(0o755)
        (copied / name).chmod(0)
        command = [sys.executable, "-c", UNREADABLE, str(copied)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    where = copied / name
    assert done.stdout.startswith(f"UserError {where} cannot be read (Permission denied), so the job cannot go")


def test_epochs_are_compared_as_numbers(tmp_path: Path):
    for epoch in (9_999, 10_000):
        write(tmp_path, epoch)
    found = newest_checkpoint(tmp_path)
    assert found.manifest is not None
    assert found.manifest.epoch == 10_000


def test_what_is_not_ours_is_not_read(folder: Path):
    for name in (
        "sagemaker-ssd-0009.json.sagemaker-uploading",
        "sagemaker-ssd-0009.json.sagemaker-uploaded",
        "sagemaker-ssd-0009.json.sagemaker-ignore",
        "sagemaker-ssd-9.json",
        "sagemaker-ssd-00009.json",
        "my-sagemaker-ssd-0009.json",
        "sagemaker-ssd-0009.json~",
        "notes.json",
        "metadata.json",
    ):
        (folder / name).write_text("not JSON")
    (folder / "sagemaker-ssd-0010.json").mkdir()
    found = newest_checkpoint(folder)
    assert found.manifest is not None
    assert (found.manifest.epoch, found.unusable) == (8, ())


def test_an_empty_folder_has_none(tmp_path: Path):
    found = newest_checkpoint(tmp_path)
    assert (found.manifest, found.unusable) == (None, ())


def test_a_newer_programs_checkpoint_stops_the_job(folder: Path):
    # To start anew in the same folder would in the end remove it.
    before = names(folder)
    edit(format=2, more="unknown")(folder)
    with pytest.raises(UserError, match=r"sagemaker-ssd-0008.json: a newer version .* \(format 2; .* reads 1\)"):
        newest_checkpoint(folder)
    assert names(folder) == before


def test_a_moved_folder_is_as_good(folder: Path, tmp_path: Path):
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    found = newest_checkpoint(moved)
    assert found.manifest is not None
    assert found.manifest.epoch == 8
