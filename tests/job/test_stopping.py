"""SIGTERM, and kills, at every stage of a job: exit code, files and what is said."""

import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import mxnet as mx
import pytest

from ended_job import MADE_OF_THE_MODEL, MODEL, Ended, leave_another_models_outputs
from job_runner import Job, Watched
from sagemaker_ssd.worker.metrics import MetricsDocument

pytestmark = pytest.mark.long

STAGES = {
    # What the log says when the stage begins, and whether a model is on disk by then.
    "starting": ("Final configuration", False),
    "packing": ("packing", False),
    "training": ("Start training.", False),
    "saving the first": ("Updating the best model", True),
    "training again": ("completed 10.0 % of epochs", True),
    "evaluating": ("epoch=1, batch=", True),
}
# docker stop kills after ten seconds.
PATIENCE_SECONDS = 10


def small(make_job: Callable[..., Job], **hyperparameters: str) -> Job:
    settings = {"epochs": "10", "mini_batch_size": "2", "num_training_samples": "4", **hyperparameters}
    return make_job("--train", "4", "--validation", "2", **settings)


def workers(supervisor: int) -> list[int]:
    """Return the process ids of the workers that a supervisor has started."""
    found = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(supervisor)], capture_output=True, text=True)
    return [int(line.split()[0]) for line in found.stdout.splitlines() if "sagemaker_ssd.worker" in line]


def worker_of(supervisor: int) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if found := workers(supervisor):
            return found[0]
        time.sleep(0.05)
    raise AssertionError("no worker was started")


def gone(process: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        status = Path(f"/proc/{process}/stat")
        # A zombie has ended; only its parent has not looked yet.
        if not status.exists() or status.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


def wait_for_packing(job: Job) -> None:
    deadline = time.monotonic() + 30
    while not list(job.temporary.glob("*/train.rec")):
        assert time.monotonic() < deadline, "no packing was seen"
        time.sleep(0.01)


@pytest.mark.parametrize("stage", STAGES)
def test_sigterm(stage: str, make_job: Callable[..., Job], watch: Callable[..., Watched]):
    job = small(make_job)
    text, has_model = STAGES[stage]
    if stage == "packing":
        multiply(job, 3000)
    running = watch(job)
    if stage == "packing":
        wait_for_packing(job)
    else:
        running.until(text)
    running.process.send_signal(signal.SIGTERM)
    code, seconds = running.end()
    ended = Ended(code, "".join(running.lines), job.base)
    assert seconds < PATIENCE_SECONDS
    assert job.left_in_scratch() == []
    if has_model:
        assert (code, ended.failure, ended.model_files) == (0, None, MODEL)
        assert "Stopped on request, the best model so far is in place" in ended.log
        mx.model.load_checkpoint(str(job.base / "model" / "model_algo_1"), 0)
    else:
        assert (code, ended.model_files) == (2, set())
        assert ended.failure == "stopped on request before the first model was saved, so there is no model"


ON_SAGEMAKER = {"TRAINING_JOB_ARN": "arn:aws:sagemaker:eu-west-1:111122223333:training-job/cards"}
# What the log says when SageMaker's stop comes in the first epoch, what the job says at its end, and whether its mAP is
# known.
FIRST_EPOCH = {
    "training": ("Start training.", " before the first evaluation, a model of unknown mAP is in place", False),
    "evaluating": ("#throughput_metric", ", the best model so far is in place", True),
    "saving": ("Updating the best model", ", the best model so far is in place", True),
}


@pytest.mark.parametrize("stage", FIRST_EPOCH)
def test_sagemakers_stop_waits_for_a_first_model(
    stage: str, make_job: Callable[..., Job], watch: Callable[..., Watched]
):
    text, told, is_known = FIRST_EPOCH[stage]
    job = small(make_job)
    job.environment = ON_SAGEMAKER
    running = watch(job)
    running.until(text)
    running.process.send_signal(signal.SIGTERM)
    code, seconds = running.end()
    ended = Ended(code, "".join(running.lines), job.base)
    assert (code, ended.failure, ended.model_files) == (0, None, MODEL), ended.log
    assert seconds < 100
    assert f"Stopped on request{told}" in ended.log
    MetricsDocument.model_validate(ended.metrics)
    assert (ended.metrics["best_mAP"] is not None, len(ended.metrics["epochs"])) == (is_known, int(is_known))
    mx.model.load_checkpoint(str(job.base / "model" / "model_algo_1"), 0)


def test_what_keeps_a_first_model_from_being_saved_is_told(make_job: Callable[..., Job], watch: Callable[..., Watched]):
    # A limit on the size of files stands for the full disk: the parameters of resnet-50 are 110 MB.
    job = small(make_job)
    job.environment = ON_SAGEMAKER
    running = watch(job)
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (60_000_000, 60_000_000))
    running.until("Start training.")
    running.process.send_signal(signal.SIGTERM)
    code, seconds = running.end()
    ended = Ended(code, "".join(running.lines), job.base)
    assert (code, ended.model_files) == (2, set()), ended.log
    assert seconds < 100
    assert ended.failure is not None
    assert ended.failure.startswith(
        "stopped on request before the first model was saved, so there is no model. The training process said: the "
        "disk is full"
    )
    assert "The training process failed while it was being stopped: the disk is full" in ended.log


