"""What can be known of the cards without one: kernels in the GPU wheel, and the memory that a step will need."""

import json
import subprocess
from pathlib import Path

from container_runner import Engine

HERE = Path(__file__).parent
LIBRARY = "/opt/sagemaker-ssd/lib/python3.11/site-packages/mxnet/libmxnet.so"
# What a card of 16 GB has, without a GiB for cuDNN's workspaces and the driver.
CARD_BYTES = 15 << 30


def in_container(engine: Engine, script: str, *arguments: str, options: tuple[str, ...] = ()) -> str:
    """Run one of the scripts here in the image's Python; return the last line that it prints."""
    command = ["docker", "run", "--rm", "--interactive", *options, "--entrypoint", "python3", engine.image, "-"]
    command += arguments
    done = subprocess.run(
        command, input=(HERE / script).read_text(), capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_the_wheel_has_a_gpu_kernel_for_every_operator_of_the_graphs(gpu_engine: Engine):
    assert in_container(gpu_engine, "gpu_kernels.py", LIBRARY) == "[]"


def test_the_documented_batches_fit_into_16_gb_by_the_plan_of_the_wheel(gpu_engine: Engine, driver: tuple[str, ...]):
    planned = json.loads(in_container(gpu_engine, "memory_plan.py", options=driver))
    for name, (documented, twice) in planned.items():
        assert documented < CARD_BYTES, (name, documented)
        # So that the limit above is one.
        assert name == "resnet-50" or twice > CARD_BYTES, (name, twice)
