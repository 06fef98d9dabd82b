"""What the link's own thread has found out, for the other threads to read.

Values that every host gives under one name, and the answers with the values of all.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sagemaker_ssd.coordination.protocol import Outcome


@dataclass(frozen=True)
class Rendezvous:
    """What is known once all hosts have met.

    address: this host's own IPv4 address on the job's network. scheduler: the first host's address and a port that is
    free there, for ps-lite's scheduler.
    """

    address: str
    scheduler: tuple[str, int]


class LinkState:
    """Each entry is made once; `changed` is set whenever one is made."""

    def __init__(self) -> None:
        self.changed = threading.Event()
        self.meeting: Rendezvous | None = None
        self.stopping = False
        self.verdict: Outcome | None = None

    def meet(self, meeting: Rendezvous) -> None:
        """Note that all hosts have met."""
        self.meeting = meeting
        self.changed.set()

    def stop(self) -> None:
        """Note that a host was asked to stop."""
        self.stopping = True
        self.changed.set()

    def settle(self, verdict: Outcome) -> None:
        """Note how the job ends; a later verdict does not count."""
        if self.verdict is None:
            self.verdict = verdict
            self.changed.set()


Answer = Callable[[list[object]], None]


class GatherRounds:
    """The first host's collection; a name can be used again and again, each host's values count in its own order."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self._hosts = tuple(hosts)
        self._rounds: dict[str, deque[dict[str, object]]] = {}

    def give(self, host: str, name: str, value: object) -> list[object] | None:
        """Take a host's value; return those of all in the order of hosts when it was the last, else None."""
        rounds = self._rounds.setdefault(name, deque())
        current = next((values for values in rounds if host not in values), None)
        if current is None:
            current = {}
            rounds.append(current)
        current[host] = value
        if len(current) < len(self._hosts):
            return None
        # Every host fills its rounds in order, so the first is full first.
        rounds.popleft()
        if not rounds:
            del self._rounds[name]
        return [current[other] for other in self._hosts]


class PendingGathers:
    """The calls that wait on this host for the values of all."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Answer]] = {}

    def expect(self, name: str, answer: Answer) -> None:
        """Keep a call until the values of `name` are there."""
        self._waiting.setdefault(name, deque()).append(answer)

    def take(self, name: str) -> Answer:
        """Return the call that has waited longest for `name`."""
        waiting = self._waiting[name]
        answer = waiting.popleft()
        if not waiting:
            del self._waiting[name]
        return answer
