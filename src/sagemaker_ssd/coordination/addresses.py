"""Addresses of a job's hosts, whose names DNS resolves (perhaps only after a while) or which are IPv4 addresses."""

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections.abc import Sequence
from typing import Final

_RESOLVE_SECONDS: Final = 5.0
_PORTS_TRIED: Final = 100


def is_address(name: str) -> bool:
    """Say whether a host's name is an IPv4 address."""
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


async def resolve(name: str, seconds: float = _RESOLVE_SECONDS) -> str | None:
    """Return a host's IPv4 address, None when there is none (yet) or the resolver takes longer than `seconds`."""
    if is_address(name):
        return name
    loop = asyncio.get_running_loop()
    found: asyncio.Future[str | None] = loop.create_future()

    def look_up() -> None:
        address = _look_up(name)
        # Nobody may wait any more, and the loop may be closed.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(lambda: None if found.done() else found.set_result(address))

    # Not the loop's executor: the interpreter joins its threads at exit, and a resolver can hang.
    threading.Thread(target=look_up, daemon=True).start()
    try:
        async with asyncio.timeout(seconds):
            return await found
    except TimeoutError:
        return None


def _look_up(name: str) -> str | None:
    try:
        return str(socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])
    # UnicodeError and ValueError: a name that cannot be one of DNS.
    except (OSError, ValueError):
        return None


async def own_address(name: str, others: Sequence[str]) -> tuple[str, str]:
    """Return this host's address on the network of the job and "", or "" and why it cannot be known yet.

    It is what its own name resolves to. Where that is a loopback address (Debian's /etc/hosts maps a machine's own name
    to 127.0.1.1), it is the address from which the system reaches another host, unless that is on this machine too.
    """
    address = await resolve(name)
    if address is None:
        return "", "its name does not resolve"
    if is_address(name) or not ipaddress.IPv4Address(address).is_loopback:
        return address, ""
    unreached: list[str] = []
    for other in others:
        reached = await resolve(other)
        if reached is None:
            continue
        source = _source(reached)
        if source is not None:
            return (address if ipaddress.IPv4Address(source).is_loopback else source), ""
        unreached.append(other if is_address(other) else f"{other} ({reached})")
    obstacle = f"this machine has no route to {', '.join(unreached)}" if unreached else "no other host's name resolves"
    return "", (
        f"its name resolves to {address}, a loopback address, and {obstacle}, by which its address on the network "
        "could be told"
    )


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


def free_port(address: str, ports: Sequence[int]) -> int | None:
    """Return the first of `ports` that a program can listen on at `address`, None without one."""
    for port in ports:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # zmq sets it too, so that connections of an earlier run in TIME_WAIT do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((address, port))
                return port
    return None
