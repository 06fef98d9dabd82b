"""Whole jobs in Pipe mode, compared with File mode with the same data: `./train`, fed as the platform feeds it."""

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from feeding import Feeders, folder_manifest, wait_for

from ended_job import Ended
from job_runner import Job, Watched, draw

pytestmark = pytest.mark.long

SIZE = ("--train", "6", "--validation", "2", "--hyperparameter", "epochs=1", "--hyperparameter", "mini_batch_size=3")
CHANNELS = ("train", "validation")
SECONDS = "SAGEMAKER_SSD_PIPE_SECONDS"


def drawn(folder: Path, *options: str) -> Job:
    job = Job(folder / "opt_ml", folder / "tmp")
    job.temporary.mkdir(parents=True)
    draw(job.base, *SIZE, *options)
    return job


def streamed(drawn: Job, folder: Path, **entry: str) -> Job:
    """A job with the hyperparameters of a drawn one, and its two channels as streams."""
    job = Job(folder / "opt_ml", folder / "tmp")
    for made in (job.temporary, job.base / "input" / "data", job.config("x").parent):
        made.mkdir(parents=True)
    for name in ("hyperparameters", "resourceconfig"):
        job.config(name).write_text(drawn.config(name).read_text())
    entry = {"TrainingInputMode": "Pipe", "S3DistributionType": "FullyReplicated", **entry}
    job.config("inputdataconfig").write_text(json.dumps(dict.fromkeys(CHANNELS, entry)))
    return job


def figures(ended: Ended) -> tuple[object, ...]:
    """What must not depend on how the data came: losses and scores as they are logged and written, and the counts."""
    assert ended.code == 0, ended.log
    (epoch,) = ended.metrics["epochs"]
    for varying in ("seconds", "seconds_waiting_for_data", "images_per_second"):
        del epoch["train"][varying]
    lines = re.findall(r"#quality_metric: .*", ended.log)
    assert len(lines) == 4
    return lines, epoch, ended.metrics["data"]


def test_recordio(tmp_path: Path, feeders: Feeders) -> None:
    files = drawn(tmp_path / "file", "--content", "recordio")
    job = streamed(files, tmp_path / "pipe", ContentType="application/x-recordio")
    data = job.base / "input" / "data"
    for name in CHANNELS:
        feeders.start(data / name, [files.base / "input" / "data" / name / f"{name}.rec"], pause=0.05)
    ended = job.run()
    assert figures(ended) == figures(files.run())
    assert "train: Pipe mode, a stream, kept in a file while it is checked" in ended.log
    assert job.left_in_scratch() == []
    # The feeders wait with the FIFOs of the next epoch, which nobody opened.
    for feeder, name in zip(feeders.running, CHANNELS, strict=True):
        wait_for(data / f"{name}_1")
        assert feeder.poll() is None


def test_an_augmented_manifest(tmp_path: Path, feeders: Feeders) -> None:
    files = drawn(tmp_path / "file", "--content", "images")
    job = streamed(files, tmp_path / "pipe", ContentType="application/x-recordio", RecordWrapperType="RecordIO")
    source = files.base / "input" / "data"
    for name in CHANNELS:
        stream = folder_manifest(source / name, source / f"{name}_annotation")
        feeders.start(job.base / "input" / "data" / name, stream)
    assert figures(job.run()) == figures(files.run())


def test_a_stream_that_stalls_ends_the_job(tmp_path: Path, feeders: Feeders) -> None:
    files = drawn(tmp_path / "file", "--content", "recordio")
    job = streamed(files, tmp_path / "pipe")
    job.environment[SECONDS] = "1"
    record = files.base / "input" / "data" / "train" / "train.rec"
    feeders.start(job.base / "input" / "data" / "train", [record], stall_after=5000, chunk=1000)
    ended = job.run()
    assert ended.code == 2, ended.log
    assert ended.failure is not None
    assert re.match(
        r"channel train: the FIFO \S+/input/data/train_0, which the platform feeds in Pipe mode, gave nothing more for "
        r"1 seconds, after 5,000 bytes and \d records?\. .*SAGEMAKER_SSD_PIPE_SECONDS",
        ended.failure,
    )
    assert "Traceback" not in ended.log
    assert job.left_in_scratch() == []


@pytest.fixture
def running() -> Iterator[list[Watched]]:
    jobs: list[Watched] = []
    yield jobs
    for watched in jobs:
        watched.process.kill()
        watched.process.wait()


def test_a_job_that_waits_for_its_stream_can_be_stopped(tmp_path: Path, running: list[Watched]) -> None:
    job = streamed(drawn(tmp_path / "file", "--content", "recordio"), tmp_path / "pipe")
    running.append(Watched(job.start()))
    running[0].until("train_0 once, into")
    running[0].process.send_signal(signal.SIGTERM)
    code, seconds = running[0].end()
    assert (code, seconds < 10) == (2, True), running[0].lines
    assert job.left_in_scratch() == []
