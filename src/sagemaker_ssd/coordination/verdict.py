"""The rules by which the first host decides how the job ends."""

import logging
from collections.abc import Sequence
from typing import Final

from sagemaker_ssd.coordination.lost_hosts import never_stopped
from sagemaker_ssd.coordination.protocol import Outcome

_log = logging.getLogger(__name__)
# While the job is stopping, from the first host's end to the others': they have nothing to save, and one may be paused.
_OTHERS_SECONDS: Final = 1.0


class Verdict:
    """Takes what is known of each host until there is a `verdict`, which then stays.

    The first failure is the verdict. While the job is stopping the other hosts' failures only count as ends, and the
    verdict is the first host's own ending: it alone knows whether a model was saved.
    """

    def __init__(self, hosts: Sequence[str], stop_seconds: float) -> None:
        self._first, self._stop_seconds = hosts[0], stop_seconds
        self._hosts = tuple(hosts)
        self._here = {hosts[0]}
        self._endings: dict[str, Outcome] = {}
        self._stopping_for = self._ended_for = 0.0
        self.stopping = False
        self.verdict: Outcome | None = None

    def arrived(self, host: str) -> None:
        """Note that a host has come: a stop waits for its end too."""
        self._here.add(host)

    def ask_to_stop(self) -> None:
        """Note that a host was asked to stop."""
        if self.verdict is None:
            self.stopping = True
            self._decide()

    def ended(self, host: str, ending: Outcome) -> None:
        """Note the end of a host's part, or its loss; what follows the first does not count."""
        if self.verdict is not None or host in self._endings:
            return
        self._endings[host] = ending
        if ending.kind == "failed" and not self.stopping:
            self.verdict = ending
            return
        if ending.kind == "failed" and host != self._first:
            _log.warning("While the job is stopping: host %s: %s", ending.host or host, ending.sentence)
        self.stopping = self.stopping or ending.kind == "stopped"
        self._decide()

    def fail(self, ending: Outcome) -> None:
        """End the job for a reason that is no host's ending."""
        if self.verdict is None:
            self.verdict = ending

    def step(self, seconds: float) -> None:
        """Let time pass: a stop does not wait for ever."""
        if self.verdict is not None or not self.stopping:
            return
        own = self._endings.get(self._first)
        self._stopping_for += seconds
        self._ended_for += seconds if own else 0
        if own and self._ended_for > _OTHERS_SECONDS:
            self.verdict = own
        elif self._stopping_for > self._stop_seconds:
            self.verdict = own or never_stopped(self._first, self._stop_seconds)

    def _decide(self) -> None:
        if self.stopping:
            # Who has not come yet need not be waited for.
            if self._here <= self._endings.keys():
                self.verdict = self._endings[self._first]
        elif len(self._endings) == len(self._hosts):
            self.verdict = Outcome("done", self._first)