def test_sagemakers_stop_does_not_wait_once_there_is_a_model(
    make_job: Callable[..., Job], watch: Callable[..., Watched]
):
    job = small(make_job)
    job.environment = ON_SAGEMAKER
    running = watch(job)
    running.until("completed 10.0 % of epochs")
    running.process.send_signal(signal.SIGTERM)
    code, seconds = running.end()
    assert code == 0
    assert seconds < PATIENCE_SECONDS
    assert Ended(code, "", job.base).metrics["best_mAP"] is not None


def test_the_model_of_an_earlier_job_is_not_replaced_by_one_of_unknown_map(
    make_job: Callable[..., Job], watch: Callable[..., Watched]
):
    job = small(make_job, epochs="1")
    job.environment = ON_SAGEMAKER
    assert job.run().code == 0
    before = (job.base / "model" / "model_algo_1-0000.params").read_bytes()
    running = watch(job)
    running.until("Start training.")
    running.process.send_signal(signal.SIGTERM)
    assert running.end()[0] == 2
    assert (job.base / "model" / "model_algo_1-0000.params").read_bytes() == before


def test_a_stop_is_answered_while_the_jobs_files_are_read(make_job: Callable[..., Job], watch: Callable[..., Watched]):
    # Whoever opens a FIFO waits for its writer, as one waits for a mount that gives no answer.
    job = small(make_job)
    job.config("hyperparameters").unlink()
    os.mkfifo(job.config("hyperparameters"))
    running = watch(job)
    running.until("built for")
    running.process.send_signal(signal.SIGTERM)
    code, seconds = running.end()
    assert (code, seconds < PATIENCE_SECONDS) == (2, True)
    failure = Ended(code, "", job.base).failure
    assert failure == "stopped on request before the training began, so there is no new model"


def multiply(job: Job, copies: int) -> None:
    """Give the train channel many images, so that packing takes a while."""
    data = job.base / "input" / "data"
    image = next((data / "train").rglob("*.jpg"))
    label = (data / "train_annotation" / image.relative_to(data / "train")).with_suffix(".json")
    for number in range(copies):
        os.link(image, image.with_name(f"copy{number}.jpg"))
        text = label.read_text().replace(image.stem, f"copy{number}")
        label.with_name(f"copy{number}.json").write_text(text)


def test_ctrl_c_on_a_terminal_stops_like_sigterm(make_job: Callable[..., Job], watch: Callable[..., Watched]):
    job = small(make_job)
    running = watch(job)
    running.until("Start training.")
    running.process.send_signal(signal.SIGINT)
    code, _ = running.end()
    assert code == 2
    assert "Traceback" not in "".join(running.lines)


def test_a_stop_keeps_the_model_of_this_job_apart_from_an_earlier_ones(
    make_job: Callable[..., Job], watch: Callable[..., Watched]
):
    job = small(make_job, epochs="1")
    assert job.run().code == 0
    running = watch(job)
    running.until("holds a model already")
    running.until("Start training.")
    running.process.send_signal(signal.SIGTERM)
    code, _ = running.end()
    # The earlier model stays where it is, but it is not this job's.
    assert code == 2
    text = (job.base / "output" / "failure").read_text()
    assert text.endswith(f"before the first model was saved, so {job.base / 'model'} holds the one from before")
    assert Ended(code, "", job.base).model_files == MODEL


