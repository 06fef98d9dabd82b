"""What the worker and its supervisor say to one another, on a real socket."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from threading import Thread

import pytest

from sagemaker_ssd.collectives import ProcessGroup, SupervisorSocket

HOSTS = ("algo-1", "algo-2")


@pytest.fixture
def ends() -> Iterator[tuple[SupervisorSocket, socket.socket]]:
    theirs, ours = socket.socketpair()
    ours.settimeout(10)
    supervisor = SupervisorSocket(theirs.detach())
    yield supervisor, ours
    ours.close()


def lines(ours: socket.socket, count: int) -> list[dict]:
    with ours.makefile("rb") as source:
        return [json.loads(source.readline()) for _ in range(count)]


def test_a_host_alone_has_its_own_value_and_says_that_it_goes_on(ends: tuple[SupervisorSocket, socket.socket]):
    supervisor, ours = ends
    group = ProcessGroup(supervisor, ("algo-1",), "algo-1", timeout=5)
    assert group.all_gather("images", 7) == [7]
    assert group.broadcast("end", True) is True
    group.report_progress("a batch")
    # Nobody is waited for: what it uses shows that it goes on.
    assert lines(ours, 3) == [
        {"progress": "images", "within": 5, "busy": True},
        {"progress": "end", "within": 5, "busy": True},
        {"progress": "a batch", "within": 5},
    ]


def test_values_are_asked_for_by_name_and_come_in_the_order_of_the_hosts(ends: tuple[SupervisorSocket, socket.socket]):
    supervisor, ours = ends
    group = ProcessGroup(supervisor, HOSTS, "algo-2", timeout=5)
    assert (group.rank, group.is_first, group.several) == (1, False, True)
    heard: list[dict] = []

    def supervise() -> None:
        with ours.makefile("rb") as source:
            heard.extend(json.loads(source.readline()) for _ in range(2))
            ours.sendall(b'{"gathered": "images", "values": [3, 7]}\n')
            heard.append(json.loads(source.readline()))

    thread = Thread(target=supervise)
    thread.start()
    assert group.all_gather("images", 7) == [3, 7]
    thread.join()
    # While it waits for the others it owes no progress, and then it goes on by itself.
    assert heard == [
        {"progress": "images", "within": None},
        {"gather": "images", "value": 7},
        {"progress": "exchanging images", "within": 5, "busy": True},
    ]


def test_only_the_first_hosts_word_counts(ends: tuple[SupervisorSocket, socket.socket]):
    supervisor, ours = ends
    ours.sendall(b'{"gathered": "end", "values": [true, null]}\n')
    assert ProcessGroup(supervisor, HOSTS, "algo-2", timeout=5).broadcast("end", False) is True
    assert lines(ours, 2)[1] == {"gather": "end", "value": None}


def test_work_is_told_with_the_time_it_may_take(ends: tuple[SupervisorSocket, socket.socket]):
    supervisor, ours = ends
    group = ProcessGroup(supervisor, HOSTS, "algo-1", timeout=5)
    group.report_progress("epoch 0, batch 1 of 2")
    group.report_progress("connecting", timeout=120, variable="SECONDS")
    group.report_progress("saving", alone=True)
    assert lines(ours, 3) == [
        {"progress": "epoch 0, batch 1 of 2", "within": 5},
        {"progress": "connecting", "within": 120, "variable": "SECONDS"},
        {"progress": "saving", "within": 5, "busy": True},
    ]


def test_a_worker_does_not_outlive_the_other_end():
    program = (
        "import socket; from sagemaker_ssd.collectives import ProcessGroup, SupervisorSocket; "
        "a, b = socket.socketpair(); b.close();"
        "ProcessGroup(SupervisorSocket(a.detach()), ('a', 'b'), 'a', 5).all_gather('x', 1); print('went on')"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
