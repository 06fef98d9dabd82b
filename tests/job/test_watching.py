"""What a person watches while a job runs, of whole jobs: one that is stopped after two of five epochs and goes on."""

import json
import signal
from collections.abc import Callable

import pytest

from ended_job import Ended
from event_reader import assert_curves, pictures
from job_runner import Job, Watched
from report.report_samples import Page
from sagemaker_ssd.worker.metrics import MetricsDocument

pytestmark = pytest.mark.long

NAMES = ["circle", "square", "triangle"]


def test_a_stopped_job_leaves_its_figures_and_goes_on(make_job: Callable[..., Job], watch: Callable[..., Watched]):
    job = make_job("--train", "4", "--validation", "2", epochs="5", mini_batch_size="2", overlap_threshold="0.1")
    checkpoints = job.base / "checkpoints"
    checkpoints.mkdir()
    running = watch(job)
    running.until("Checkpoint of epoch 1")
    running.process.send_signal(signal.SIGTERM)
    code, _ = running.end()
    ended = Ended(code, "".join(running.lines), job.base)
    assert (code, ended.failure) == (0, None), ended.log
    # A third epoch may have been done when the signal came.
    done = len(ended.metrics["epochs"])
    assert done in (2, 3)
    report = job.base / "output" / "data" / "report.html"
    assert f"Report: {report}" in ended.log
    page = Page(report.read_text())
    assert f"Training of resnet-50 at 300 pixels: object detection, {done} of 5 epochs" in page.text
    assert page.tags.count("svg") == 2
    assert (checkpoints / "progress.html").read_bytes() == report.read_bytes()
    progress = json.loads((checkpoints / "progress.json").read_text())
    MetricsDocument.model_validate(progress)
    assert progress == ended.metrics
    assert_curves(job.base, ended.metrics, NAMES)
    # Resumed, in the same folders; the page of the end takes the place of the small one, but for the copy.
    resumed = job.run()
    assert resumed.code == 0, resumed.log
    assert f"Resuming after epoch {done - 1} of 5" in resumed.log
    assert_curves(job.base, resumed.metrics, NAMES)
    assert len(resumed.metrics["epochs"]) == 5
    shown = pictures(job.base / "output" / "tensorboard" / "pictures")
    assert {step for of in shown.values() for step, _ in of} <= set(range(5))
    assert any(tag.startswith("worst, missed/") or tag.startswith("worst, wrong/") for tag in shown)
    assert "Pictures" in Page(report.read_text()).text
    assert "5 of 5 epochs" in Page((checkpoints / "progress.html").read_text()).text


def test_event_files_that_cannot_be_written_cost_a_warning(make_job: Callable[..., Job]):
    job = make_job("--train", "4", "--validation", "2", epochs="2", mini_batch_size="2")
    (job.base / "output").mkdir(exist_ok=True)
    (job.base / "output" / "tensorboard").write_text("in the way")
    ended = job.run()
    assert (ended.code, ended.failure) == (0, None), ended.log
    assert ended.log.count("The files for TensorBoard in") == 1