def test_a_killed_worker_is_explained(make_job: Callable[..., Job], watch: Callable[..., Watched]):
    job = small(make_job)
    running = watch(job)
    running.until("Start training.")
    # As it leaves a file that it was writing.
    half = [job.base / "output" / "data" / "deploy" / ".deploy.params.part", job.base / "model" / ".metrics.json.part"]
    for path in half:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    os.kill(worker_of(running.process.pid), signal.SIGKILL)
    code, seconds = running.end()
    ended = Ended(code, "".join(running.lines), job.base)
    assert code == 2
    assert seconds < PATIENCE_SECONDS
    assert ended.failure is not None
    assert re.match(
        r"the training process was killed by signal 9 .* lower mini_batch_size \(now 2; try 1\)", ended.failure
    )
    assert ended.model_files == set()
    assert job.left_in_scratch() == []
    assert not any(path.exists() for path in half)


def test_a_worker_killed_while_saving_leaves_a_whole_model(make_job: Callable[..., Job], watch: Callable[..., Watched]):
    job = small(make_job, epochs="1")
    assert job.run().code == 0
    running = watch(job)
    running.until("Updating the best model")
    os.kill(worker_of(running.process.pid), signal.SIGKILL)
    code, _ = running.end()
    assert code == 2
    assert Ended(code, "", job.base).model_files == MODEL
    mx.model.load_checkpoint(str(job.base / "model" / "model_algo_1"), 0)


def test_a_native_crash_is_explained(make_job: Callable[..., Job], watch: Callable[..., Watched]):
    job = small(make_job)
    running = watch(job)
    running.until("Start training.")
    os.kill(worker_of(running.process.pid), signal.SIGSEGV)
    code, _ = running.end()
    ended = Ended(code, "".join(running.lines), job.base)
    assert code == 3
    assert ended.failure is not None
    assert "crashed with signal 11 (SIGSEGV) in native code" in ended.failure
    # What a report of the bug needs.
    assert "Fatal Python error: Segmentation fault" in ended.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_alone_is_asked_to_end(
    number: signal.Signals, make_job: Callable[..., Job], watch: Callable[..., Watched]
):
    job = small(make_job)
    running = watch(job)
    running.until("Updating the best model")
    running.until("#throughput_metric")
    os.kill(worker_of(running.process.pid), number)
    code, seconds = running.end()
    ended = Ended(code, "".join(running.lines), job.base)
    assert code == 2
    assert seconds < PATIENCE_SECONDS
    assert ended.failure is not None
    assert ended.failure.startswith(f"the training process was ended by signal {int(number)} ({number.name}), which")
    assert "send SIGTERM to its first process" in ended.failure
    assert ended.model_files == MODEL


def test_no_worker_outlives_its_supervisor(make_job: Callable[..., Job], watch: Callable[..., Watched]):
    job = small(make_job)
    running = watch(job)
    running.until("Start training.")
    worker = worker_of(running.process.pid)
    running.process.send_signal(signal.SIGKILL)
    assert gone(worker)
    running.end()
    # The next job removes what this one left.
    assert job.left_in_scratch() != []
    job.set(num_classes="0")
    job.run()
    job.set(num_classes="3", epochs="1")
    assert job.run().code == 0
    assert job.left_in_scratch() == []


def test_a_frozen_worker_is_killed_in_time(make_job: Callable[..., Job], watch: Callable[..., Watched]):
    # As a worker that waits inside MXNet for minutes: it does not react to SIGTERM.
    job = small(make_job)
    running = watch(job)
    running.until("Start training.")
    worker = worker_of(running.process.pid)
    os.kill(worker, signal.SIGSTOP)
    running.process.send_signal(signal.SIGTERM)
    code, seconds = running.end()
    assert code == 2
    assert seconds < PATIENCE_SECONDS
    assert gone(worker)


def test_what_an_earlier_job_made_of_its_model_goes_with_that_model(
    make_job: Callable[..., Job], watch: Callable[..., Watched]
):
    job = small(make_job)
    output = job.base / "output" / "data"
    leave_another_models_outputs(job.base)
    (output / "deploy" / "mine.txt").write_text("mine")
    running = watch(job)
    running.until("Start training.")
    # As long as the earlier job's model may be there.
    assert all((output / name).exists() for name in MADE_OF_THE_MODEL)
    running.until("epoch=0, validation mAP")
    running.process.send_signal(signal.SIGTERM)
    code, _ = running.end()
    ended = Ended(code, "".join(running.lines), job.base)
    assert (code, ended.failure, ended.model_files) == (0, None, MODEL)
    # The small report is this job's.
    assert ended.made_of_the_model == ["report.html"]
    assert "of another model" not in (output / "report.html").read_text()
    assert (output / "deploy" / "mine.txt").exists()
