"""Which checkpoints are removed, also while SageMaker uploads the folder."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from written_checkpoints import arrays, marked, names, write

from sagemaker_ssd.checkpoints.format import write_parameters
from sagemaker_ssd.checkpoints.retention import make_room, remove_partial_files, remove_superseded
from sagemaker_ssd.checkpoints.search import newest_checkpoint


def files(*epochs: int) -> set[str]:
    """Name both files of checkpoints."""
    return {f"sagemaker-ssd-{epoch:04d}.{ending}" for epoch in epochs for ending in ("json", "params")}


def write_all(folder: Path, best: dict[int, int]) -> None:
    for epoch, of_epoch in best.items():
        write(folder, epoch, of_epoch)


def test_two_are_kept_and_the_best_epochs_arrays(tmp_path: Path):
    for epoch in range(7):
        write(tmp_path, epoch, best=min(epoch, 2))
        remove_superseded(tmp_path, epoch)
        kept = {number for number in (epoch - 1, epoch) if number >= 0}
        assert names(tmp_path) == files(*kept) | {f"sagemaker-ssd-{min(epoch, 2):04d}.params"}


def test_the_best_of_the_one_before_is_kept_too(tmp_path: Path):
    write_all(tmp_path, {1: 1, 4: 1, 5: 5})
    remove_superseded(tmp_path, 5)
    assert names(tmp_path) == files(4, 5) | {"sagemaker-ssd-0001.params"}
    # So that the one before is still whole when the newest turns out to be broken.
    (tmp_path / "sagemaker-ssd-0005.json").unlink()
    found = newest_checkpoint(tmp_path)
    assert found.manifest is not None
    assert (found.manifest.epoch, found.unusable) == (4, ())


def test_foreign_files_stay(tmp_path: Path):
    foreign = {
        "notes.txt",
        "sagemaker-ssd-0000.params.sagemaker-uploaded.txt",
        "sagemaker-ssd-00000.params",
        "sagemaker-ssd-0.params",
        "sagemaker-ssd-0000.params.bak",
        "model.sagemaker-ignore",
        ".sagemaker-state",
    }
    for name in foreign:
        (tmp_path / name).write_text("mine")
    (tmp_path / "sagemaker-ssd-0001.params").mkdir()
    write_all(tmp_path, {0: 0, 3: 3, 4: 4, 5: 5})
    remove_superseded(tmp_path, 5)
    remove_partial_files(tmp_path)
    assert names(tmp_path) == files(4, 5) | foreign | {"sagemaker-ssd-0001.params"}
    assert all((tmp_path / name).read_text() == "mine" for name in foreign)


def test_arrays_without_a_manifest_are_removed_later(tmp_path: Path):
    # As a kill between the two files leaves them.
    write(tmp_path, 2)
    write_parameters(tmp_path, 3, arrays(3))
    found = newest_checkpoint(tmp_path)
    assert found.manifest is not None
    assert (found.manifest.epoch, found.unusable) == (2, ())
    write(tmp_path, 4)
    remove_superseded(tmp_path, 4)
    assert names(tmp_path) == files(2, 4)


def test_a_training_begun_anew_replaces_what_could_not_be_used(tmp_path: Path):
    write_all(tmp_path, {7: 7, 8: 8})
    for epoch in (7, 8):
        (tmp_path / f"sagemaker-ssd-{epoch:04d}.params").write_bytes(b"broken")
    write(tmp_path, 0)
    remove_superseded(tmp_path, 0)
    assert names(tmp_path) == files(0)


def test_a_torn_manifest_does_not_stop_the_removal(tmp_path: Path):
    write_all(tmp_path, {1: 1, 2: 2, 3: 3, 4: 4})
    (tmp_path / "sagemaker-ssd-0001.json").write_text('{"files": ')
    (tmp_path / "sagemaker-ssd-0002.json").write_text('{"files": {"/etc/hosts": 1}}')
    remove_superseded(tmp_path, 4)
    assert names(tmp_path) == files(3, 4)


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path):
    write(tmp_path, 1)
    for ending in ("params", "json"):
        (tmp_path / f"sagemaker-ssd-0002.{ending}.sagemaker-ignore").write_bytes(b"half")
    remove_partial_files(tmp_path)
    assert names(tmp_path) == files(1)


def test_a_file_is_not_removed_while_it_is_uploaded(tmp_path: Path):
    write_all(tmp_path, {1: 1, 2: 2, 3: 3})
    marked(tmp_path, "uploaded", *files(2, 3))
    marked(tmp_path, "uploading", "sagemaker-ssd-0001.params")
    remove_superseded(tmp_path, 3)
    assert "sagemaker-ssd-0001.params" in names(tmp_path)
    assert "sagemaker-ssd-0001.json" not in names(tmp_path)
    # Next time.
    (tmp_path / "sagemaker-ssd-0001.params.sagemaker-uploading").unlink()
    remove_superseded(tmp_path, 3)
    assert "sagemaker-ssd-0001.params" not in names(tmp_path)


def test_arrays_stay_as_long_as_their_manifest(tmp_path: Path):
    write_all(tmp_path, {1: 1, 2: 2, 3: 3})
    marked(tmp_path, "uploaded", *files(2, 3))
    marked(tmp_path, "uploading", "sagemaker-ssd-0001.json")
    remove_superseded(tmp_path, 3)
    assert files(1) <= names(tmp_path)


UPLOADED = {
    # What SageMaker has uploaded so far, and what then stays of the checkpoints 1 to 5, whose best epochs are these.
    "nothing newer": (files(1), {1, 2, 3, 4, 5}),
    "a newer manifest without its arrays": ({"sagemaker-ssd-0005.json"}, {1, 2, 3, 4, 5}),
    "newer arrays without their manifest": ({"sagemaker-ssd-0005.params"}, {1, 2, 3, 4, 5}),
    "a newer one": (files(3), {3, 4, 5}),
    "the newest": (files(5), {4, 5}),
    "all": (files(1, 2, 3, 4, 5), {4, 5}),
}


@pytest.mark.parametrize("case", UPLOADED)
def test_the_copy_in_s3_always_has_a_whole_checkpoint(tmp_path: Path, case: str):
    uploaded, kept = UPLOADED[case]
    write_all(tmp_path, {epoch: epoch for epoch in range(1, 6)})
    marked(tmp_path, "uploaded", *uploaded)
    remove_superseded(tmp_path, 5)
    # Markers go with their files.
    markers = {f"{name}.sagemaker-uploaded" for name in uploaded & files(*kept)}
    assert names(tmp_path) == files(*kept) | markers


STALLED = {
    # The markers that all files get as they are written, and how many checkpoints may stay of 30.
    "never begun, but one upload before": ((), 5),
    "begun and never ended": (("uploading",), 5),
    "ended, and the marker of the begin stays": (("uploading", "uploaded"), 2),
}


@pytest.mark.parametrize("case", STALLED)
@pytest.mark.parametrize("improves", [True, False])
def test_uploads_that_stall_cost_only_so_much(tmp_path: Path, case: str, improves: bool):
    kinds, most = STALLED[case]
    (tmp_path / "notes.txt.sagemaker-uploaded").touch()
    for epoch in range(30):
        write(tmp_path, epoch, best=epoch if improves else 0)
        for kind in kinds:
            marked(tmp_path, kind, *files(epoch))
        remove_superseded(tmp_path, epoch)
    kept = {name for name in names(tmp_path) if not name.endswith(("uploading", "uploaded"))}
    assert kept == files(*range(30 - most, 30)) | (set() if improves else {"sagemaker-ssd-0000.params"})


def test_what_alone_is_in_s3_stays_when_uploads_stall(tmp_path: Path):
    write(tmp_path, 0)
    marked(tmp_path, "uploaded", *files(0))
    for epoch in range(1, 12):
        write(tmp_path, epoch)
        remove_superseded(tmp_path, epoch)
    kept = {name for name in names(tmp_path) if not name.endswith("uploaded")}
    assert kept == files(0, 8, 9, 10, 11)


@pytest.mark.parametrize("first_marker", [6, 8, 100])
def test_what_came_from_s3_stays_until_a_newer_one_has_arrived_there(tmp_path: Path, first_marker: int):
    """A resumed job's folder: what SageMaker has put there has no markers; later ones are marked as being uploaded."""
    write(tmp_path, 4)
    write(tmp_path, 5)
    for epoch in range(6, 14):
        write(tmp_path, epoch)
        if epoch >= first_marker:
            marked(tmp_path, "uploading", *files(epoch))
        remove_superseded(tmp_path, epoch, downloaded=5)
    assert {name for name in names(tmp_path) if "sagemaker-up" not in name} == files(5, 10, 11, 12, 13)
    marked(tmp_path, "uploaded", *files(11))
    write(tmp_path, 14)
    remove_superseded(tmp_path, 14, downloaded=5)
    assert not files(5) & names(tmp_path)


