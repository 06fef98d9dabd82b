"""Fixtures for the containers of the GPU image, on a machine without a GPU."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from container_runner import TINY, Engine, draw, engine_fault

IMAGE = os.environ.get("IMAGE", "sagemaker-ssd:gpu")
DRIVER_FUNCTIONS = {
    "cuDeviceGet", "cuDevicePrimaryCtxRetain", "cuGetErrorString", "cuGraphKernelNodeGetParams", "cuGraphNodeGetType",
    "cuLaunchKernel", "cuModuleGetFunction", "cuModuleLoadData", "cuModuleLoadDataEx", "cuModuleUnload",
}  # fmt: skip


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if engine_fault(IMAGE, "image-gpu") is None:
        engine = Engine(IMAGE)
        terminalreporter.section("image")
        for line in [*engine.report(), *engine.shell("cat /usr/share/doc/sagemaker-ssd/libraries.txt").splitlines()]:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session", autouse=True)
def engine_answers() -> None:
    """No test is skipped where Docker is missing: each fails with the sentence that says so."""
    fault = engine_fault(IMAGE, "image-gpu")
    if fault is not None:
        pytest.fail(fault, pytrace=False)


@pytest.fixture
def gpu_engine() -> Iterator[Engine]:
    """The engine; every container that a test started is removed after it."""
    used = Engine(IMAGE)
    yield used
    used.clean_up()


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """The /opt/ml of a tiny drawn job."""
    draw(tmp_path / "opt_ml", *TINY, "--hyperparameter", "epochs=1")
    return tmp_path / "opt_ml"


@pytest.fixture
def driver(tmp_path: Path) -> tuple[str, ...]:
    """Options that give a container a library in the driver's place, whose functions all find no GPU."""
    source = "".join(f"int {name}(void) {{ return 100; }}\n" for name in sorted(DRIVER_FUNCTIONS))
    library = tmp_path / "driver" / "libcuda.so.1"
    library.parent.mkdir()
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", library], input=source, text=True, check=True)
    return ("--volume", f"{library.parent}:/driver:ro", "--env", "LD_LIBRARY_PATH=/driver")
