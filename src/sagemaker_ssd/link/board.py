"""What the link's own thread has found out, for the other threads to read."""

import threading
from dataclasses import dataclass

from sagemaker_ssd.link.ending import Ending


@dataclass(frozen=True)
class Meeting:
    """What is known once all hosts have met.

    address: this host's own IPv4 address on the job's network. scheduler: the first host's address and a port that is
    free there, for ps-lite's scheduler.
    """

    address: str
    scheduler: tuple[str, int]


class Board:
    """Each entry is made once; `changed` is set whenever one is made."""

    def __init__(self) -> None:
        self.changed = threading.Event()
        self.meeting: Meeting | None = None
        self.stopping = False
        self.verdict: Ending | None = None

    def meet(self, meeting: Meeting) -> None:
        """Note that all hosts have met."""
        self.meeting = meeting
        self.changed.set()

    def stop(self) -> None:
        """Note that a host was asked to stop."""
        self.stopping = True
        self.changed.set()

    def settle(self, verdict: Ending) -> None:
        """Note how the job ends; a later verdict does not count."""
        if self.verdict is None:
            self.verdict = verdict
            self.changed.set()
