"""The folder in which new weights become whole: gone at the end, and after a kill with the next installation."""

import signal
import subprocess
import sys
from pathlib import Path

from sagemaker_ssd.weights.install import _new_folder

HOLD = """
import sys
from pathlib import Path
from sagemaker_ssd.weights.install import _new_folder
with _new_folder(Path(sys.argv[1])) as folder:
    (folder / "vgg-16-keras.params").write_bytes(b"x" * 1000)
    print(folder, flush=True)
    sys.stdin.read()
"""


def hold(store: Path) -> tuple[subprocess.Popen[str], Path]:
    command = [sys.executable, "-c", HOLD, str(store)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_gone_at_the_end(tmp_path: Path):
    with _new_folder(tmp_path) as folder:
        assert folder.parent == tmp_path
        (folder / "vgg-16-keras.params").write_bytes(b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_installers_folder_is_removed_by_the_next_and_a_running_ones_is_not(tmp_path: Path):
    # As versions before left it, without a lock.
    (tmp_path / ".new-1").mkdir()
    (tmp_path / "vgg-16-keras.params").write_bytes(b"installed")
    running, theirs = hold(tmp_path)
    killed, left = hold(tmp_path)
    try:
        killed.send_signal(signal.SIGKILL)
        killed.wait(timeout=10)
        assert (left / "vgg-16-keras.params").exists()
        with _new_folder(tmp_path) as ours:
            assert set(tmp_path.iterdir()) == {theirs, ours, tmp_path / "vgg-16-keras.params"}
            assert list(theirs.iterdir()) == [theirs / "vgg-16-keras.params"]
    finally:
        running.communicate(timeout=30)
    assert list(tmp_path.iterdir()) == [tmp_path / "vgg-16-keras.params"]
