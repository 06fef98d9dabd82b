"""The other hosts of the job as the supervisor sees them; a host alone has none to meet, to ask or to tell."""

import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from sagemaker_ssd.contract.cluster import Cluster
from sagemaker_ssd.contract.environment import DEFAULT_PORT, FINALIZE_SECONDS, Deadlines, read_deadlines, read_port
from sagemaker_ssd.coordination.link import Link
from sagemaker_ssd.coordination.protocol import Greeting, Outcome
from sagemaker_ssd.errors import JobError, ProgramError, UserError
from sagemaker_ssd.supervisor.parameter_server import ParameterServer

_log = logging.getLogger(__name__)
_LISTEN_SECONDS: Final = 0.2
Value = TypeVar("Value")
# The link has deadlines of its own for everything that it waits for; this one is for a bug of it.
_LAST_SECONDS: Final = 600.0


class HostGroup:
    """What the hosts of a job know of one another.

    configuration: the job's hyperparameters, None where they could not be read. deadlines: the defaults where the
    environment has faults, which `check_environment` tells.
    """

    def __init__(self, cluster: Cluster, version: str, configuration: Mapping[str, str] | None) -> None:
        self._cluster = cluster
        self.deadlines, self._faults = Deadlines(), list[str]()
        self._link = self._open(version, configuration) if cluster.several else None

    def _open(self, version: str, configuration: Mapping[str, str] | None) -> Link:
        text = None if configuration is None else json.dumps(dict(configuration), sort_keys=True)
        greeting = Greeting(
            job=os.environ.get("TRAINING_JOB_NAME", ""),
            hosts=self._cluster.hosts,
            host=self._cluster.current_host,
            version=version,
            configuration=None if text is None else hashlib.sha256(text.encode()).hexdigest(),
        )
        self.deadlines = self._read(read_deadlines, self.deadlines)
        link = Link(greeting, self.deadlines, self._read(read_port, DEFAULT_PORT))
        link.start()
        return link

    def _read(self, read: Callable[[Mapping[str, str]], Value], default: Value) -> Value:
        try:
            return read(os.environ)
        except UserError as error:
            self._faults.append(error.sentence)
            return default

    def check_environment(self) -> None:
        """Raise UserError for wrong environment variables; not before, so that the other hosts can be told."""
        if self._faults:
            raise UserError("\n".join(self._faults))

    def meet(self, stop: threading.Event) -> ParameterServer | None:
        """Wait for the other hosts; None on one host, and where the job is to stop. Raises JobError."""
        if self._link is None:
            return None
        while (meeting := self._link.meeting) is None:
            self.check()
            if self.stopping(stop):
                return None
            self._link.wait(_LISTEN_SECONDS)
        _log.info("All %d hosts are there: %s", len(self._cluster.hosts), ", ".join(self._cluster.hosts))
        return ParameterServer(len(self._cluster.hosts), meeting.address, meeting.scheduler)

    def stopping(self, stop: threading.Event) -> bool:
        """Say whether this host, which `stop` tells, or any other was asked to stop; the others learn of it."""
        if stop.is_set() and self._link is not None:
            self._link.ask_to_stop()
        return stop.is_set() or (self._link is not None and self._link.stopping)

    def check(self) -> None:
        """Raise JobError when another host has ended the job."""
        verdict = None if self._link is None else self._link.verdict
        error = None if verdict is None else verdict.error(self._cluster.current_host)
        if error is not None:
            raise error

    def gather(self, name: str, value: object, answer: Callable[[list[object]], None]) -> None:
        """Hand all hosts' values of a name to `answer`, in the order of the hosts, when the last has come."""
        if self._link is None:
            answer([value])
        else:
            self._link.gather(name, value, answer)

    def settle(self, ending: Outcome, stop: threading.Event) -> Outcome:
        """Tell how this host's part ended, and wait for how the job did."""
        if self._link is None:
            return ending
        self._link.end(ending)
        # Where this host's part is done, the first host may still be at what follows the training.
        seconds = _LAST_SECONDS + (FINALIZE_SECONDS if ending.kind == "done" else 0)
        deadline = time.monotonic() + seconds
        while (verdict := self._link.verdict) is None:
            self.stopping(stop)
            self._link.wait(_LISTEN_SECONDS)
            if time.monotonic() > deadline:
                text = f"the hosts did not agree in {seconds:g} seconds on how the job ended; this is a bug"
                return Outcome("failed", self._cluster.current_host, ProgramError.exit_code, text)
        return verdict

    def tell(self, error: JobError, stop: threading.Event) -> None:
        """Tell the other hosts why this one failed; without effect where they ended the job."""
        failed = Outcome("failed", self._cluster.current_host, error.exit_code, error.sentence)
        self.settle(failed, stop)

    def close(self, stop: threading.Event) -> None:
        """Leave, when the others have heard the last word, or `stop` says to hurry."""
        if self._link is None:
            return
        self._link.leave()
        deadline = time.monotonic() + _LAST_SECONDS
        while not self._link.left(_LISTEN_SECONDS) and time.monotonic() < deadline:
            self.stopping(stop)
