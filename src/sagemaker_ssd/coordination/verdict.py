"""The rules by which the first host decides how the job ends."""

import logging
from collections.abc import Sequence
from typing import Final

from sagemaker_ssd.coordination.lost_hosts import never_stopped
from sagemaker_ssd.coordination.protocol import Outcome

_log = logging.getLogger(__name__)
# While the job is stopping, from the first host's end to the others': they have nothing to save, and one may be paused.
_OTHERS_SECONDS: Final = 1.0


class VerdictRules:
    """Takes what is known of each host until there is a `verdict`, which then stays.

    The first failure is the verdict. While the job is stopping the other hosts' failures only count as ends, and the
    verdict is the first host's own outcome: it alone knows whether a model was saved.
    """

    def __init__(self, hosts: Sequence[str], stop_seconds: float) -> None:
        self._first, self._stop_seconds = hosts[0], stop_seconds
        self._hosts = tuple(hosts)
        self._joined = {hosts[0]}
        self._outcomes: dict[str, Outcome] = {}
        self._seconds_since_stop = self._seconds_since_own_end = 0.0
        self.stopping = False
        self.verdict: Outcome | None = None

    def host_joined(self, host: str) -> None:
        """Note that a host has come: a stop waits for its end too."""
        self._joined.add(host)

    def host_ended(self, host: str, outcome: Outcome) -> None:
        """Note the end of a host's part, or its loss; what follows the first does not count."""
        if self.verdict is not None or host in self._outcomes:
            return
        self._outcomes[host] = outcome
        if outcome.kind == "failed" and not self.stopping:
            self.verdict = outcome
            return
        if outcome.kind == "failed" and host != self._first:
            _log.warning("While the job is stopping: host %s: %s", outcome.host or host, outcome.sentence)
        self.stopping = self.stopping or outcome.kind == "stopped"
        self._decide()

    def request_stop(self) -> None:
        """Note that a host was asked to stop."""
        if self.verdict is None:
            self.stopping = True
            self._decide()

    def fail(self, outcome: Outcome) -> None:
        """End the job for a reason that is no host's outcome."""
        if self.verdict is None:
            self.verdict = outcome

    def tick(self, seconds: float) -> None:
        """Let time pass: a stop does not wait for ever."""
        if self.verdict is not None or not self.stopping:
            return
        own = self._outcomes.get(self._first)
        self._seconds_since_stop += seconds
        self._seconds_since_own_end += seconds if own else 0
        if own and self._seconds_since_own_end > _OTHERS_SECONDS:
            self.verdict = own
        elif self._seconds_since_stop > self._stop_seconds:
            self.verdict = own or never_stopped(self._first, self._stop_seconds)

    def _decide(self) -> None:
        if self.stopping:
            # Who has not come yet need not be waited for.
            if self._joined <= self._outcomes.keys():
                self.verdict = self._outcomes[self._first]
        elif len(self._outcomes) == len(self._hosts):
            self.verdict = Outcome("done", self._first)
