"""Every other host's side of the link: it connects to the first one, reports its own outcome, and hears the verdict."""

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Final

from sagemaker_ssd.contract.environment import Deadlines
from sagemaker_ssd.coordination.addresses import Resolver, is_address
from sagemaker_ssd.coordination.connection import Connection, ticks, wait_while
from sagemaker_ssd.coordination.listener import HANDSHAKE_SECONDS
from sagemaker_ssd.coordination.lost_hosts import connection_lost, heartbeat_timeout, rendezvous_timeout
from sagemaker_ssd.coordination.protocol import (
    Handshake,
    Message,
    MessageKind,
    Outcome,
    decode_outcome,
    encode,
    encode_handshake,
    encode_outcome,
    longest_line,
)
from sagemaker_ssd.coordination.state import LinkState, Rendezvous

_log = logging.getLogger(__name__)
_CONNECT_SECONDS: Final = 5.0
_FLUSH_SECONDS: Final = 1.0
# After SIGTERM a container has 10 seconds (docker stop).
_STOPPING_SECONDS: Final = 5.0


class Participant:
    """All methods run in the link's thread; deliver: takes a name and all hosts' values of it, in their order."""

    def __init__(
        self,
        handshake: Handshake,
        deadlines: Deadlines,
        port: int,
        state: LinkState,
        deliver: Callable[[str, list[object]], None],
    ) -> None:
        self._handshake, self._port = handshake, port
        self._here, self._first = handshake.host, handshake.hosts[0]
        self._deadlines, self._state, self._deliver = deadlines, state, deliver
        self._connection: Connection | None = None
        # Why there is no connection yet, "" once there was one.
        self._problem = f"the address of {self._first} has not been found yet"
        self._resolver = Resolver()
        # What was said before there was one.
        self._outbox: list[bytes] = []
        self._outcome: Outcome | None = None
        # Whether the first host can still say how the job ends, and whether it has.
        self._first_responds, self._first_has_decided = False, False

    async def run(self) -> None:
        """Reach the first host and watch it, for ever."""
        await asyncio.gather(self._join(), self._watch())

    def request_stop(self) -> None:
        """Tell all hosts that this one was asked to stop."""
        self._state.set_stopping()
        self._send(encode(MessageKind.STOP))

    def report_outcome(self, outcome: Outcome) -> None:
        """Take this host's own outcome."""
        self._outcome = outcome
        self._send(encode_outcome(MessageKind.OUTCOME, outcome))
        self._end_with_own_failure()

    def fail(self, outcome: Outcome) -> None:
        """End the job for a reason that is no host's outcome."""
        self._send(encode_outcome(MessageKind.OUTCOME, outcome))
        self._state.set_verdict(outcome)

    def all_gather(self, name: str, value: object) -> None:
        """Give this host's value."""
        self._send(encode(MessageKind.GATHER, name=name, value=value))

    async def leave(self, seconds: float) -> None:
        """Leave when this host's own failure has been passed on to all, else after so long."""
        own = self._outcome is not None and self._outcome == self._state.verdict
        await wait_while(lambda: own and self._first_responds and not self._first_has_decided, seconds)
        if self._connection is not None:
            self._connection.ended = self._disconnected
            self._connection.close()
            await wait_while(lambda: self._connection is not None, _FLUSH_SECONDS)

    def _disconnected(self, connection: Connection, reason: str) -> None:
        self._connection, self._first_responds = None, False

    # Connecting to the first host

    async def _join(self) -> None:
        while self._state.verdict is None and self._problem:
            self._problem = await self._try_to_join()
            if self._problem:
                await asyncio.sleep(self._deadlines.beat)

    async def _try_to_join(self) -> str:
        """Connect and wait for an answer; return what stood in the way, "" when this host was admitted."""
        address, why_unknown = await self._resolver.resolve(self._first)
        if not address:
            return f"{self._first} is not reached, because {why_unknown}"
        place = f"{address}:{self._port}" + ("" if is_address(self._first) else f", the address of {self._first}")
        # Why this host was not admitted; "" when it was.
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        connection = Connection(
            lambda connection: connection.send(encode_handshake(self._handshake)),
            lambda connection, message: self._received_answer(connection, message, answer),
            lambda connection, reason: None if answer.done() else answer.set_result(reason),
        )
        admitted = False
        try:
            reason = await self._connect(connection, address)
            if reason:
                return f"nothing answers at {place} ({reason})"
            # Not by asyncio.timeout, which would cancel what is waited for.
            await asyncio.wait({answer}, timeout=HANDSHAKE_SECONDS)
            reason = answer.result() if answer.done() else f"no word in {HANDSHAKE_SECONDS:g} seconds"
            admitted = not reason
            return f"what answers at {place} does not let this host in ({reason})" if reason else ""
        finally:
            if not admitted:
                connection.abort("not let in")

    async def _connect(self, connection: Connection, address: str) -> str:
        """Connect; return what stood in the way, "" when nothing did."""
        # A host that is known by its address must come from there.
        own = (self._here, 0) if is_address(self._here) else None
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                loop = asyncio.get_running_loop()
                await loop.create_connection(lambda: connection, address, self._port, local_addr=own)
        except TimeoutError:
            return f"no answer in {_CONNECT_SECONDS:g} seconds"
        except OSError as error:
            return os.strerror(error.errno) if error.errno else str(error)
        return ""

    def _received_answer(self, connection: Connection, message: Message, answer: asyncio.Future[str]) -> None:
        if answer.done():
            return
        if message["kind"] == MessageKind.WELCOME:
            answer.set_result("")
            connection.send(encode(MessageKind.CONFIRMATION))
            _log.info("Connected to %s at %s", self._first, connection.peer)
            self._admitted(connection)
        elif message["kind"] == MessageKind.REJECTION:
            rejection = decode_outcome(message)
            answer.set_result(rejection.sentence)
            self._end(rejection)
        else:
            answer.set_result("it is not this program")

    def _admitted(self, connection: Connection) -> None:
        connection.received, connection.ended = self._received, self._lost
        connection.longest_line = longest_line(len(self._handshake.hosts))
        self._connection, self._first_responds = connection, True
        for line in self._outbox:
            connection.send(line)
        self._outbox.clear()
        self._end_with_own_failure()

    # Once there is a connection

    def _received(self, connection: Connection, message: Message) -> None:
        kind = message["kind"]
        if kind == MessageKind.RENDEZVOUS:
            address, port = message["scheduler"]
            self._state.set_rendezvous(Rendezvous(connection.own_address, (address, port)))
        elif kind == MessageKind.STOP:
            self._state.set_stopping()
        elif kind == MessageKind.GATHERED:
            self._deliver(message["name"], message["values"])
        elif kind == MessageKind.VERDICT:
            self._first_has_decided = True
            self._state.set_verdict(decode_outcome(message))
        elif kind == MessageKind.REJECTION:
            self._end(decode_outcome(message))
        elif kind != MessageKind.HEARTBEAT:
            connection.abort("it sent a message that is not known here")

    def _lost(self, connection: Connection, reason: str) -> None:
        self._disconnected(connection, reason)
        self._end(connection_lost(self._first, self._here, reason, stopping=self._state.stopping))

    async def _watch(self) -> None:
        heartbeat, limit = encode(MessageKind.HEARTBEAT), self._deadlines.silence
        waited = reported = waited_with_outcome = 0.0
        async for seconds in ticks(self._deadlines.beat):
            if self._connection is not None:
                self._connection.send(heartbeat)
                self._connection.silent_seconds += seconds
                within = min(limit, _STOPPING_SECONDS) if self._state.stopping else limit
                if self._connection.silent_seconds > within and self._state.verdict is None:
                    self._timed_out(heartbeat_timeout(self._first, self._here, within, stopping=self._state.stopping))
            elif self._state.verdict is None:
                waited += seconds
                waited_with_outcome += seconds if self._outcome is not None else 0
                if self._outcome is not None and waited_with_outcome > self._patience(self._outcome):
                    _log.warning("The other hosts could not be told: %s", self._problem)
                    self._state.set_verdict(self._outcome)
                elif waited > self._deadlines.hosts:
                    self._end(rendezvous_timeout(self._deadlines.hosts, self._problem))
                elif waited - reported > self._deadlines.report:
                    reported = waited
                    _log.info("Waiting for other hosts: %s", self._problem)

    def _patience(self, outcome: Outcome) -> float:
        """Return how long this host tries to tell the others of its outcome."""
        late = self._deadlines.late
        return late if outcome.kind == "failed" and not self._state.stopping else min(late, _STOPPING_SECONDS)

    def _timed_out(self, outcome: Outcome) -> None:
        # Should the first host wake, it reads why nobody is there.
        self._send(encode_outcome(MessageKind.OUTCOME, outcome))
        self._first_responds = False
        self._end(outcome)

    def _end(self, outcome: Outcome) -> None:
        """End the job with what this host has found out by itself; its own failure, if any, says more."""
        own = self._outcome
        self._state.set_verdict(own if own is not None and own.kind == "failed" else outcome)

    def _end_with_own_failure(self) -> None:
        # A failure while the job is stopping is none: the first host says how the job ends.
        own = self._outcome
        if own is not None and own.kind == "failed" and self._first_responds and not self._state.stopping:
            self._state.set_verdict(own)

    def _send(self, line: bytes) -> None:
        if self._connection is not None:
            self._connection.send(line)
        elif self._state.verdict is None:
            self._outbox.append(line)