@pytest.mark.parametrize(("kept", "waiting"), [(1, 1), (1, 3), (3, 2), (5, 1), (7, 3)])
def test_as_many_stay_as_are_asked_for(tmp_path: Path, kept: int, waiting: int):
    """Whatever the numbers are: without uploads, with uploads that stall, and with one in S3 that is far behind."""
    for name in ("plain", "stalled", "behind"):
        (tmp_path / name).mkdir()
    (tmp_path / "stalled" / "notes.txt.sagemaker-uploaded").touch()
    for epoch in range(20):
        for folder in tmp_path.iterdir():
            write(folder, epoch)
            if folder.name == "behind" and epoch == 0:
                marked(folder, "uploaded", *files(0))
            remove_superseded(folder, epoch, kept=kept, waiting=waiting)
    assert names(tmp_path / "plain") == files(*range(20 - kept, 20))
    assert names(tmp_path / "stalled") - {"notes.txt.sagemaker-uploaded"} == files(*range(20 - kept - waiting, 20))
    behind = {name for name in names(tmp_path / "behind") if not name.endswith("uploaded")}
    assert behind == files(0, *range(21 - kept - waiting, 20))


def test_an_upload_that_begins_anew_after_an_earlier_one_is_waited_for(tmp_path: Path):
    write_all(tmp_path, {1: 1, 2: 2, 3: 3})
    marked(tmp_path, "uploaded", *files(1, 2, 3))
    time.sleep(0.02)
    marked(tmp_path, "uploading", "sagemaker-ssd-0001.params")
    remove_superseded(tmp_path, 3)
    assert "sagemaker-ssd-0001.params" in names(tmp_path)


