"""Where the first host lets the others in, and keeps strangers out.

Where the first host waits for the others.
"""

import asyncio
import errno
import logging
import os
from collections.abc import Callable, Collection
from typing import Final

from sagemaker_ssd.contract.environment import PORT_VARIABLE
from sagemaker_ssd.coordination.addresses import free_port, is_address, own_address, ports_above
from sagemaker_ssd.coordination.connection import Connection
from sagemaker_ssd.coordination.protocol import (
    Greeting,
    Message,
    Outcome,
    Refusal,
    compare,
    connected_already,
    decode_greeting,
    encode,
    encode_ending,
)

_log = logging.getLogger(__name__)
GREETING_SECONDS: Final = 10.0
_MOST_WAITING: Final = 64
_MOST_WARNINGS: Final = 50


class Listener:
    """Listens; hands greeted hosts to `admit`, and those that were turned away to `refused`."""

    def __init__(
        self,
        greeting: Greeting,
        connected: Collection[str],
        admit: Callable[[str, Connection], None],
        refused: Callable[[str, Refusal], None],
    ) -> None:
        self._greeting, self._connected, self._admit, self._refused = greeting, connected, admit, refused
        self._waiting: dict[Connection, float] = {}
        self._leaving: dict[Connection, float] = {}
        self._warnings = 0
        self._server: asyncio.Server | None = None

    async def open(self, address: str, port: int) -> None:
        """Listen; raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self._opened, self._greeted, self._lost), address, port, reuse_address=True
        )

    def close(self) -> None:
        """Listen no more, and put out who has not been let in."""
        if self._server is not None:
            self._server.close()
        for connection in [*self._waiting, *self._leaving]:
            connection.ended = lambda connection, reason: None
            connection.close()

    def step(self, seconds: float) -> None:
        """Let time pass: who does not greet, or does not leave, is put out."""
        for group in (self._waiting, self._leaving):
            for connection in list(group):
                group[connection] += seconds
                if group[connection] > GREETING_SECONDS:
                    connection.give_up(f"it has not said within {GREETING_SECONDS:g} seconds who it is")

    def _opened(self, connection: Connection) -> None:
        # A host greets at once, so the one that has waited longest is none.
        if len(self._waiting) >= _MOST_WAITING:
            next(iter(self._waiting)).give_up(f"{_MOST_WAITING} others wait too, and it has not said who it is")
        self._waiting[connection] = 0.0

    def _lost(self, connection: Connection, reason: str) -> None:
        del self._waiting[connection]
        self._warnings += 1
        if self._warnings <= _MOST_WARNINGS:
            last = " (further ones are not logged)" if self._warnings == _MOST_WARNINGS else ""
            _log.warning("A stranger at %s is no host of this job: %s%s", connection.other_side, reason, last)

    def _left(self, connection: Connection, reason: str) -> None:
        del self._leaving[connection]

    def _greeted(self, connection: Connection, message: Message) -> None:
        try:
            greeting, number = decode_greeting(message)
        except ValueError:
            connection.give_up("it sent something that is not the greeting of this program")
            return
        del self._waiting[connection]
        refusal = compare(self._greeting, greeting, number)
        if refusal is not None:
            self._turn_away(connection, greeting.host, refusal)
            return
        # It must still be there: this process may have slept, and a host that waits in vain tries again.
        connection.received = lambda connection, message: self._confirmed(greeting.host, connection)
        connection.ended = self._tried
        connection.send(encode("welcome"))
        self._waiting[connection] = 0.0

    def _confirmed(self, host: str, connection: Connection) -> None:
        del self._waiting[connection]
        if host in self._connected:
            self._turn_away(connection, host, connected_already(self._greeting.host, host))
        else:
            self._admit(host, connection)

    def _tried(self, connection: Connection, reason: str) -> None:
        del self._waiting[connection]

    def _turn_away(self, connection: Connection, host: str, refusal: Refusal) -> None:
        _log.warning("The host at %s is turned away: %s", connection.other_side, refusal.sentence)
        # The other side closes when it has read why: a socket closed with bytes unread would take that away from it.
        self._leaving[connection] = 0.0
        connection.received = lambda connection, message: None
        connection.ended = self._left
        connection.send(encode_ending("refusal", Outcome("failed", host, refusal.exit_code, refusal.sentence)))
        self._refused(host, refusal)


_RETRY_SECONDS: Final = 1.0


class MeetingPlace:
    """This host's own address, where the door is opened.

    address: "" until then. problem: what is in the way, "" when nothing is. hopeless: whether it can never be opened;
    `fail` was told why.
    """

    def __init__(self, greeting: Greeting, port: int, door: Listener, fail: Callable[[Outcome], None]) -> None:
        self._here, self._others = greeting.host, greeting.hosts[1:]
        self._port, self._door, self._fail = port, door, fail
        self.address, self.problem, self.hopeless = "", "", False

    async def open(self) -> None:
        """Find the address and listen there, however long it takes."""
        while True:
            address = await own_address(self._here, self._others)
            if address is None:
                self.problem = (
                    f"{self._here}, this host, finds no address of its own, because its name does not resolve"
                )
            else:
                await self._listen(address)
            if self.address or self.hopeless:
                return
            await asyncio.sleep(_RETRY_SECONDS)

    async def _listen(self, address: str) -> None:
        try:
            await self._door.open(address, self._port)
        except OSError as error:
            # A name can be known before the machine has the address.
            if error.errno == errno.EADDRNOTAVAIL and not is_address(self._here):
                self.problem = f"the name of {self._here}, this host, resolves to {address}, which it does not have"
                return
            self.hopeless = True
            reason = os.strerror(error.errno) if error.errno else str(error)
            self._fail_here(
                f"cannot wait for the other hosts at {address}, port {self._port}: {reason}. If another program uses "
                f"the port, set the environment variable {PORT_VARIABLE} to another one, the same on all hosts"
            )
        else:
            self.problem, self.address = "", address
            _log.info("Waiting at %s:%d for %s", address, self._port, ", ".join(self._others))

    def find_scheduler_port(self) -> int | None:
        """Return a port that is free for ps-lite's scheduler; None without one, which `fail` is told."""
        ports = ports_above(self._port)
        port = free_port(self.address, ports)
        if port is None:
            tried = f"none of the ports {ports[0]} to {ports[-1]} is free" if ports else "there is none"
            self._fail_here(
                f"MXNet's parameter server needs a port above {self._port} at {self.address}, and {tried}. Set the "
                f"environment variable {PORT_VARIABLE} to another one, the same on all hosts"
            )
        return port

    def _fail_here(self, sentence: str) -> None:
        self._fail(Outcome("failed", self._here, 1, sentence))
