"""Where a server detects: CPU and GPU builds, by their metadata, on machines with GPUs and without."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from gpu_environment import make_environment
from gpu_machine import machine_variables
from model_server import ROOT, ModelServer

NO_DRIVER = "is the GPU image, and no NVIDIA driver was found ("


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose environment has the GPU image's stand-in for the driver."""
    checkout = tmp_path / "checkout"
    make_environment(checkout / ".venv").touch()
    # `train` starts no environment that has the program of another folder.
    (checkout / "src").symlink_to(ROOT / "src")
    for program in ("train", "serve"):
        shutil.copy(ROOT / program, checkout)
    return checkout


def loader_path(process: int) -> str:
    variables = Path(f"/proc/{process}/environ").read_text().split("\0")
    return dict(variable.partition("=")[::2] for variable in variables)["LD_LIBRARY_PATH"]


def end_of(server: ModelServer) -> str:
    """Return what `serve` says, when it ends without having served."""
    server.wait_for_line("ERROR")
    sentence = server.ping().sentence
    assert server.wait(10) == 1
    assert "Traceback" not in server.log
    assert not server.children()
    return sentence


def test_the_cpu_build_detects_beside_gpus_and_says_so(base: Path, tmp_path: Path):
    with ModelServer(base, machine_variables(tmp_path, gpus=4)) as server:
        server.wait_until_ready()
        assert server.log.count("WARNING") == 1
        assert "The machine has 4 GPU(s), but this is the CPU image: detecting on the CPU. Choose the GPU" in server.log


@pytest.mark.long
def test_the_cpu_build_detects_where_nobody_counts_the_gpus(base: Path, tmp_path: Path):
    environment = machine_variables(tmp_path)
    (Path(environment["PATH"].partition(":")[0]) / "nvidia-smi").write_text("#!/bin/sh\nexec sleep 60\n")
    with ModelServer(base, environment) as server:
        server.wait_until_ready()
        assert "Whether this machine has GPUs was not found out: nvidia-smi gave no answer in 20 seconds" in server.log


def test_the_gpu_image_without_a_driver_detects_on_the_processors(
    base: Path, tmp_path: Path, checkout: Path, jpeg: bytes
):
    environment = machine_variables(tmp_path, gpu_build=True)
    with ModelServer(base, environment | {"SAGEMAKER_MODEL_SERVER_WORKERS": "2"}, checkout / "serve") as server:
        server.wait_until_ready()
        assert server.invoke(jpeg).status == 200
        assert NO_DRIVER in server.log
        assert "detecting on the processors, as the CPU image does. Where a GPU was meant, choose an" in server.log
        assert "of the families ml.p3, ml.g4dn, " in server.log
        assert "`docker run --gpus all`" in server.log
        # None of them has a GPU.
        children = server.children()
        assert len(children) == 2
        assert not [child for child in children if b"--gpu" in Path(f"/proc/{child}/cmdline").read_bytes()]
        stand_in = checkout / ".venv" / "lib" / "driver-stand-in"
        found = environment["LD_LIBRARY_PATH"]
        assert {loader_path(child) for child in children} == {f"{stand_in}:{found}"}
        assert loader_path(server.process.pid) == found


def test_the_gpu_image_hosts_several_models_without_a_gpu(base: Path, tmp_path: Path, checkout: Path, jpeg: bytes):
    environment = machine_variables(tmp_path, gpu_build=True) | {"SAGEMAKER_MULTI_MODEL": "true"}
    with ModelServer(base, environment, checkout / "serve") as server:
        server.wait_until_ready()
        assert server.load("a", base / "model").status == 200
        assert server.invoke_model("a", jpeg).status == 200
        # No GPU can have been meant.
        assert "No GPU was found, and several models need none: detecting on the processors" in server.log
        assert "WARNING" not in server.log


REFUSED: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "a GPU beside a driver that cannot be loaded": (
        {"gpus": 1},
        {},
        "this is the GPU image, and nvidia-smi lists 1 GPU(s), but the NVIDIA driver cannot be loaded (",
    ),
    "a driver without a GPU": ({"driver": True}, {}, "this is the GPU image, and nvidia-smi finds no GPU"),
    "a card that is too new": (
        {"gpus": 1, "driver": True, "card": "NVIDIA H100, 9.0"},
        {},
        "MXNet 1.9.1 cannot use this machine's GPU, NVIDIA H100 (compute capability 9.0)",
    ),
    "several models beside a GPU": (
        {"gpus": 1},
        {"SAGEMAKER_MULTI_MODEL": "true"},
        "choose an instance type without a GPU, on which the GPU image hosts too, or an endpoint for each model",
    ),
}


@pytest.mark.parametrize("row", REFUSED)
def test_what_the_gpu_image_does_not_do_on_the_processors(base: Path, tmp_path: Path, checkout: Path, row: str):
    there, variables, sentence = REFUSED[row]
    with ModelServer(
        base, machine_variables(tmp_path, gpu_build=True, **there) | variables, checkout / "serve"
    ) as server:
        told = end_of(server)
        assert sentence in told
        assert "use the CPU image, sagemaker-ssd:cpu" in told or variables


def test_a_gpu_build_without_a_driver_and_without_its_stand_in_says_what_to_use(base: Path, tmp_path: Path):
    with ModelServer(base, machine_variables(tmp_path, gpu_build=True)) as server:
        told = end_of(server)
        assert NO_DRIVER in told
        assert told.endswith("or use the CPU image, sagemaker-ssd:cpu")
