"""The first host's side of the link: it knows of all hosts, decides, and tells them."""

import asyncio
import contextlib
import logging
from typing import Final

from sagemaker_ssd.contract.environment import Deadlines
from sagemaker_ssd.coordination.connection import Connection
from sagemaker_ssd.coordination.listener import Listener, MeetingPlace
from sagemaker_ssd.coordination.lost_hosts import broken_off, describe_missing, never_met, silent, ticks
from sagemaker_ssd.coordination.protocol import (
    Greeting,
    Message,
    Outcome,
    Refusal,
    decode_ending,
    encode,
    encode_ending,
)
from sagemaker_ssd.coordination.state import Answer, GatherRounds, LinkState, PendingGathers, Rendezvous
from sagemaker_ssd.coordination.verdict import Verdict

_log = logging.getLogger(__name__)
_LOOK_SECONDS: Final = 0.02
# After a stop, for hosts that come a moment later; a container has 10 seconds in all.
_STOPPED_SECONDS: Final = 3.0


class Coordinator:
    """All methods run in the link's thread."""

    def __init__(self, greeting: Greeting, deadlines: Deadlines, port: int, board: LinkState) -> None:
        self._here, self._hosts = greeting.host, greeting.hosts
        self._deadlines, self._board = deadlines, board
        self._peers: dict[str, Connection] = {}
        # Hosts that have been here, or were told why they could not come, and are gone.
        self._gone: set[str] = set()
        self._refused: dict[str, str] = {}
        self._settlement = Verdict(greeting.hosts, deadlines.stop)
        self._gathering, self._answers = GatherRounds(greeting.hosts), PendingGathers()
        self._door = Listener(greeting, self._peers.keys(), self._admit, self._turned_away)
        self._place = MeetingPlace(greeting, port, self._door, self.fail)
        # Whether the hosts have had all their time to come.
        self._waited = False
        # Whether it was asked to stop, perhaps while it was about to leave.
        self._hurry = False

    async def run(self) -> None:
        """Let the hosts in and watch them, for ever."""
        await asyncio.gather(self._place.open(), self._wait_for_all(), self._watch())

    def ask_to_stop(self) -> None:
        """Tell all hosts that this one was asked to stop."""
        self._hurry = True
        self._settlement.ask_to_stop()
        self._publish()

    def end(self, ending: Outcome) -> None:
        """Take this host's own end."""
        self._settlement.ended(self._here, ending)
        self._publish()

    def fail(self, ending: Outcome) -> None:
        """End the job for a reason that is no host's ending."""
        self._settlement.fail(ending)
        self._publish()

    def gather(self, name: str, value: object, answer: Answer) -> None:
        """Take this host's own value."""
        self._answers.expect(name, answer)
        self._give(self._here, name, value)

    async def leave(self, seconds: float) -> None:
        """Stay until every host has been told the verdict and has gone, else for so long; longer for late hosts."""
        verdict = self._board.verdict
        if verdict is not None:
            if verdict.exit_code and self._some_may_come():
                await self._stay(_STOPPED_SECONDS if self._board.stopping else self._deadlines.late, late=True)
            await self._stay(seconds, late=False)
        if self._peers:
            _log.warning("Left before these hosts did: %s", ", ".join(self._peers))
        self._door.close()
        for connection in self._peers.values():
            connection.ended = lambda connection, reason: None
            connection.close()

    def _awake(self) -> list[str]:
        """Name the hosts that can still hear: one that is paused or cut off may be so for ever."""
        return [host for host, peer in self._peers.items() if peer.quiet < 3 * self._deadlines.beat]

    def _leaves_at_once(self) -> bool:
        return self._hurry and not self._board.stopping

    def _some_may_come(self) -> bool:
        return not (self._board.meeting or self._waited or self._place.hopeless)

    async def _stay(self, seconds: float, *, late: bool) -> None:
        others = set(self._hosts[1:])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._awake() or (late and not others <= self._gone and not self._leaves_at_once()):
                    await asyncio.sleep(_LOOK_SECONDS)

    async def _wait_for_all(self) -> None:
        waited = reported = 0.0
        async for seconds in ticks(self._deadlines.beat):
            if self._board.meeting or self._board.verdict:
                return
            waited += seconds
            over = waited > self._deadlines.hosts and not self._board.stopping
            if over or waited - reported > self._deadlines.report:
                reported = waited
                missing = [host for host in self._hosts[1:] if host not in self._peers]
                known = await describe_missing(missing, self._refused)
                known = f"{self._place.problem}; {known}" if self._place.problem else known
                if over and self._board.meeting is None:
                    self._waited = True
                    self.fail(never_met(self._deadlines.hosts, known))
                else:
                    _log.info("Waiting for other hosts: %s", known)

    async def _watch(self) -> None:
        beat, limit = encode("beat"), self._deadlines.silence
        async for seconds in ticks(self._deadlines.beat):
            self._door.step(seconds)
            self._settlement.step(seconds)
            for host, connection in self._peers.items():
                connection.send(beat)
                connection.quiet += seconds
                if connection.quiet > limit:
                    # It stays connected: should it wake, it reads the verdict.
                    self._settlement.ended(host, silent(host, self._here, limit))
            self._publish()

    def _admit(self, host: str, connection: Connection) -> None:
        connection.received = lambda connection, message: self._received(host, connection, message)
        connection.ended = lambda connection, reason: self._lost(host, reason)
        self._peers[host] = connection
        self._settlement.arrived(host)
        if self._board.stopping:
            connection.send(encode("stop"))
        if self._board.verdict is not None:
            connection.send(encode_ending("verdict", self._board.verdict))
        elif len(self._peers) == len(self._hosts) - 1:
            self._meet()

    def _meet(self) -> None:
        port = self._place.find_scheduler_port()
        if port is not None:
            address = self._place.address
            self._board.meet(Rendezvous(address, (address, port)))
            self._tell(encode("meeting", scheduler=[address, port]))

    def _turned_away(self, host: str, refusal: Refusal) -> None:
        if host in self._hosts:
            self._refused[host] = refusal.sentence
        # What is wrong with a stray does not concern a host of the same name that is here.
        if refusal.ends_the_job and host not in self._peers and self._board.meeting is None:
            self._gone.add(host)
            self._settlement.ended(host, Outcome("failed", host, refusal.exit_code, refusal.sentence))
            self._publish()

    def _received(self, host: str, connection: Connection, message: Message) -> None:
        kind = message["kind"]
        if kind == "end":
            self._settlement.ended(host, decode_ending(message))
        elif kind == "stop":
            self._settlement.ask_to_stop()
        elif kind == "give":
            self._give(host, message["name"], message["value"])
        elif kind != "beat":
            connection.give_up("it sent a message that is not known here")
        self._publish()

    def _lost(self, host: str, reason: str) -> None:
        del self._peers[host]
        self._gone.add(host)
        self._settlement.ended(host, broken_off(host, self._here, reason))
        self._publish()

    def _give(self, host: str, name: str, value: object) -> None:
        values = self._gathering.give(host, name, value)
        if values is not None:
            self._tell(encode("gathered", name=name, values=values))
            asyncio.get_running_loop().call_soon(self._answers.take(name), values)

    def _publish(self) -> None:
        if self._settlement.stopping and not self._board.stopping:
            self._board.stop()
            self._tell(encode("stop"))
        verdict = self._settlement.verdict
        if verdict is not None and self._board.verdict is None:
            self._board.settle(verdict)
            self._tell(encode_ending("verdict", verdict))

    def _tell(self, line: bytes) -> None:
        for connection in self._peers.values():
            connection.send(line)
