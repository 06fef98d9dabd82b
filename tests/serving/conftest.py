"""A drawn model and servers of it."""

from pathlib import Path

import pytest

from drawn_channels import encoded, noise
from model_server import write_drawn_model


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An /opt/ml with a model as the platform unpacks it."""
    base = tmp_path_factory.mktemp("opt_ml")
    write_drawn_model(base / "model")
    return base


@pytest.fixture(scope="session")
def jpeg() -> bytes:
    return encoded(noise(1, (120, 80)), ".jpg")
