"""The side of every other host: it finds the first one, tells it of its own end, and hears how the job ends."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

from sagemaker_ssd.link.approach import Approach
from sagemaker_ssd.link.board import Board, Meeting
from sagemaker_ssd.link.connection import Connection
from sagemaker_ssd.link.deadlines import Deadlines
from sagemaker_ssd.link.ending import Ending
from sagemaker_ssd.link.gathering import Answer, Answers
from sagemaker_ssd.link.greeting import Greeting
from sagemaker_ssd.link.losses import broken_off, never_met, silent
from sagemaker_ssd.link.messages import Message, decode_ending, encode, encode_ending
from sagemaker_ssd.link.silence import ticks

_log = logging.getLogger(__name__)
_FLUSH_SECONDS: Final = 1.0
# After SIGTERM a container has 10 seconds (docker stop).
_STOPPED_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.02


class Member:
    """All methods run in the link's thread."""

    def __init__(self, greeting: Greeting, deadlines: Deadlines, port: int, board: Board) -> None:
        self._here, self._first = greeting.host, greeting.hosts[0]
        self._deadlines, self._board = deadlines, board
        self._approach = Approach(greeting, port, self._come_in, self._judge)
        self._connection: Connection | None = None
        self._problem = f"{self._first} has not been looked for yet"
        self._outbox: list[bytes] = []
        self._ending: Ending | None = None
        # Whether the first host can still say how the job ends, and whether it has.
        self._open, self._told = False, False
        self._answers = Answers()

    async def run(self) -> None:
        """Reach the first host and watch it, for ever."""
        await asyncio.gather(self._reach(), self._watch())

    def ask_to_stop(self) -> None:
        """Tell all hosts that this one was asked to stop."""
        self._board.stop()
        self._send(encode("stop"))

    def end(self, ending: Ending) -> None:
        """Take this host's own end."""
        self._ending = ending
        self._send(encode_ending("end", ending))
        self._settle_own()

    def fail(self, ending: Ending) -> None:
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
            self._board.meet(Meeting(connection.own_address, (address, port)))
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

    def _patience(self, ending: Ending) -> float:
        late = self._deadlines.late
        return late if ending.kind == "failed" and not self._board.stopping else min(late, _STOPPED_SECONDS)

    def _lose_sight(self, ending: Ending) -> None:
        # Should the first host wake, it reads why nobody is there.
        self._send(encode_ending("end", ending))
        self._open = False
        self._judge(ending)

    def _judge(self, ending: Ending) -> None:
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
