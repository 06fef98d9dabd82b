"""Several containers as the hosts of one job: what happens to one of them is told by all."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from host_containers import HostContainers

from container_runner import Engine

pytestmark = pytest.mark.usefixtures("no_containers_left")
SOON_SECONDS = 60


@pytest.fixture
def hosts(no_containers_left: None, engine: Engine) -> Iterator[HostContainers]:
    made = HostContainers(engine)
    yield made
    made.clean_up()


@pytest.fixture
def trains(hosts: HostContainers, make_job: Callable[..., Path]) -> HostContainers:
    """Two hosts in the middle of a long job."""
    hosts.start(make_job(epochs="50", kv_store="dist_sync"), 2, SAGEMAKER_SSD_SILENCE_SECONDS="8")
    for name in ("algo-1", "algo-2"):
        hosts[name].until("Start training.")
    return hosts


def test_a_killed_host_is_missed_by_the_other(trains: HostContainers):
    trains["algo-2"].kill()
    ended = trains.end("algo-1", SOON_SECONDS)
    assert ended.code == 2, ended.log
    assert ended.failure is not None
    assert ended.failure.startswith("host algo-2")


def test_a_host_without_its_network_ends_like_the_other(trains: HostContainers):
    trains.cut("algo-2")
    first, second = (trains.end(name, SOON_SECONDS) for name in ("algo-1", "algo-2"))
    assert (first.code, second.code) == (2, 2), first.log + second.log
    assert first.failure is not None
    assert first.failure.startswith("host algo-2")
    assert second.failure is not None
    assert second.failure.startswith("host algo-1")
