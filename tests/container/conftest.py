"""Fixtures for the containers of the CPU image."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from container_runner import TINY, Engine, draw, engine_fault

IMAGE = os.environ.get("IMAGE", "sagemaker-ssd:cpu")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if engine_fault(IMAGE, "image") is None:
        terminalreporter.section("image")
        for line in Engine(IMAGE).report():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session", autouse=True)
def engine_answers() -> None:
    """No test is skipped where Docker is missing: each fails with the sentence that says so."""
    fault = engine_fault(IMAGE, "image")
    if fault is not None:
        pytest.fail(fault, pytrace=False)


@pytest.fixture
def engine() -> Iterator[Engine]:
    """The engine; every container that a test started is removed after it."""
    used = Engine(IMAGE)
    yield used
    used.clean_up()


@pytest.fixture
def no_containers_left() -> Iterator[None]:
    """Fail when a test leaves a container or a network of its own behind, and remove them."""
    listing = (["docker", "ps", "--all", "--quiet"], ["docker", "network", "ls", "--quiet"])
    before = [set(subprocess.check_output(command, text=True).split()) for command in listing]
    yield
    after = [set(subprocess.check_output(command, text=True).split()) for command in listing]
    assert after == before


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., Path]:
    """Draw a tiny job and return its /opt/ml: make_job("--content", "recordio", epochs="1")."""

    def make(*options: str, **hyperparameters: str) -> Path:
        chosen = [part for name, value in hyperparameters.items() for part in ("--hyperparameter", f"{name}={value}")]
        draw(tmp_path / "opt_ml", *TINY, *options, *chosen)
        return tmp_path / "opt_ml"

    return make
