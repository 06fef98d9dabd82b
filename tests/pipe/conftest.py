"""Fixtures of Pipe mode."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from feeding import Feeders
from stream_channel import Channel


@pytest.fixture
def feeders(tmp_path: Path) -> Iterator[Feeders]:
    made = Feeders(tmp_path)
    yield made
    made.end()


@pytest.fixture
def channel(tmp_path: Path, feeders: Feeders) -> Channel:
    return Channel(tmp_path, feeders)
