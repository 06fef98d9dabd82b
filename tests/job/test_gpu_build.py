"""Jobs where the installed MXNet is the GPU image's, by its metadata: what is said before MXNet is imported."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from job_runner import Job

METADATA = "Metadata-Version: 2.1\nName: mxnet-cu112\nVersion: 1.9.1\n"


@pytest.fixture
def gpu_job(make_job: Callable[..., Job], tmp_path: Path) -> Job:
    """A drawn job whose environment says that mxnet-cu112 is installed; `driver` and `tools` come first."""
    job = make_job("--train", "1", "--validation", "1", epochs="1", mini_batch_size="1")
    for folder in ("site/mxnet_cu112-1.9.1.dist-info", "driver", "tools"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "site/mxnet_cu112-1.9.1.dist-info/METADATA").write_text(METADATA)
    job.environment |= {
        "PYTHONPATH": str(tmp_path / "site"),
        "LD_LIBRARY_PATH": str(tmp_path / "driver"),
        "PATH": f"{tmp_path / 'tools'}:/usr/bin:/bin",
    }
    return job


def write_driver(folder: Path) -> None:
    library = folder / "driver" / "libcuda.so.1"
    command = ["cc", "-shared", "-x", "c", "-", "-o", library]
    subprocess.run(command, input="int cuInit(unsigned flags) { return 100; }", text=True, check=True)


def write_nvidia_smi(folder: Path, body: str) -> None:
    tool = folder / "tools" / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{body}\n")
    tool.chmod(0o755)


def test_without_a_driver_another_image_is_named(gpu_job: Job, tmp_path: Path):
    # Not a library; it hides the driver of a machine that has one.
    (tmp_path / "driver" / "libcuda.so.1").write_text("")
    ended = gpu_job.run("train")
    assert ended.code == 1, ended.log
    assert ended.failure is not None
    assert ended.failure.startswith("this is the GPU image, and no NVIDIA driver was found (")
    assert "or use the CPU image, sagemaker-ssd:cpu" in ended.failure
    assert "built for GPUs" in ended.log
    assert not (ended.base / "model").exists()


def test_a_card_that_mxnet_cannot_use_is_named(gpu_job: Job, tmp_path: Path):
    write_driver(tmp_path)
    write_nvidia_smi(
        tmp_path,
        'case $1 in --list-gpus) echo "GPU 0: NVIDIA H100 (UUID: GPU-1)" ;; *) echo "NVIDIA H100, 9.0" ;; esac',
    )
    ended = gpu_job.run("train")
    assert ended.code == 1, ended.log
    assert "this machine's GPU, NVIDIA H100 (compute capability 9.0)" in (ended.failure or "")
    assert "Traceback" not in ended.log
    assert ended.model_files == set()


def test_a_driver_without_a_gpu_does_not_train_on_the_cpu_unasked(gpu_job: Job, tmp_path: Path):
    write_driver(tmp_path)
    write_nvidia_smi(tmp_path, "exit 6")
    ended = gpu_job.run("train")
    assert ended.code == 1, ended.log
    assert "nvidia-smi finds no GPU on this machine" in (ended.failure or "")
