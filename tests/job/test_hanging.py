"""A job on one host that hangs ends by itself, and says so."""

import os
import signal
from collections.abc import Callable

import pytest
from test_stopping import small, worker_of

from ended_job import MODEL, Ended
from job_runner import Job, Watched

pytestmark = pytest.mark.long

PATIENCE_SECONDS = 5
MOMENTS = {
    "importing": "Final configuration",
    "training": "Start training.",
    "evaluating": "#throughput_metric",
    "between epochs": "completed 10.0 % of epochs",
}


def hanging(job: Job, watch: Callable[..., Watched], moment: str) -> Ended:
    """Stop the worker at a moment, so that it uses nothing any more."""
    job.environment = {"SAGEMAKER_SSD_PROGRESS_SECONDS": str(PATIENCE_SECONDS)}
    running = watch(job)
    running.until(moment)
    os.kill(worker_of(running.process.pid), signal.SIGSTOP)
    code, seconds = running.end()
    assert seconds < 4 * PATIENCE_SECONDS
    return Ended(code, "".join(running.lines), job.base)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_worker_that_hangs_is_noticed(moment: str, make_job: Callable[..., Job], watch: Callable[..., Watched]):
    ended = hanging(small(make_job), watch, MOMENTS[moment])
    assert ended.code == 2, ended.log
    assert ended.failure is not None
    assert ended.failure.startswith("the training process on this host made no progress: nothing for 5 seconds after ")
    assert ended.failure.endswith("or, if the machine is only slow, raise SAGEMAKER_SSD_PROGRESS_SECONDS")
    assert "another host" not in ended.failure


def test_what_follows_a_training_that_is_done_cannot_fail_the_job(
    make_job: Callable[..., Job], watch: Callable[..., Watched]
):
    # The final figures and the report are still to be made.
    ended = hanging(small(make_job, epochs="1"), watch, "The model as ONNX")
    assert (ended.code, ended.failure, ended.model_files) == (0, None, MODEL), ended.log


def test_files_that_give_no_answer_are_not_waited_for(make_job: Callable[..., Job]):
    job = small(make_job)
    job.config("hyperparameters").unlink()
    os.mkfifo(job.config("hyperparameters"))
    job.environment = {"SAGEMAKER_SSD_PROGRESS_SECONDS": "2"}
    ended = job.run()
    assert ended.code == 2
    assert ended.failure is not None
    assert ended.failure.startswith("the check of the job's files made no progress: nothing for 2 seconds after its st")
