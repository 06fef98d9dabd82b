"""Where the job is looked for, and what the reading of its files raises."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path, PosixPath

import pytest

from sagemaker_ssd.contract.environment import PROGRESS_VARIABLE
from sagemaker_ssd.contract.paths import base_folder
from sagemaker_ssd.supervisor.main import _read_job
from sagemaker_ssd.supervisor.stop_flag import StopFlag

# With an argument that is refused, so that a job in /opt/ml is not begun.
REFUSED = """
import os, sys
from sagemaker_ssd.supervisor.main import main
from sagemaker_ssd.version import version
# Imports what the other user may not.
version()
# Root could write into /opt/ml.
if os.getuid() == 0:
    os.setuid(65534)
sys.exit(main(["deploy"]))
"""


def test_an_empty_variable_names_no_folder():
    assert base_folder({}) == base_folder({"SAGEMAKER_BASE_DIR": ""}) == Path("/opt/ml")
    assert base_folder({"SAGEMAKER_BASE_DIR": "my_job"}) == Path("my_job")
    # pytest's own folders are closed to the other user.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        ended = subprocess.run(
            [sys.executable, "-P", "-c", REFUSED],
            cwd=folder,
            env={**os.environ, "SAGEMAKER_BASE_DIR": ""},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert ended.returncode == 1, ended.stderr
        assert "it was started with `deploy`" in ended.stdout
        assert list(Path(folder).iterdir()) == []


class DeadMount(PosixPath):
    """Stands for a folder on a server that gives no answer any more."""

    def __truediv__(self, name: object) -> "DeadMount":
        raise TimeoutError(errno.ETIMEDOUT, "Connection timed out", str(self))


def test_a_file_system_that_gives_up_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    # Else it would count as a check that goes on, until it has made no progress for so long.
    monkeypatch.setenv(PROGRESS_VARIABLE, "5")
    with pytest.raises(TimeoutError, match="Connection timed out"):
        _read_job(DeadMount("/opt/ml"), StopFlag())
