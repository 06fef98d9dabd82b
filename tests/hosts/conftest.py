"""Fixtures of jobs on several hosts."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster_runner import Hosts
from cluster_runner import make_hosts as make


@pytest.fixture
def make_hosts(tmp_path: Path) -> Iterator[Callable[..., Hosts]]:
    """Make a job on several hosts: make_hosts(2, epochs="1"); whatever still runs at the end is killed."""
    made: list[Hosts] = []

    def begin(count: int, *options: str, **hyperparameters: str | None) -> Hosts:
        made.append(make(tmp_path / f"job-{len(made)}", count, *options, **hyperparameters))
        return made[-1]

    yield begin
    for hosts in made:
        hosts.clean_up()
