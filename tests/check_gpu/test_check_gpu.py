"""check-gpu on two CPU devices, each process under a limit of memory: all of it holds, and each check sees a fault."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import mxnet as mx
import pytest

from job_runner import ROOT
from sagemaker_ssd.check_gpu.__main__ import freed
from sagemaker_ssd.check_gpu.findings import Finding, at_most, from_json, table, to_json
from sagemaker_ssd.check_gpu.measurements import training_speed
from sagemaker_ssd.check_gpu.part import PARTS
from sagemaker_ssd.ssd.network import Network

TESTS = Path(__file__).parent.parent
SMALL = ("--devices", "cpu,cpu", "--sizes", "300", "--batches", "2", "--seconds", "1", "--memory-gib", "8")


def check_gpu(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "train"), "check-gpu", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


def test_without_gpus_it_says_what_it_is_for():
    done = check_gpu()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "check-gpu tries GPUs, and this is the CPU build: use the GPU image, `docker run --gpus all sagemaker-ssd:gpu "
        "check-gpu`; or see what it does by `check-gpu --devices cpu,cpu`\n"
    )


def test_wrong_devices_are_refused():
    done = check_gpu("--devices", "cpu,tpu")
    assert done.returncode == 2
    assert "'cpu,tpu': write gpu or cpu as often as there are devices to try: gpu,gpu" in done.stderr


def test_a_figure_that_is_no_number_fails():
    assert at_most("x", "gpu(0)", float("nan"), 1).holds is False
    assert at_most("x", "gpu(0)", 1.0, 1).holds is True
    assert at_most("x", "gpu(0)", 1.1, 1).holds is False


@pytest.mark.parametrize(("after", "holds"), [("9000000000", True), ("9800000000", True), ("8500000000", False)])
def test_memory_that_a_dead_process_keeps_is_noticed(after: str, holds: bool):
    before, now = (Finding("free bytes", "gpu(0)", free) for free in ("9000000000", after))
    assert freed("a kill", before, now).holds is holds


def test_the_table_and_what_a_part_prints():
    findings = [
        Finding("a check", "gpu(0)", "1e-05", "at most 0.01", True),
        Finding("a figure", "gpu(1)", "5 images/s"),
    ]
    assert from_json(to_json(findings)) == findings
    assert table(findings).splitlines() == [
        "|          | check    | where  | found      | allowed      |",
        "|----------|----------|--------|------------|--------------|",
        "| ok       | a check  | gpu(0) | 1e-05      | at most 0.01 |",
        "| measured | a figure | gpu(1) | 5 images/s |              |",
    ]


def test_every_part_runs_with_the_variables_of_a_job(tmp_path: Path):
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("NVIDIA_", "MXNET_CUDNN_"))},
        "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]),
        "ENVIRONMENTS": str(tmp_path / "environments"),
        "OMP_NUM_THREADS": "2",
    }
    command = [sys.executable, "-P", "-m", "check_gpu.environments"]
    subprocess.run(command, check=True, env=environment, timeout=200)
    told = [json.loads(line) for line in (tmp_path / "environments").read_text().splitlines()]
    assert {one["plan"]["part"] for one in told} == PARTS.keys() - {"about"}
    for one in told:
        part, variables = one["plan"]["part"], one["variables"]
        float32 = part in ("network", "optimizers", "together", "host", "probe")
        assert variables["NVIDIA_TF32_OVERRIDE"] == ("0" if float32 else None), part
        assert variables["MXNET_CUDNN_AUTOTUNE_DEFAULT"] == ("1" if one["plan"]["tuned"] else "0"), part
        assert variables["OMP_NUM_THREADS"] == "2"
    # Of each network one batch, the largest that fitted.
    tuned = [one["plan"] for one in told if one["plan"]["tuned"]]
    assert [(plan["part"], plan["network"], plan["image_shape"], plan["batches"]) for plan in tuned] == [
        ("speed", "resnet-50", 300, [16]),
        ("speed", "vgg-16", 300, [16]),
    ]


def test_a_signal_ends_it_at_once_and_its_parts_with_it():
    process = subprocess.Popen(
        [ROOT / "train", "check-gpu", *SMALL], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    time.sleep(4)
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "STOPPED before the end" in output
    assert time.monotonic() - begin < 10
    found = subprocess.run(["pgrep", "-f", "sagemaker_ssd.check_gpu.part"], capture_output=True, text=True, check=False)
    assert found.stdout == ""


@pytest.mark.long
@pytest.mark.timeout(600)
def test_two_cpu_devices_hold():
    done = check_gpu(*SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.rstrip().endswith("Everything holds.")
    rows = re.findall(r"^\| (ok|measured|FAILED) +\| (.*?) +\| ", done.stdout, re.MULTILINE)
    assert {verdict for verdict, _ in rows} == {"ok", "measured"}
    for what in (
        *("losses of a step", "gradients together, best of 1", "gradient of each parameter, best of 1"),
        "BatchNorm's mean and variance",
        *("frozen layers stay, others move", "the CPU's 100 best detections of an image"),
        "the CPU's 100 best detections of an image, of all classes",
        "a step in the precision of jobs (TF32 from Ampere on)",
        *(f"{name}, 3 updates of the same gradients" for name in ("sgd", "adam", "rmsprop", "adadelta")),
        *("gradients of all devices together, against one device", "parameters after a step together"),
        "a step of dist_sync, a process each, against one process",
        *("a kill in a step leaves the device free", "a batch that cannot fit", "it leaves the device free"),
        *("batch 2", "input at 300 px", "training and input"),
    ):
        assert what in {row for _, row in rows}, what


# What check-gpu must find wrong, by what is broken.
BROKEN = {
    "step": (
        *("losses of a step", "gradients together, best of 1", "gradient of each parameter, best of 1"),
        *("gradient of each parameter, worst of 1", "BatchNorm's mean and variance"),
        "frozen layers stay, others move",
    ),
    "detections": (
        "the CPU's 100 best detections of an image",
        "the CPU's 100 best detections of an image, of all classes",
    ),
    "updates": tuple(f"{name}, 3 updates of the same gradients" for name in ("sgd", "adam", "rmsprop", "adadelta")),
    "together": ("gradients of all devices together, against one device", "parameters after a step together"),
    "processes": ("a step of dist_sync, a process each, against one process",),
    "a dead process": ("a step of dist_sync, a process each",),
    "kill": ("a kill in a step",),
    "after the kill": ("it computes",),
    "memory": ("a batch that cannot fit",),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", BROKEN)
def test_every_check_sees_its_fault(kind: str):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-P", "-m", "check_gpu.broken_check", kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280, env=environment)
    assert done.returncode == 0, done.stderr
    findings = from_json(done.stdout.splitlines()[-1])
    wrong = {one.what for one in findings if one.holds is False}
    assert wrong == set(BROKEN[kind]), findings
    # The fault is on the second device alone.
    if kind in ("step", "detections"):
        assert {one.where for one in findings if one.holds is False} <= {"resnet-50 on cpu(1)", "resnet-50 on cpu(0)"}


@pytest.mark.long
def test_a_batch_that_would_take_too_long_is_left_out():
    network = Network("resnet-50", 300, 3)
    # No core makes a step of 512 images in two seconds.
    small, large = training_speed(network, mx.cpu(), (1, 512), seconds=0.1, within=8.0)
    assert small.found.split()[1] == "images/s,"
    assert (large.what, large.found, large.holds) == ("batch 512", "left out: the time was over", None)
