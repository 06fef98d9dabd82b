"""What a caller may do to a job's streams: close them, or stop reading."""

import os
import subprocess
from collections.abc import Callable

import pytest

from job_runner import ROOT, Job

pytestmark = pytest.mark.long

TINY = ("--train", "2", "--validation", "1")
SETTINGS = {"epochs": "1", "mini_batch_size": "2", "num_training_samples": "2"}


@pytest.mark.parametrize("command", ["./train 2>&1 | head -1", "./train 2>&-", "./train >&-", "./train <&- >&- 2>&-"])
def test_nobody_listens(make_job: Callable[..., Job], command: str):
    job = make_job(*TINY, **SETTINGS)
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        cwd=ROOT,
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(job.base), "TMPDIR": str(job.temporary)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    assert not (job.base / "output" / "failure").exists()
    assert (job.base / "model" / "model_algo_1-0000.params").exists()


def test_a_file_name_that_is_not_utf8_is_told(make_job: Callable[..., Job]):
    job = make_job(*TINY, **SETTINGS)
    name = os.fsdecode(b"bad\xff")
    data = job.base / "input" / "data"
    (data / "train" / f"{name}.jpg").write_bytes(b"junk")
    (data / "train_annotation" / f"{name}.json").write_text('{"annotations": []}')
    ended = job.run()
    assert ended.code == 1
    assert r"bad\udcff.jpg" in (ended.failure or "")
    assert "Traceback" not in ended.log
