"""The first host's side of the link: it knows of all hosts, decides how the job ends, and tells them."""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

from sagemaker_ssd.contract.environment import PORT_VARIABLE, Deadlines
from sagemaker_ssd.coordination.addresses import Resolver, ports_above, reserve_port
from sagemaker_ssd.coordination.connection import Connection, ticks, wait_while
from sagemaker_ssd.coordination.listener import Listener
from sagemaker_ssd.coordination.lost_hosts import (
    connection_lost,
    describe_missing,
    heartbeat_timeout,
    rendezvous_timeout,
)
from sagemaker_ssd.coordination.protocol import (
    Handshake,
    Message,
    MessageKind,
    Outcome,
    Rejection,
    decode_outcome,
    encode,
    encode_outcome,
    longest_line,
)
from sagemaker_ssd.coordination.state import LinkState, Rendezvous
from sagemaker_ssd.coordination.verdict import VerdictRules

_log = logging.getLogger(__name__)
# After a stop, for hosts that come a moment later; a container has 10 seconds in all.
_LATE_HOSTS_SECONDS: Final = 3.0


class Coordinator:
    """All methods run in the link's thread; deliver: takes a name and all hosts' values of it, in their order."""

    def __init__(
        self,
        handshake: Handshake,
        deadlines: Deadlines,
        port: int,
        state: LinkState,
        deliver: Callable[[str, list[object]], None],
    ) -> None:
        self._here, self._hosts, self._port = handshake.host, handshake.hosts, port
        self._deadlines, self._state, self._deliver = deadlines, state, deliver
        self._participants: dict[str, Connection] = {}
        # Hosts that have been here, or were told why they could not come, and are gone.
        self._gone: set[str] = set()
        self._rejected: dict[str, str] = {}
        self._rules = VerdictRules(handshake.hosts, deadlines.stop)
        # For each name the rounds that some host has given its value to and some other has not.
        self._gathers: dict[str, deque[dict[str, object]]] = {}
        self._resolver = Resolver()
        self._listener = Listener(
            *(handshake, port, self._resolver, self._participants.keys()),
            admit=self._admit,
            reject=self._reject,
            fail=self.fail,
        )
        # Keeps the port of ps-lite's scheduler.
        self._reserved_port: socket.socket | None = None
        # Whether the hosts have had all their time to come.
        self._waited = False
        # Whether it was asked to stop, perhaps while it was about to leave.
        self._hurry = False

    async def run(self) -> None:
        """Let the hosts in and watch them, for ever."""
        await asyncio.gather(self._listener.open(), self._wait_for_all(), self._watch())

    def request_stop(self) -> None:
        """Tell all hosts that this one was asked to stop."""
        self._hurry = True
        self._rules.request_stop()
        self._publish()

    def report_outcome(self, outcome: Outcome) -> None:
        """Take this host's own outcome."""
        self._rules.host_ended(self._here, outcome)
        self._publish()

    def fail(self, outcome: Outcome) -> None:
        """End the job for a reason that is no host's outcome."""
        self._rules.fail(outcome)
        self._publish()

    def all_gather(self, name: str, value: object) -> None:
        """Take this host's own value."""
        self._take_value(self._here, name, value)

    async def leave(self, seconds: float) -> None:
        """Stay until every host has been told the verdict and has gone, else for so long; longer for late hosts."""
        verdict = self._state.verdict
        if verdict is not None:
            some_may_come = not (self._state.rendezvous or self._waited or self._listener.hopeless)
            if verdict.exit_code and some_may_come:
                late = _LATE_HOSTS_SECONDS if self._state.stopping else self._deadlines.late
                await wait_while(lambda: self._some_can_hear() or self._some_are_late(), late)
            await wait_while(self._some_can_hear, seconds)
        if self._participants:
            _log.warning("Left before these hosts did: %s", ", ".join(self._participants))
        self._listener.close()
        if self._reserved_port is not None:
            self._reserved_port.close()
        for connection in self._participants.values():
            connection.ended = lambda connection, reason: None
            connection.close()

    def _some_can_hear(self) -> bool:
        """Say whether a host may still read what it was sent: one that is paused or cut off may be so for ever."""
        return any(peer.silent_seconds < 3 * self._deadlines.beat for peer in self._participants.values())

    def _some_are_late(self) -> bool:
        leaves_at_once = self._hurry and not self._state.stopping
        return not set(self._hosts[1:]) <= self._gone and not leaves_at_once

    async def _wait_for_all(self) -> None:
        waited = reported = 0.0
        async for seconds in ticks(self._deadlines.beat):
            if self._state.rendezvous or self._state.verdict:
                return
            waited += seconds
            over = waited > self._deadlines.hosts and not self._state.stopping
            if over or waited - reported > self._deadlines.report:
                reported = waited
                missing = [host for host in self._hosts[1:] if host not in self._participants]
                known = await describe_missing(missing, self._rejected, self._resolver)
                known = f"{self._listener.problem}; {known}" if self._listener.problem else known
                if over and self._state.rendezvous is None:
                    self._waited = True
                    self.fail(rendezvous_timeout(self._deadlines.hosts, known))
                else:
                    _log.info("Waiting for other hosts: %s", known)

    async def _watch(self) -> None:
        heartbeat, limit = encode(MessageKind.HEARTBEAT), self._deadlines.silence
        async for seconds in ticks(self._deadlines.beat):
            self._listener.tick(seconds)
            self._rules.tick(seconds)
            for host, connection in self._participants.items():
                connection.send(heartbeat)
                connection.silent_seconds += seconds
                if connection.silent_seconds > limit:
                    # It stays connected: should it wake, it reads the verdict.
                    self._rules.host_ended(host, heartbeat_timeout(host, self._here, limit))
            self._publish()

    def _admit(self, host: str, connection: Connection) -> None:
        connection.received = lambda connection, message: self._received(host, connection, message)
        connection.ended = lambda connection, reason: self._lost(host, reason)
        connection.longest_line = longest_line(1)
        self._participants[host] = connection
        self._rules.host_joined(host)
        if self._state.stopping:
            connection.send(encode(MessageKind.STOP))
        if self._state.verdict is not None:
            connection.send(encode_outcome(MessageKind.VERDICT, self._state.verdict))
        elif len(self._participants) == len(self._hosts) - 1:
            self._complete_rendezvous()

    def _complete_rendezvous(self) -> None:
        address, ports = self._listener.address, ports_above(self._port)
        self._reserved_port = reserve_port(address, ports)
        if self._reserved_port is not None:
            port = self._reserved_port.getsockname()[1]
            self._state.set_rendezvous(Rendezvous(address, (address, port)))
            self._broadcast(encode(MessageKind.RENDEZVOUS, scheduler=[address, port]))
            return
        tried = f"none of the ports {ports[0]} to {ports[-1]} is free" if ports else "there is none"
        sentence = (
            f"MXNet's parameter server needs a port above {self._port} at {address}, and {tried}. Set the "
            f"environment variable {PORT_VARIABLE} to another one, the same on all hosts"
        )
        self.fail(Outcome("failed", self._here, 1, sentence))

    def _reject(self, host: str, rejection: Rejection) -> None:
        if host in self._hosts:
            self._rejected[host] = rejection.sentence
        # What is wrong with a stranger does not concern a host of the same name that is here.
        if rejection.ends_the_job and host not in self._participants and self._state.rendezvous is None:
            self._gone.add(host)
            self._rules.host_ended(host, Outcome("failed", host, rejection.exit_code, rejection.sentence))
            self._publish()

    def _received(self, host: str, connection: Connection, message: Message) -> None:
        kind = message["kind"]
        if kind == MessageKind.OUTCOME:
            self._rules.host_ended(host, decode_outcome(message))
        elif kind == MessageKind.STOP:
            self._rules.request_stop()
        elif kind == MessageKind.GATHER:
            self._take_value(host, message["name"], message["value"])
        elif kind != MessageKind.HEARTBEAT:
            connection.abort("it sent a message that is not known here")
        self._publish()

    def _lost(self, host: str, reason: str) -> None:
        del self._participants[host]
        self._gone.add(host)
        self._rules.host_ended(host, connection_lost(host, self._here, reason))
        self._publish()

    def _take_value(self, host: str, name: str, value: object) -> None:
        """Take a host's value; when it is the last, send those of all in the order of hosts.

        A name can be used again and again, and a host can be far ahead: each host's values count in its own order.
        """
        rounds = self._gathers.setdefault(name, deque())
        current = next((values for values in rounds if host not in values), None)
        if current is None:
            current = {}
            rounds.append(current)
        current[host] = value
        if len(current) < len(self._hosts):
            return
        # Every host fills its rounds in order, so the first is full first.
        rounds.popleft()
        if not rounds:
            del self._gathers[name]
        values = [current[other] for other in self._hosts]
        self._broadcast(encode(MessageKind.GATHERED, name=name, values=values))
        self._deliver(name, values)

    def _publish(self) -> None:
        """Tell this host and all others of a stop and of the verdict, once each."""
        if self._rules.stopping and not self._state.stopping:
            self._state.set_stopping()
            self._broadcast(encode(MessageKind.STOP))
        verdict = self._rules.verdict
        if verdict is not None and self._state.verdict is None:
            self._state.set_verdict(verdict)
            self._broadcast(encode_outcome(MessageKind.VERDICT, verdict))

    def _broadcast(self, line: bytes) -> None:
        for connection in self._participants.values():
            connection.send(line)
