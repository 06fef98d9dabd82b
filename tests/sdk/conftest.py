"""Fixtures for the local mode of SageMaker's two SDKs, with the CPU image."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sdk_runner import LocalMode, engine_fault, local_mode

IMAGE = os.environ.get("IMAGE", "sagemaker-ssd:cpu")


def pytest_sessionstart() -> None:
    fault = engine_fault(IMAGE)
    if fault is not None:
        pytest.exit(fault, returncode=1)


@pytest.fixture
def image() -> str:
    return IMAGE


@pytest.fixture
def mode(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LocalMode]:
    """Local mode of the module's SDK_VERSION."""
    with local_mode(request.module.SDK_VERSION, IMAGE, tmp_path) as mode:
        yield mode


@pytest.fixture(scope="module")
def shared_mode(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMode]:
    """The same, for all tests of a module."""
    with local_mode(request.module.SDK_VERSION, IMAGE, tmp_path_factory.mktemp("shared")) as mode:
        yield mode
