"""Names become addresses, a host finds its own, and a free port is found."""

import asyncio
import socket
import threading
import time

import pytest
from link_hosts import NAMELESS

from sagemaker_ssd.coordination.addresses import Resolver, is_address, ports_above, reserve_port

NONE = ("", "its name does not resolve")
SILENT = ("", "the resolver has not answered for its name in 0.3 seconds")


def resolve(name: str) -> tuple[str, str]:
    return asyncio.run(Resolver().resolve(name))


def own_address(name: str, others: list[str]) -> tuple[str, str]:
    return asyncio.run(Resolver().own_address(name, others))


def found(*addresses: str) -> list[tuple[object, ...]]:
    """Return what socket.getaddrinfo does."""
    return [(0, 0, 0, "", (address, 0)) for address in addresses]


def test_names_and_addresses():
    assert resolve("127.0.0.7") == ("127.0.0.7", "")
    assert resolve("localhost") == ("127.0.0.1", "")
    for name in ("", NAMELESS, "a" * 300, "nul\0", "ä" * 80):
        assert resolve(name) == NONE, name
    assert [is_address(name) for name in ("127.0.0.1", "1", "algo-1", "::1", "127.1")] == [True] + [False] * 4


def test_a_name_with_ipv6_addresses_alone_is_told_as_that(monkeypatch: pytest.MonkeyPatch):
    told = ("", "its name has IPv6 addresses only, and MXNet's parameter server needs an IPv4 address")
    assert resolve("::1") == told

    def look_up(name: str, port: None, family: int, kind: int) -> list[tuple[object, ...]]:
        if name == "algo-1" and family == socket.AF_INET6:
            return found("fd00::1")
        raise socket.gaierror(socket.EAI_NODATA, "No address associated with hostname")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert resolve("algo-1") == told
    assert resolve("algo-2") == NONE


def test_a_resolver_that_fails_has_not_said_that_there_is_no_address(monkeypatch: pytest.MonkeyPatch):
    def look_up(*_: object) -> list[tuple[object, ...]]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert resolve("algo-1") == ("", "its name could not be looked up (Temporary failure in name resolution)")


def test_a_resolver_that_hangs_costs_only_so_long_and_its_late_answer_is_used(monkeypatch: pytest.MonkeyPatch):
    answers, asked = {"algo-1": threading.Event(), "algo-2": threading.Event()}, []

    def look_up(name: str, *_: object) -> list[tuple[object, ...]]:
        asked.append(name)
        answers[name].wait(20)
        if asked.count(name) == 1 and name == "algo-2":
            raise OSError("out of files")
        return found(f"10.0.0.{len(asked)}")

    async def run() -> None:
        resolver = Resolver()
        began = time.monotonic()
        assert await resolver.resolve("algo-1", 0.3) == SILENT
        assert time.monotonic() - began < 1
        # Two who wait at once, of whom one gives up.
        slow = asyncio.create_task(resolver.resolve("algo-1", 20))
        assert (await resolver.resolve("algo-1", 0.1))[1].startswith("the resolver has not answered for its name in 0.")
        answers["algo-1"].set()
        assert await slow == ("10.0.0.1", "")
        assert asked == ["algo-1"], "one lookup, whoever waits"
        # An address counts for a moment longer.
        assert await resolver.resolve("algo-1", 20) == ("10.0.0.1", "")
        assert asked == ["algo-1"]
        # An answer that comes while nobody waits; after one without an address the next who comes asks anew.
        assert await resolver.resolve("algo-2", 0.3) == SILENT
        answers["algo-2"].set()
        await asyncio.sleep(0.3)
        assert await resolver.resolve("algo-2", 0.01) == ("", "its name could not be looked up (out of files)")
        assert await resolver.resolve("algo-2", 20) == ("10.0.0.3", "")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        asyncio.run(run())
    finally:
        for answer in answers.values():
            answer.set()


def test_an_own_address_is_taken_as_it_is():
    assert own_address("127.0.0.5", [NAMELESS]) == ("127.0.0.5", "")


def test_hosts_that_are_all_on_this_machine_meet_on_the_loopback():
    assert own_address("localhost", [NAMELESS, "127.0.0.2"]) == ("127.0.0.1", "")


@pytest.mark.parametrize(
    ("name", "others", "why"),
    [
        (NAMELESS, ["127.0.0.2"], "its name does not resolve"),
        (
            "localhost",
            [NAMELESS, "::1"],
            "its name resolves to 127.0.0.1, a loopback address, and no other host's address is known (algo..1: its "
            "name does not resolve; ::1: its name has IPv6 addresses only, and MXNet's parameter server needs an IPv4 "
            "address), by which its address on the network could be told",
        ),
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
    assert own_address(name, others) == ("", why)


def test_a_port_is_reserved():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.2", 0)) as elsewhere:
        taken, free = server.getsockname()[1], elsewhere.getsockname()[1]
        assert reserve_port("127.0.0.1", [taken]) is None
        first = reserve_port("127.0.0.1", [taken, free])
        assert first is not None
        with first:
            assert first.getsockname() == ("127.0.0.1", free)
            # Neither another job nor a program that asks for a port gets it.
            assert reserve_port("127.0.0.1", [taken, free]) is None
            with socket.socket() as program, pytest.raises(OSError, match="in use"):
                program.bind(("127.0.0.1", free))
            # The scheduler does, by zmq's option; create_server sets it.
            with socket.create_server(("127.0.0.1", free)) as scheduler:
                socket.create_connection(scheduler.getsockname()).close()
    assert reserve_port("192.0.2.1", range(20_000, 20_100)) is None


def test_ports_end_with_the_last():
    assert ports_above(9099) == range(9100, 9200)
    assert ports_above(65_500)[-1] == 65_535
    assert len(ports_above(65_535)) == 0
