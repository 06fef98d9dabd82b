"""Temporary folders: removed at the end, found again after a kill, refused clearly."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sagemaker_ssd.errors import UserError
from sagemaker_ssd.supervisor.scratch import scratch_folder

HOLD = """
import sys
from sagemaker_ssd.supervisor.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "big.rec").write_bytes(b"x" * 1000)
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def hold() -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_gone_at_the_end(temporary: Path):
    with scratch_folder() as folder:
        assert folder.parent == temporary
        (folder / "train.rec").write_bytes(b"x")
    assert list(temporary.iterdir()) == []


def test_a_killed_jobs_folder_is_removed_by_the_next_and_a_running_jobs_is_not(temporary: Path):
    running, theirs = hold()
    killed, left = hold()
    try:
        killed.send_signal(signal.SIGKILL)
        killed.wait(timeout=10)
        assert (left / "big.rec").exists()
        with scratch_folder() as ours:
            assert set(temporary.iterdir()) == {theirs, ours}
    finally:
        for process in (running, killed):
            process.kill()
            process.communicate()


@pytest.mark.parametrize("obstacle", ["a file", "not there"])
def test_nowhere_to_write(temporary: Path, monkeypatch: pytest.MonkeyPatch, obstacle: str):
    place = temporary / "scratch"
    if obstacle == "a file":
        place.write_text("")
    # Python's own choice would go on to /tmp without a word.
    monkeypatch.setenv("TMPDIR", str(place))
    with (
        pytest.raises(
            UserError, match=r"cannot write temporary files below .*scratch: .*TMPDIR.*docker run --tmpfs /tmp"
        ),
        scratch_folder(),
    ):
        pass
    assert [path.name for path in temporary.iterdir()] == (["scratch"] if obstacle == "a file" else [])


START = """
import sys, time
from sagemaker_ssd.supervisor.scratch import scratch_folder
end = time.monotonic() + 2
while time.monotonic() < end:
    with scratch_folder() as folder:
        assert folder.exists(), "swept by another job's start"
"""


def test_jobs_that_start_at_the_same_moment_leave_one_another_alone(temporary: Path):
    processes = [subprocess.Popen([sys.executable, "-c", START], stderr=subprocess.PIPE, text=True) for _ in range(3)]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert errors == ["", "", ""]
    assert list(temporary.iterdir()) == []


def test_strange_neighbours_do_not_matter(temporary: Path):
    (temporary / "sagemaker-ssd-odd" / "lock").mkdir(parents=True)
    (temporary / "sagemaker-ssd-file").write_text("")
    with scratch_folder() as folder:
        assert folder.exists()
    assert {path.name for path in temporary.iterdir()} == {"sagemaker-ssd-odd", "sagemaker-ssd-file"}
