"""Addresses of a job's hosts, whose names DNS resolves (perhaps only after a while) or which are IPv4 addresses."""

import asyncio
import contextlib
import ipaddress
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_RESOLVE_SECONDS: Final = 5.0
# How long an address counts that was found.
_KEPT_SECONDS: Final = 10.0
# By these the resolver says that there is no address, and not that it could not find out.
_SAYS_NONE: Final = (socket.EAI_NONAME, socket.EAI_NODATA, socket.EAI_ADDRFAMILY)
_NO_ADDRESS: Final = "its name does not resolve"
_PORTS_TRIED: Final = 100


def is_address(name: str) -> bool:
    """Say whether a host's name is an IPv4 address."""
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


@dataclass
class _Lookup:
    """given: when somebody first had the answer."""

    began: float
    answer: asyncio.Future[tuple[str, str]]
    given: float | None = None

    @property
    def is_used_up(self) -> bool:
        if self.given is None:
            return False
        # A name may get its address at any moment.
        return not self.answer.result()[0] or time.monotonic() - self.given > _KEPT_SECONDS


class Resolver:
    """Finds the addresses of hosts; all methods run in one event loop.

    A lookup that takes longer than somebody waits for it goes on, and the next one who asks for the name waits for the
    same: where every lookup takes that long, a new one each time would never have an answer. An address that was found
    is kept for a moment, since who needs several names would otherwise never have all of them together.
    """

    def __init__(self) -> None:
        self._lookups: dict[str, _Lookup] = {}

    async def resolve(self, name: str, seconds: float = _RESOLVE_SECONDS) -> tuple[str, str]:
        """Return a host's IPv4 address and "", or "" and why there is none (yet); waits up to `seconds`."""
        if is_address(name):
            return name, ""
        lookup = self._lookup(name)
        # Not by asyncio.timeout, which would cancel what is waited for.
        await asyncio.wait({lookup.answer}, timeout=seconds)
        if not lookup.answer.done():
            waited = round(time.monotonic() - lookup.began, 1)
            return "", f"the resolver has not answered for its name in {waited:g} seconds"
        if lookup.given is None:
            lookup.given = time.monotonic()
        return lookup.answer.result()

    def _lookup(self, name: str) -> _Lookup:
        """Return the lookup under way, or the one whose answer still counts, or begin one."""
        lookup = self._lookups.get(name)
        if lookup is None or lookup.is_used_up:
            lookup = self._lookups[name] = _Lookup(time.monotonic(), _begin_lookup(name))
        return lookup

    async def own_address(self, name: str, others: Sequence[str]) -> tuple[str, str]:
        """Return this host's address on the network of the job and "", or "" and why it cannot be known yet.

        It is what its own name resolves to. Where that is a loopback address (Debian's /etc/hosts maps a machine's own
        name to 127.0.1.1), it is the address from which the system reaches another host, unless that is on this machine
        too.
        """
        address, why_unknown = await self.resolve(name)
        if not address:
            # Where lookups take long, the others' go on meanwhile: a loopback address needs them.
            for other in others:
                if not is_address(other):
                    self._lookup(other)
            return "", why_unknown
        if is_address(name) or not ipaddress.IPv4Address(address).is_loopback:
            return address, ""
        unknown: dict[str, str] = {}
        unreached: list[str] = []
        found = await asyncio.gather(*(self.resolve(other) for other in others))
        for other, (reached, why) in zip(others, found, strict=True):
            if not reached:
                unknown[other] = why
                continue
            source = _source(reached)
            if source is not None:
                return (address if ipaddress.IPv4Address(source).is_loopback else source), ""
            unreached.append(other if is_address(other) else f"{other} ({reached})")
        if unreached:
            obstacle = f"this machine has no route to {', '.join(unreached)}"
        elif set(unknown.values()) <= {_NO_ADDRESS}:
            obstacle = "no other host's name resolves"
        else:
            of_each = "; ".join(f"{other}: {why}" for other, why in unknown.items())
            obstacle = f"no other host's address is known ({of_each})"
        return "", (
            f"its name resolves to {address}, a loopback address, and {obstacle}, by which its address on the network "
            "could be told"
        )


def _begin_lookup(name: str) -> asyncio.Future[tuple[str, str]]:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[tuple[str, str]] = loop.create_future()

    def look_up() -> None:
        found = _look_up(name)
        # The loop may be closed.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(lambda: None if answer.done() else answer.set_result(found))

    # Not the loop's executor: the interpreter joins its threads at exit, and a resolver can hang.
    threading.Thread(target=look_up, daemon=True).start()
    return answer


def _look_up(name: str) -> tuple[str, str]:
    try:
        return _first_address(name, socket.AF_INET), ""
    except OSError as error:
        if error.errno not in _SAYS_NONE:
            return "", f"its name could not be looked up ({error.strerror or error})"
    # A name that cannot be one of DNS; UnicodeError is a ValueError.
    except ValueError:
        return "", _NO_ADDRESS
    try:
        _first_address(name, socket.AF_INET6)
    except (OSError, ValueError):
        return "", _NO_ADDRESS
    return "", "its name has IPv6 addresses only, and MXNet's parameter server needs an IPv4 address"


def _first_address(name: str, family: socket.AddressFamily) -> str:
    return str(socket.getaddrinfo(name, None, family, socket.SOCK_STREAM)[0][4][0])


def _source(address: str) -> str | None:
    """Return the address from which the system would send to `address`; sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])


def ports_above(port: int) -> range:
    """Return the ports that are tried for ps-lite's scheduler."""
    return range(port + 1, min(port + _PORTS_TRIED, 65_535) + 1)


def reserve_port(address: str, ports: Sequence[int]) -> socket.socket | None:
    """Return a socket that keeps the first free one of `ports` at `address` for ps-lite's scheduler, None without one.

    Until it is closed, no program takes the port by chance, though the scheduler, which sets SO_REUSEADDR as zmq does,
    can listen on it: it does so only many seconds later, once its process has imported MXNet.
    """
    for port in ports:
        reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            # Without the option, so that a port that another job has reserved is not free.
            reserved.bind((address, port))
        except OSError:
            reserved.close()
            continue
        # Linux lets both have the port if both have set the option and the first does not listen (socket(7)).
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return reserved
    return None
