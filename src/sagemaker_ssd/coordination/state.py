"""What a host knows of the others: written by the thread of its link alone, and read by other threads."""

import threading
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
    """The rendezvous, the stop and the verdict, each made once; `changed` is set whenever one is made."""

    def __init__(self) -> None:
        self.changed = threading.Event()
        self.rendezvous: Rendezvous | None = None
        self.stopping = False
        self.verdict: Outcome | None = None

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
