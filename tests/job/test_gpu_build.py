"""Jobs where the installed MXNet is the GPU image's, by its metadata: what is said before MXNet is imported."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gpu_machine import machine_variables
from job_runner import Job


@pytest.fixture
def job(make_job: Callable[..., Job]) -> Job:
    return make_job("--train", "1", "--validation", "1", epochs="1", mini_batch_size="1")


def test_without_a_driver_another_image_is_named(job: Job, tmp_path: Path):
    job.environment |= machine_variables(tmp_path / "machine", gpu_build=True)
    ended = job.run("train")
    assert ended.code == 1, ended.log
    assert ended.failure is not None
    assert ended.failure.startswith("this is the GPU image, and no NVIDIA driver was found (")
    assert "or use the CPU image, sagemaker-ssd:cpu" in ended.failure
    assert "built for GPUs" in ended.log
    assert not (ended.base / "model").exists()


def test_a_card_that_mxnet_cannot_use_is_named(job: Job, tmp_path: Path):
    there = {"gpus": 1, "card": "NVIDIA H100, 9.0", "driver": True}
    job.environment |= machine_variables(tmp_path / "machine", gpu_build=True, **there)
    ended = job.run("train")
    assert ended.code == 1, ended.log
    assert "this machine's GPU, NVIDIA H100 (compute capability 9.0)" in (ended.failure or "")
    assert "Traceback" not in ended.log
    assert ended.model_files == set()


def test_a_driver_without_a_gpu_does_not_train_on_the_cpu_unasked(job: Job, tmp_path: Path):
    job.environment |= machine_variables(tmp_path / "machine", driver=True, gpu_build=True)
    ended = job.run("train")
    assert ended.code == 1, ended.log
    assert "nvidia-smi finds no GPU on this machine" in (ended.failure or "")
