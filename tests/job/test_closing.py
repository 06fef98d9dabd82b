"""What a job leaves beside its model when the training is done, and that nothing of it can cost the job."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable

import onnx
import pytest

from ended_job import MODEL
from job_runner import Job, Watched
from sagemaker_ssd.contract.model_folder import PARAMETERS
from sagemaker_ssd.worker.metrics import MetricsDocument

SMALL = ("--train", "4", "--validation", "3")
QUICK = {"epochs": "1", "mini_batch_size": "2"}


def test_everything_is_there_and_fits_together(make_job: Callable[..., Job]):
    ended = make_job(*SMALL, **QUICK).run()
    assert ended.code == 0, ended.log
    assert ended.model_files == MODEL
    output = ended.base / "output" / "data"
    files = sorted(str(path.relative_to(output)) for path in output.rglob("*") if path.is_file())
    assert files == [
        "deploy/deploy_model_algo_1-0000.params",
        "deploy/deploy_model_algo_1-symbol.json",
        "detections.json",
        "ground_truth.json",
        "metrics.json",
        "model.onnx",
        "report.html",
    ]
    MetricsDocument.model_validate(ended.metrics)
    best = ended.metrics["best"]
    truth = json.loads((output / "ground_truth.json").read_text())
    assert (best["images"], best["boxes"]) == (3, len(truth["annotations"]))
    assert best["detections"] == len(json.loads((output / "detections.json").read_text()))
    # The same detections as in the epoch, but for the rounding of boxes in the files.
    of_epoch = ended.metrics["epochs"][ended.metrics["best_epoch"]]["validation"]
    for name in ("mAP", "mAP_all_points", "mAP_coco"):
        assert best[name] == pytest.approx(of_epoch[name], abs=0.005), name
    assert best["detections"] == sum(one["detections"] for one in of_epoch["classes"])
    names = [category["name"] for category in truth["categories"]]
    assert [one["name"] for one in best["classes"]] == names == ["circle", "square", "triangle"]
    facts = {entry.key: json.loads(entry.value) for entry in onnx.load(str(output / "model.onnx")).metadata_props}
    assert facts["classes"] == names
    assert "Training of resnet-50 at 300 pixels" in (output / "report.html").read_text()


def test_what_cannot_be_written_is_told_and_costs_nothing(make_job: Callable[..., Job]):
    job = make_job(*SMALL, **QUICK)
    output = job.base / "output" / "data"
    (output / "report.html").mkdir(parents=True)
    (output / "deploy").write_text("in the way")
    # An earlier model beside the job's own, packed and in a folder, is not read in its place.
    earlier = job.base / "model" / "earlier"
    earlier.mkdir(parents=True)
    for file in (earlier.parent / "model.tar.gz", earlier / PARAMETERS):
        file.write_bytes(b"an earlier model")
    ended = job.run()
    assert ended.code == 0, ended.log
    assert ended.failure is None
    assert ended.model_files == MODEL | {"earlier", "model.tar.gz"}
    assert "the model could not be read back" not in ended.log
    for missing in ("report.html is missing", "the deploy form is missing"):
        assert f"The training is done and its model is whole, but {missing}: " in ended.log
    assert "model.onnx is missing" not in ended.log
    assert (output / "model.onnx").is_file()


def test_a_training_process_that_dies_behind_the_training_costs_nothing(
    make_job: Callable[..., Job], watch: Callable[..., Watched]
):
    job = make_job(*SMALL, **QUICK)
    running = watch(job)
    running.until("completed 100.0 % of epochs")
    found = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(running.process.pid)], capture_output=True, text=True, check=True
    )
    (worker,) = [int(line.split()[0]) for line in found.stdout.splitlines() if "sagemaker_ssd.worker" in line]
    # The first of what follows the training; the report and ONNX take some seconds more.
    written = job.base / "output" / "data" / "ground_truth.json"
    deadline = time.monotonic() + 60
    while not written.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(worker, signal.SIGKILL)
    code, _ = running.end()
    assert code == 0, running.lines
    assert "The training is done and its model is whole, but the training process ended with -9" in running.lines[-1]
