"""check-gpu on two CPU devices, each process under a limit of memory: all of it holds, and each check sees a fault."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mxnet as mx
import pytest

from gpu_machine import machine_variables
from job_runner import ROOT
from sagemaker_ssd.check_gpu.__main__ import freed
from sagemaker_ssd.check_gpu.findings import Finding, at_most, from_json, table, to_json
from sagemaker_ssd.check_gpu.measurements import judge_largest, training_speed
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


def test_gpus_that_are_asked_for_need_the_gpu_image():
    asked, every = check_gpu("--devices", "gpu,gpu"), check_gpu()
    assert (asked.returncode, asked.stdout, asked.stderr) == (1, "", every.stderr)


@pytest.mark.parametrize(
    ("machine", "devices", "said"),
    [
        ({"gpus": 2}, "gpu", "this is the GPU image, and no NVIDIA driver was found"),
        ({"driver": True}, "gpu", "this is the GPU image, and nvidia-smi finds no GPU on this machine"),
        ({"driver": True, "gpus": 1, "card": "Tesla K80, 3.7"}, "gpu", "MXNet 1.9.1 cannot use this machine's GPU"),
        ({"driver": True, "gpus": 1}, "gpu,gpu", "--devices: 2 were asked for, this machine has 1 GPU: write gpu at"),
        ({"driver": True, "gpus": 3}, "gpu,gpu", "the driver lists gpu(0) and gpu(1), and MXNet sees 0: look at"),
    ],
)
def test_gpus_that_are_asked_for_are_those_of_the_machine(
    machine: Mapping[str, Any], devices: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name, value in machine_variables(tmp_path / "machine", gpu_build=True, **machine).items():
        monkeypatch.setenv(name, value)
    done = check_gpu("--devices", devices)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(said)


@pytest.mark.parametrize(
    ("network", "batches", "largest", "holds"),
    [
        ("resnet-50", (8, 16, 32, 64), 64, [True]),
        ("resnet-50", (64, 32, 8), 32, [True]),
        ("resnet-50", (8, 16, 32, 64), 16, [False]),
        ("resnet-50", (32,), 0, [False]),
        # 32 was not tried.
        ("resnet-50", (8, 64), 8, []),
        ("resnet-50", (8, 16), 16, []),
        ("vgg-16", (8, 128), 8, []),
        ("vgg-16", (8, 64), 8, [False]),
    ],
)
def test_the_documented_batch_is_judged_where_it_was_tried(
    network: str, batches: tuple[int, ...], largest: int, holds: list[bool]
):
    assert [one.holds for one in judge_largest(network, batches, largest, "gpu(0)")] == holds


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


def in_tests(*words: str) -> subprocess.CompletedProcess[str]:
    """Run Python on modules of the tests."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-P", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=280, env=environment)


LEFT_OUT = "left out: the time was over"
# What is said where there is no time, by what is checked: nothing is known to hold, and a figure need not be there.
NO_TIME = {
    "part": Finding("a step", "cpu(0) and cpu(1)", LEFT_OUT, holds=False),
    "measurement": Finding("a figure", "cpu(0) and cpu(1)", LEFT_OUT),
    "processes": Finding("a step of dist_sync, a process each", "cpu(0) and cpu(1)", LEFT_OUT, holds=False),
    "kill": Finding("a kill in a step", "cpu(0) and cpu(1)", LEFT_OUT, holds=False),
    "memory": Finding("a batch that cannot fit", "cpu(0)", LEFT_OUT, holds=False),
}


@pytest.mark.parametrize("seconds", ["0", "3"])
@pytest.mark.parametrize("kind", NO_TIME)
def test_what_the_time_did_not_suffice_for_is_left_out_and_blamed_on_no_device(kind: str, seconds: str):
    done = in_tests("-m", "check_gpu.no_time", kind, seconds)
    assert done.returncode == 0, done.stderr
    assert from_json(done.stdout.splitlines()[-1]) == [NO_TIME[kind]]


def test_no_time_for_mxnet_itself():
    done = check_gpu("--devices", "cpu", "--minutes", "0")
    said = "--minutes 0: the time was over before MXNet had started; allow more\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


# With parts that answer without MXNet, where another program has the one port that is allowed.
BROKEN_OFF = """
import sys
from sagemaker_ssd.check_gpu import __main__ as check
check._PART, check._PORTS = "check_gpu.environments", range(int(sys.argv[1]), int(sys.argv[1]) + 1)
sys.exit(check.main(["--devices", "cpu,cpu"]))
"""


def test_what_was_found_is_told_where_the_rest_cannot_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ENVIRONMENTS", str(tmp_path / "environments"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = in_tests("-c", BROKEN_OFF, str(port))
    assert (done.returncode, done.stderr) == (2, f"no port from {port} to {port} is free on 127.0.0.1\n")
    assert re.findall(r"^\| measured \| (\w+) ", done.stdout, re.MULTILINE).count("together") == 4
    assert done.stdout.endswith("\nSTOPPED before the end\n")


# As `./train check-gpu`, with such parts.
TOLD = """
import sys
from sagemaker_ssd.__main__ import main
from sagemaker_ssd.check_gpu import __main__ as check
check._PART = "check_gpu.environments"
sys.argv[1:] = ["check-gpu", "--devices", "cpu,cpu"]
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("reader", "code", "said"),
    [
        ("> /dev/full", 1, "No space left on device: make room on the disk, or write to another one\n"),
        ("| true", 141, ""),
    ],
)
def test_findings_that_nobody_reads(reader: str, code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ENVIRONMENTS", str(tmp_path / "environments"))
    # Where it is set, nothing is left to be written at the end.
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]))
    command = ["bash", "-c", f'"$@" {reader}; exit ${{PIPESTATUS[0]}}', "bash", sys.executable, "-P", "-c", TOLD]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert (done.returncode, done.stderr) == (code, said)


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
    done = in_tests("-m", "check_gpu.broken_check", kind)
    assert done.returncode == 0, done.stderr
    findings = from_json(done.stdout.splitlines()[-1])
    wrong = {one.what for one in findings if one.holds is False}
    assert wrong == set(BROKEN[kind]), findings
    # What was not brought about did not leave the device free either.
    if kind in ("kill", "memory"):
        assert not any("leaves the device free" in one.what for one in findings)
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
