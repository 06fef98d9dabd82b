"""Fixtures for the local mode of SageMaker's two SDKs, with the CPU image."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sdk_runner import HERE, HYPERPARAMETERS, ROOT, Ended, LocalMode, docker, engine_fault, make_environment

IMAGE = os.environ.get("IMAGE", "sagemaker-ssd:cpu")
CONTENT_TYPES = {"images": "image/jpeg", "recordio": "application/x-recordio"}
# Both SDKs join their containers to this network and leave it behind.
NETWORK = "sagemaker-local"


def pytest_sessionstart() -> None:
    fault = engine_fault(IMAGE)
    if fault is not None:
        pytest.exit(fault, returncode=1)


@pytest.fixture
def image() -> str:
    return IMAGE


@pytest.fixture
def train(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Ended]]:
    """Train with the SDK of the module's SDK_VERSION: train("recordio", epochs=2). All traces are removed after it."""
    version = request.module.SDK_VERSION
    mode = LocalMode(make_environment(version), HERE / f"train_with_v{version}.py", IMAGE, tmp_path)
    networks = docker("network", "ls", "--format", "{{.Name}}").split()

    def run(content: str = "images", hosts: int = 1, **hyperparameters: object) -> Ended:
        script = ROOT / "local_test" / "draw_sample.py"
        drawing = [sys.executable, script, tmp_path / "job", "--train", "4", "--validation", "2", "--content", content]
        subprocess.run(drawing, check=True, capture_output=True, timeout=60)
        data = tmp_path / "job" / "input" / "data"
        return mode.train(data, CONTENT_TYPES[content], json.dumps(HYPERPARAMETERS | hyperparameters), hosts)

    yield run
    mode.clean_up()
    if NETWORK not in networks:
        # Never made when the job did not come so far.
        subprocess.run(["docker", "network", "rm", NETWORK], capture_output=True, check=False)
