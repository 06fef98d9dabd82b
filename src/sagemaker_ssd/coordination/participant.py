"""How every other host reaches the first one.

The side of every other host: it finds the first one, tells it of its own end, and hears how the job ends.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from typing import Final

from sagemaker_ssd.contract.environment import Deadlines
from sagemaker_ssd.coordination.addresses import is_address, resolve
from sagemaker_ssd.coordination.connection import Connection
from sagemaker_ssd.coordination.listener import GREETING_SECONDS
from sagemaker_ssd.coordination.lost_hosts import broken_off, never_met, silent, ticks
from sagemaker_ssd.coordination.protocol import (
    Greeting,
    Message,
    Outcome,
    decode_ending,
    encode,
    encode_ending,
    encode_greeting,
)
from sagemaker_ssd.coordination.state import Answer, LinkState, PendingGathers, Rendezvous

_log = logging.getLogger(__name__)
_CONNECT_SECONDS: Final = 5.0


class Approach:
    """Hands the connection to `admitted` when the first host has let this one in, a refusal to `refused`."""

    def __init__(
        self,
        greeting: Greeting,
        port: int,
        admitted: Callable[[Connection], None],
        refused: Callable[[Outcome], None],
    ) -> None:
        self._greeting, self._port = greeting, port
        self._first, self._here = greeting.hosts[0], greeting.host
        self._admitted, self._refused = admitted, refused

    async def attempt(self) -> str:
        """Try once; return what stood in the way, "" when this host was let in."""
        address = await resolve(self._first)
        if address is None:
            return f"{self._first} is not reached, because its name does not resolve"
        place = f"{address}:{self._port}" + ("" if is_address(self._first) else f", the address of {self._first}")
        # Why there was no answer; "" when this host was let in.
        answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        connection = Connection(
            lambda connection: connection.send(encode_greeting(self._greeting)),
            lambda connection, message: self._take(connection, message, answered),
            lambda connection, reason: None if answered.done() else answered.set_result(reason),
        )
        admitted = False
        try:
            reason = await self._connect(connection, address)
            if reason:
                return f"nothing answers at {place} ({reason})"
            reason = await self._answer(answered)
            admitted = not reason
            return f"what answers at {place} does not let this host in ({reason})" if reason else ""
        finally:
            if not admitted:
                connection.give_up("not let in")

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

    async def _answer(self, answered: asyncio.Future[str]) -> str:
        # Not by asyncio.timeout, which would cancel what is waited for.
        await asyncio.wait({answered}, timeout=GREETING_SECONDS)
        return answered.result() if answered.done() else f"no word in {GREETING_SECONDS:g} seconds"

    def _take(self, connection: Connection, message: Message, answered: asyncio.Future[str]) -> None:
        if answered.done():
            return
        if message["kind"] == "welcome":
            answered.set_result("")
            connection.send(encode("here"))
            _log.info("Connected to %s at %s", self._first, connection.other_side)
            self._admitted(connection)
        elif message["kind"] == "refusal":
            refusal = decode_ending(message)
            answered.set_result(refusal.sentence)
            self._refused(refusal)
        else:
            answered.set_result("it is not this program")


_FLUSH_SECONDS: Final = 1.0
# After SIGTERM a container has 10 seconds (docker stop).
_STOPPED_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.02


class Participant:
    """All methods run in the link's thread."""

    def __init__(self, greeting: Greeting, deadlines: Deadlines, port: int, board: LinkState) -> None:
        self._here, self._first = greeting.host, greeting.hosts[0]
        self._deadlines, self._board = deadlines, board
        self._approach = Approach(greeting, port, self._come_in, self._judge)
        self._connection: Connection | None = None
        self._problem = f"{self._first} has not been looked for yet"
        self._outbox: list[bytes] = []
        self._ending: Outcome | None = None
        # Whether the first host can still say how the job ends, and whether it has.
        self._open, self._told = False, False
        self._answers = PendingGathers()

    async def run(self) -> None:
        """Reach the first host and watch it, for ever."""
        await asyncio.gather(self._reach(), self._watch())

    def ask_to_stop(self) -> None:
        """Tell all hosts that this one was asked to stop."""
        self._board.stop()
        self._send(encode("stop"))

    def end(self, ending: Outcome) -> None:
        """Take this host's own end."""
        self._ending = ending
        self._send(encode_ending("end", ending))
        self._settle_own()

    def fail(self, ending: Outcome) -> None:
        """End the job for a reason that is no host's ending."""
        self._send(encode_ending("end", ending))
        self._board.settle(ending)

    def gather(self, name: str, value: object, answer: Answer) -> None:
        """Give this host's value."""
        self._answers.expect(name, answer)
        self._send(encode("give", name=name, value=value))

    async def leave(self, seconds: float) -> None:
        """Leave when this host's own failure has been passed on to all, else after so long."""
        own = self._ending is not None and self._ending == self._board.verdict
        await self._wait_while(lambda: own and self._open and not self._told, seconds)
        if self._connection is not None:
            self._connection.ended = self._forget
            self._connection.close()
            await self._wait_while(lambda: self._connection is not None, _FLUSH_SECONDS)

    def _forget(self, connection: Connection, reason: str) -> None:
        self._connection, self._open = None, False

    async def _reach(self) -> None:
        while self._board.verdict is None and self._problem:
            self._problem = await self._approach.attempt()
            if self._problem:
                await asyncio.sleep(self._deadlines.beat)

    def _come_in(self, connection: Connection) -> None:
        connection.received, connection.ended = self._received, self._lost
        self._connection, self._open = connection, True
        for line in self._outbox:
            connection.send(line)
        self._outbox.clear()
        self._settle_own()

    def _received(self, connection: Connection, message: Message) -> None:
        kind = message["kind"]
        if kind == "meeting":
            address, port = message["scheduler"]
            self._board.meet(Rendezvous(connection.own_address, (address, port)))
        elif kind == "stop":
            self._board.stop()
        elif kind == "gathered":
            asyncio.get_running_loop().call_soon(self._answers.take(message["name"]), message["values"])
        elif kind == "verdict":
            self._told = True
            self._board.settle(decode_ending(message))
        elif kind == "refusal":
            self._judge(decode_ending(message))
        elif kind != "beat":
            connection.give_up("it sent a message that is not known here")

    def _lost(self, connection: Connection, reason: str) -> None:
        self._forget(connection, reason)
        self._judge(broken_off(self._first, self._here, reason, stopping=self._board.stopping))

    async def _watch(self) -> None:
        beat, limit = encode("beat"), self._deadlines.silence
        waited = reported = ended = 0.0
        async for seconds in ticks(self._deadlines.beat):
            if self._connection is not None:
                self._connection.send(beat)
                self._connection.quiet += seconds
                within = min(limit, _STOPPED_SECONDS) if self._board.stopping else limit
                if self._connection.quiet > within and self._board.verdict is None:
                    self._lose_sight(silent(self._first, self._here, within, stopping=self._board.stopping))
            elif self._board.verdict is None:
                waited += seconds
                ended += seconds if self._ending is not None else 0
                if self._ending is not None and ended > self._patience(self._ending):
                    _log.warning("The other hosts could not be told: %s", self._problem)
                    self._board.settle(self._ending)
                elif waited > self._deadlines.hosts:
                    self._judge(never_met(self._deadlines.hosts, self._problem))
                elif waited - reported > self._deadlines.report:
                    reported = waited
                    _log.info("Waiting for other hosts: %s", self._problem)

    def _patience(self, ending: Outcome) -> float:
        late = self._deadlines.late
        return late if ending.kind == "failed" and not self._board.stopping else min(late, _STOPPED_SECONDS)

    def _lose_sight(self, ending: Outcome) -> None:
        # Should the first host wake, it reads why nobody is there.
        self._send(encode_ending("end", ending))
        self._open = False
        self._judge(ending)

    def _judge(self, ending: Outcome) -> None:
        """Settle what this host has found out by itself; its own failure, if any, says more."""
        own = self._ending
        self._board.settle(own if own is not None and own.kind == "failed" else ending)

    def _settle_own(self) -> None:
        # A failure while the job is stopping is none: the first host says how the job ends.
        own = self._ending
        if own is not None and own.kind == "failed" and self._open and not self._board.stopping:
            self._board.settle(own)

    def _send(self, line: bytes) -> None:
        if self._connection is not None:
            self._connection.send(line)
        elif self._board.verdict is None:
            self._outbox.append(line)

    async def _wait_while(self, condition: Callable[[], bool], seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while condition():
                    await asyncio.sleep(_LOOK_SECONDS)
