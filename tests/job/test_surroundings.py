"""A full disk, a terminal, and a read-only input: what is around a job."""

import os
import pty
import resource
import select
import subprocess
from collections.abc import Callable

import pytest

from job_runner import ROOT, Job

TINY = ("--train", "2", "--validation", "1")
SETTINGS = {"epochs": "1", "mini_batch_size": "2", "num_training_samples": "2"}


def test_a_disk_that_fills_up_while_the_model_is_saved(make_job: Callable[..., Job]):
    # A limit on the size of files stands for the full disk: the parameters of resnet-50 are 110 MB.
    job = make_job(*TINY, **SETTINGS)
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(job.base), "TMPDIR": str(job.temporary)}
    limit = 60_000_000
    ended = subprocess.run(
        [ROOT / "train"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert ended.returncode == 1, ended.stdout
    failure = (job.base / "output" / "failure").read_text()
    assert "the disk is full" in failure
    assert "VolumeSizeInGB" in failure
    assert list((job.base / "model").iterdir()) == []
    assert job.left_in_scratch() == []


def test_a_home_that_cannot_be_written(make_job: Callable[..., Job]):
    job = make_job(*TINY, **SETTINGS)
    job.environment = {"HOME": "/proc/nohome"}
    assert job.run().code == 0
    assert (job.base / "output" / "data" / "report.html").exists()
    # matplotlib's list of fonts among it.
    assert job.left_in_scratch() == []


def test_the_log_tells_where_a_folder_is_in_the_way(make_job: Callable[..., Job]):
    job = make_job(*TINY, **SETTINGS)
    (job.base / "output" / "data" / "metrics.json").mkdir(parents=True)
    ended = job.run()
    assert ended.code == 1
    assert ended.failure is not None
    assert ended.failure.endswith("Is a directory; a file must be there: remove the folder")
    # The sentence is not the error itself, which the log has with where it was raised.
    assert "IsADirectoryError" in ended.log
    assert "in write_json" in ended.log


def on_a_terminal(job: Job, **environment: str) -> str:
    """Run a job whose stderr is a terminal and return everything that the terminal shows."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [ROOT / "train"],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(job.base), "TMPDIR": str(job.temporary), **environment},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while select.select([ours], [], [], 240)[0]:
            try:
                chunk = os.read(ours, 65_536)
            except OSError:  # the terminal is closed
                break
            if not chunk:
                break
            shown += chunk
        assert process.wait(timeout=60) == 0, shown.decode()
    finally:
        process.kill()
        os.close(ours)
    return shown.decode()


@pytest.mark.parametrize("on_sagemaker", [False, True])
def test_a_bar_only_on_a_terminal_outside_sagemaker(make_job: Callable[..., Job], on_sagemaker: bool):
    # SageMaker's local mode gives its containers a terminal too, and sets the job's name.
    environment = {"TRAINING_JOB_NAME": "local-job"} if on_sagemaker else {}
    shown = on_a_terminal(make_job(*TINY, **SETTINGS), **environment)
    assert ("epoch 0:" in shown) is not on_sagemaker
    assert "validation mAP <score>=(" in shown


def test_the_input_is_only_read(make_job: Callable[..., Job]):
    job = make_job("--content", "recordio", *TINY, **SETTINGS)

    def state() -> list[tuple[str, int, int]]:
        return sorted(
            (str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in (job.base / "input").rglob("*")
        )

    before = state()
    assert job.run().code == 0
    assert state() == before
    assert {path.name for path in job.base.iterdir()} == {"input", "model", "output"}


def test_a_number_of_threads_that_is_none_is_told_before_anything_is_computed(make_job: Callable[..., Job]):
    job = make_job(*TINY, **SETTINGS)
    job.environment = {"OMP_NUM_THREADS": "4,2"}
    ended = job.run()
    assert (ended.code, ended.failure) == (
        1,
        "environment variable OMP_NUM_THREADS is '4,2'; it must be a whole number from 1 to 1024, or 0 for as many "
        "threads as there are processors",
    )