def test_markers_of_files_before_are_not_believed(tmp_path: Path):
    # Of a run whose epochs 7 and 8 do not exist any more; 5 and 6 are what S3 has.
    write_all(tmp_path, {5: 5, 6: 6})
    marked(tmp_path, "uploaded", *files(5, 6, 7, 8))
    time.sleep(0.02)
    for epoch in (7, 8):
        write(tmp_path, epoch)
        remove_superseded(tmp_path, epoch)
    assert files(6, 7, 8) <= names(tmp_path)
    marked(tmp_path, "uploaded", *files(7))
    remove_superseded(tmp_path, 8)
    assert not files(5, 6) & names(tmp_path)


def test_a_files_markers_go_with_it(tmp_path: Path):
    write_all(tmp_path, {1: 1, 2: 2, 3: 3})
    marked(tmp_path, "uploading", *files(1, 2, 3))
    marked(tmp_path, "uploaded", *files(1, 2, 3))
    remove_superseded(tmp_path, 3)
    assert {name.split(".")[0] for name in names(tmp_path)} == {"sagemaker-ssd-0002", "sagemaker-ssd-0003"}


def test_room_is_made_from_the_oldest_on_and_the_newest_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_all(tmp_path, {2: 2, 3: 2, 4: 4, 7: 7})
    write_parameters(tmp_path, 1, arrays(1))
    marked(tmp_path, "uploading", *files(2))
    make_room(tmp_path, 5, needed=0)
    assert files(2, 3, 4, 7) <= names(tmp_path)
    # More than any disk has.
    make_room(tmp_path, 5, needed=1 << 60)
    assert names(tmp_path) == files(4)
    removed = [record.getMessage() for record in caplog.records]
    assert [line.split()[-3:] for line in removed] == [[str(epoch), "is", "removed"] for epoch in (7, 2, 3)]


def test_a_newer_one_counts_only_with_its_best_arrays(tmp_path: Path):
    write_all(tmp_path, {1: 1, 2: 2, 3: 1, 4: 1, 5: 1})
    marked(tmp_path, "uploaded", *files(5))
    remove_superseded(tmp_path, 5)
    assert files(2) <= names(tmp_path)
    marked(tmp_path, "uploaded", "sagemaker-ssd-0001.params")
    remove_superseded(tmp_path, 5)
    assert not files(2) & names(tmp_path)
    assert "sagemaker-ssd-0001.params" in names(tmp_path)


def test_an_upload_that_has_only_begun_is_one(tmp_path: Path):
    # As in a new container, where nothing is marked yet: what was restored from S3 is all that S3 has.
    write_all(tmp_path, {1: 1, 2: 2, 3: 3})
    marked(tmp_path, "uploading", "sagemaker-ssd-0003.params")
    remove_superseded(tmp_path, 3)
    assert files(1, 2, 3) <= names(tmp_path)


UNREMOVABLE = """
import os, sys
from pathlib import Path
from sagemaker_ssd.checkpoints.retention import remove_partial_files, remove_superseded
# Root removes everything, whatever the mode.
if os.getuid() == 0:
    os.setuid(65534)
remove_partial_files(Path(sys.argv[1]))
remove_superseded(Path(sys.argv[1]), 8)
"""


def test_what_cannot_be_removed_is_told_and_does_not_end_the_job():
    # pytest's own folders are closed to the other user.
    with tempfile.TemporaryDirectory() as created:
        folder = Path(created)
        for epoch in (5, 7, 8):
            write(folder, epoch)
        (folder / "sagemaker-ssd-0009.params.sagemaker-ignore").touch()
        before = names(folder)
        folder.chmod(0o555)
        command = [sys.executable, "-c", UNREMOVABLE, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        folder.chmod(0o755)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("could not be removed: [Errno 13]") == 2
        assert names(folder) == before
