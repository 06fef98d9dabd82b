"""Fixtures of Pipe mode."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS / "data"), str(TESTS / "job")]

from feeding import Feeders  # noqa: E402
from stream_channel import Channel  # noqa: E402


@pytest.fixture
def feeders(tmp_path: Path) -> Iterator[Feeders]:
    made = Feeders(tmp_path)
    yield made
    made.end()


@pytest.fixture
def channel(tmp_path: Path, feeders: Feeders) -> Channel:
    return Channel(tmp_path, feeders)
