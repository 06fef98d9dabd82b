"""Names become addresses, a host finds its own, and a free port is found."""

import asyncio
import socket
import threading
import time

import pytest
from link_hosts import NAMELESS

from sagemaker_ssd.coordination.addresses import free_port, is_address, own_address, ports_above, resolve


def test_names_and_addresses():
    assert asyncio.run(resolve("127.0.0.7")) == "127.0.0.7"
    assert asyncio.run(resolve("localhost")) == "127.0.0.1"
    for name in ("no-such-host.invalid", "", "algo..1", "a" * 300, "nul\0", "ä" * 80):
        assert asyncio.run(resolve(name)) is None, name
    assert [is_address(name) for name in ("127.0.0.1", "1", "algo-1", "::1", "127.1")] == [True] + [False] * 4


def test_a_resolver_that_hangs_costs_only_so_long(monkeypatch: pytest.MonkeyPatch):
    answer = threading.Event()
    late = [(0, 0, 0, "", ("10.0.0.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: late if answer.wait(20) else [])
    began = time.monotonic()
    try:
        assert asyncio.run(resolve("algo-1", 0.3)) is None
        assert time.monotonic() - began < 1
    finally:
        answer.set()


def test_an_own_address_is_taken_as_it_is():
    assert asyncio.run(own_address("127.0.0.5", [NAMELESS])) == ("127.0.0.5", "")


def test_hosts_that_are_all_on_this_machine_meet_on_the_loopback():
    assert asyncio.run(own_address("localhost", [NAMELESS, "127.0.0.2"])) == ("127.0.0.1", "")


@pytest.mark.parametrize(
    ("name", "others", "why"),
    [
        (NAMELESS, ["127.0.0.2"], "its name does not resolve"),
        (
            "localhost",
            [NAMELESS, NAMELESS],
            "its name resolves to 127.0.0.1, a loopback address, and no other host's name resolves, by which its "
            "address on the network could be told",
        ),
        # The system sends nothing to all of a network unless a program asks for that.
        (
            "localhost",
            [NAMELESS, "255.255.255.255"],
            "its name resolves to 127.0.0.1, a loopback address, and this machine has no route to 255.255.255.255, by "
            "which its address on the network could be told",
        ),
    ],
)
def test_an_address_that_is_not_known_yet_has_a_reason(name: str, others: list[str], why: str):
    assert asyncio.run(own_address(name, others)) == ("", why)


def test_a_free_port():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.2", 0)) as elsewhere:
        port = server.getsockname()[1]
        assert free_port("127.0.0.1", [port]) is None
        other = elsewhere.getsockname()[1]
        assert free_port("127.0.0.1", [port, other]) == other
    assert free_port("192.0.2.1", range(20_000, 20_100)) is None


def test_ports_end_with_the_last():
    assert ports_above(9099) == range(9100, 9200)
    assert ports_above(65_500)[-1] == 65_535
    assert len(ports_above(65_535)) == 0
