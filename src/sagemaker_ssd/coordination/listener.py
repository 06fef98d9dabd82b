"""Where the first host waits for the others: finds its address, accepts connections, and checks who is there."""

import asyncio
import errno
import logging
import os
from collections.abc import Callable, Collection
from typing import Final

from sagemaker_ssd.contract.environment import PORT_VARIABLE
from sagemaker_ssd.coordination.addresses import Resolver, is_address
from sagemaker_ssd.coordination.connection import Connection
from sagemaker_ssd.coordination.protocol import (
    Handshake,
    Message,
    MessageKind,
    Outcome,
    Rejection,
    already_connected,
    check_handshake,
    decode_handshake,
    encode,
    encode_outcome,
)

_log = logging.getLogger(__name__)
HANDSHAKE_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 1.0
_MOST_PENDING: Final = 64
_MOST_WARNINGS: Final = 50


class Listener:
    """Hands the hosts that may take part to `admit`, and those that were turned away to `reject`.

    connected: the hosts that have been admitted and are still there.

    address: this host's own, "" until it listens there. problem: what is in the way, "" when nothing is. hopeless:
    whether it can never listen; `fail` was told why.
    """

    def __init__(
        self,
        handshake: Handshake,
        port: int,
        resolver: Resolver,
        connected: Collection[str],
        admit: Callable[[str, Connection], None],
        reject: Callable[[str, Rejection], None],
        fail: Callable[[Outcome], None],
    ) -> None:
        self._handshake, self._port, self._resolver, self._connected = handshake, port, resolver, connected
        self._admit, self._reject, self._fail = admit, reject, fail
        # A resolver can take longer than the job waits for its hosts.
        self.problem = f"{handshake.host}, this host, has not found its own address yet"
        self.address, self.hopeless = "", False
        self._server: asyncio.Server | None = None
        # The seconds that each connection has taken so far for its handshake, or for reading why it is rejected.
        self._pending: dict[Connection, float] = {}
        self._rejected: dict[Connection, float] = {}
        self._warnings = 0

    async def open(self) -> None:
        """Find the address and listen there, however long it takes."""
        here, others = self._handshake.host, self._handshake.hosts[1:]
        while True:
            address, why_unknown = await self._resolver.own_address(here, others)
            if address:
                await self._listen(address)
            else:
                self.problem = f"{here}, this host, finds no address of its own, because {why_unknown}"
            if self.address or self.hopeless:
                return
            await asyncio.sleep(_RETRY_SECONDS)

    async def _listen(self, address: str) -> None:
        here, others = self._handshake.host, self._handshake.hosts[1:]
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: Connection(self._accepted, self._received_handshake, self._pending_lost),
                address,
                self._port,
                reuse_address=True,
            )
        except OSError as error:
            # A name can be known before the machine has the address.
            if error.errno == errno.EADDRNOTAVAIL and not is_address(here):
                self.problem = f"the name of {here}, this host, resolves to {address}, which it does not have"
                return
            self.hopeless = True
            reason = os.strerror(error.errno) if error.errno else str(error)
            sentence = (
                f"cannot wait for the other hosts at {address}, port {self._port}: {reason}. If another program uses "
                f"the port, set the environment variable {PORT_VARIABLE} to another one, the same on all hosts"
            )
            self._fail(Outcome("failed", here, 1, sentence))
        else:
            self.problem, self.address = "", address
            _log.info("Waiting at %s:%d for %s", address, self._port, ", ".join(others))

    def tick(self, seconds: float) -> None:
        """Let time pass: who does not say who it is, or does not leave, is disconnected."""
        for connections in (self._pending, self._rejected):
            for connection in list(connections):
                connections[connection] += seconds
                if connections[connection] > HANDSHAKE_SECONDS:
                    connection.abort(f"it has not said within {HANDSHAKE_SECONDS:g} seconds who it is")

    def close(self) -> None:
        """Listen no more, and disconnect who has not been admitted."""
        if self._server is not None:
            self._server.close()
        for connection in [*self._pending, *self._rejected]:
            connection.ended = lambda connection, reason: None
            connection.close()

    def _accepted(self, connection: Connection) -> None:
        # A host sends its handshake at once, so the connection that has waited longest is none of a host.
        if len(self._pending) >= _MOST_PENDING:
            next(iter(self._pending)).abort(f"{_MOST_PENDING} others wait too, and it has not said who it is")
        self._pending[connection] = 0.0

    def _received_handshake(self, connection: Connection, message: Message) -> None:
        try:
            handshake, number = decode_handshake(message)
        except ValueError:
            connection.abort("it sent something that is not the greeting of this program")
            return
        del self._pending[connection]
        rejection = check_handshake(self._handshake, handshake, number)
        if rejection is not None:
            self._turn_away(connection, handshake.host, rejection)
            return
        # It must still be there: this process may have slept, and a host that waits in vain tries again.
        connection.received = lambda connection, message: self._confirmed(handshake.host, connection)
        connection.ended = self._unconfirmed_lost
        connection.send(encode(MessageKind.WELCOME))
        self._pending[connection] = 0.0

    def _confirmed(self, host: str, connection: Connection) -> None:
        del self._pending[connection]
        if host in self._connected:
            self._turn_away(connection, host, already_connected(self._handshake.host, host))
        else:
            self._admit(host, connection)

    def _turn_away(self, connection: Connection, host: str, rejection: Rejection) -> None:
        _log.warning("The host at %s is turned away: %s", connection.peer, rejection.sentence)
        # The other side closes when it has read why: a socket closed with bytes unread would take that away from it.
        self._rejected[connection] = 0.0
        connection.received = lambda connection, message: None
        connection.ended = self._rejected_lost
        outcome = Outcome("failed", host, rejection.exit_code, rejection.sentence)
        connection.send(encode_outcome(MessageKind.REJECTION, outcome))
        self._reject(host, rejection)

    def _pending_lost(self, connection: Connection, reason: str) -> None:
        del self._pending[connection]
        self._warnings += 1
        if self._warnings <= _MOST_WARNINGS:
            last = " (further ones are not logged)" if self._warnings == _MOST_WARNINGS else ""
            _log.warning("A stranger at %s is no host of this job: %s%s", connection.peer, reason, last)

    def _unconfirmed_lost(self, connection: Connection, reason: str) -> None:
        del self._pending[connection]

    def _rejected_lost(self, connection: Connection, reason: str) -> None:
        del self._rejected[connection]
