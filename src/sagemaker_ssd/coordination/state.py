"""What a host knows of the others: written by the thread of its link alone, and read by other threads."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from sagemaker_ssd.coordination.protocol import Outcome

GatherCallback = Callable[[list[object]], None]


@dataclass(frozen=True)
class Rendezvous:
    """What is known once all hosts have met.

    address: this host's own IPv4 address on the job's network. scheduler: the first host's address and a port that is
    free there, for ps-lite's scheduler.
    """

    address: str
    scheduler: tuple[str, int]


class LinkState:
    """The rendezvous, the stop and the verdict, each made once; `changed` is set whenever one is made.

    Also the calls of `all_gather` on this host that wait for the values of all hosts.
    """

    def __init__(self) -> None:
        self.changed = threading.Event()
        self.rendezvous: Rendezvous | None = None
        self.stopping = False
        self.verdict: Outcome | None = None
        self._callbacks: dict[str, deque[GatherCallback]] = {}

    def set_rendezvous(self, rendezvous: Rendezvous) -> None:
        """Note that all hosts have met."""
        self.rendezvous = rendezvous
        self.changed.set()

    def set_stopping(self) -> None:
        """Note that a host was asked to stop."""
        self.stopping = True
        self.changed.set()

    def set_verdict(self, verdict: Outcome) -> None:
        """Note how the job ends; a later verdict does not count."""
        if self.verdict is None:
            self.verdict = verdict
            self.changed.set()

    def expect_values(self, name: str, callback: GatherCallback) -> None:
        """Keep a call until the values of `name` are there."""
        self._callbacks.setdefault(name, deque()).append(callback)

    def deliver_values(self, name: str, values: list[object]) -> None:
        """Hand the values of all hosts to the call that has waited longest for `name`."""
        waiting = self._callbacks[name]
        callback = waiting.popleft()
        if not waiting:
            del self._callbacks[name]
        # By way of the loop, so that what the callback raises is the link's failure and not the connection's.
        asyncio.get_running_loop().call_soon(callback, values)
