"""The job's hosts as the supervisor of one of them sees them; a host alone has no others to wait for or to tell."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from sagemaker_ssd.contract.cluster import Cluster
from sagemaker_ssd.contract.environment import (
    DEFAULT_PORT,
    FINALIZE_SECONDS,
    JOB_NAME_VARIABLE,
    Deadlines,
    read_deadlines,
    read_port,
    read_threads,
)
from sagemaker_ssd.coordination.link import GatherCallback, Link
from sagemaker_ssd.coordination.protocol import Handshake, Kind, Outcome
from sagemaker_ssd.errors import JobError, ProgramError, UserError
from sagemaker_ssd.progress import phase
from sagemaker_ssd.supervisor.parameter_server import ParameterServer
from sagemaker_ssd.supervisor.stop_flag import StopFlag, StoppedEarlyError

_log = logging.getLogger(__name__)
_POLL_SECONDS: Final = 0.2
# The link has deadlines of its own for everything that it waits for; this one is for a bug of it.
_LAST_SECONDS: Final = 600.0
Value = TypeVar("Value")


class HostGroup:
    """This host's membership in the group of the job's hosts, from their rendezvous to the outcome they agree on.

    configuration: the job's hyperparameters, None where they could not be read. stop: set when this host is asked to
    stop. deadlines: the defaults where the environment has faults, which `check_environment` tells.
    """

    def __init__(self, cluster: Cluster, version: str, configuration: Mapping[str, str] | None, stop: StopFlag) -> None:
        self._cluster, self._stop = cluster, stop
        self._faults = list[str]()
        self.deadlines = self._read(read_deadlines, Deadlines())
        self._read(read_threads, None)
        self._link = self._open_link(version, configuration) if cluster.several else None

    def _open_link(self, version: str, configuration: Mapping[str, str] | None) -> Link:
        text = None if configuration is None else json.dumps(dict(configuration), sort_keys=True)
        handshake = Handshake(
            job=os.environ.get(JOB_NAME_VARIABLE, ""),
            hosts=self._cluster.hosts,
            host=self._cluster.current_host,
            version=version,
            configuration=None if text is None else hashlib.sha256(text.encode()).hexdigest(),
        )
        link = Link(handshake, self.deadlines, self._read(read_port, DEFAULT_PORT))
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

    def rendezvous(self) -> ParameterServer | None:
        """Wait for the other hosts; None on one host, and where the job is to stop. Raises JobError."""
        if self._link is None:
            return None
        with phase("The other hosts of the job are being waited for"):
            while (met := self._link.rendezvous) is None:
                self.check_verdict()
                if self.stop_requested:
                    self.relay_stop()
                    return None
                self._link.wait(_POLL_SECONDS)
        _log.info("All %d hosts are there: %s", len(self._cluster.hosts), ", ".join(self._cluster.hosts))
        return ParameterServer(len(self._cluster.hosts), met.address, met.scheduler)

    @property
    def stop_requested(self) -> bool:
        """Whether this host or any other was asked to stop."""
        return self._stop.is_set() or (self._link is not None and self._link.stopping)

    def relay_stop(self) -> None:
        """Tell the other hosts that this one was asked to stop; without effect where it was not."""
        if self._stop.is_set() and self._link is not None:
            self._link.request_stop()

    @property
    def is_decided(self) -> bool:
        """Whether it is settled how the job ends, so that nobody waits for this host."""
        return self._link is None or self._link.verdict is not None

    def check_verdict(self) -> None:
        """Raise JobError when another host has ended the job."""
        verdict = None if self._link is None else self._link.verdict
        error = None if verdict is None else verdict.error(self._cluster.current_host)
        if error is not None:
            raise error

    def all_gather(self, name: str, value: object, callback: GatherCallback) -> None:
        """Hand all hosts' values of a name to `callback`, in the order of the hosts, when the last has come."""
        if self._link is None:
            callback([value])
        else:
            self._link.all_gather(name, value, callback)

    def agree_on_outcome(self, outcome: Outcome) -> Outcome:
        """Tell the other hosts how this one's part ended, and wait for how the job did."""
        if self._link is None:
            return outcome
        if outcome.kind == "stopped":
            # It may have come after the last look at it.
            self.relay_stop()
        self._link.report_outcome(outcome)
        # Where this host's part is done, the first host may still be at what follows the training.
        seconds = _LAST_SECONDS + (FINALIZE_SECONDS if outcome.kind == "done" else 0)
        deadline = time.monotonic() + seconds
        with phase("This host's part has ended, and those of the others are being waited for"):
            while (verdict := self._link.verdict) is None:
                self.relay_stop()
                self._link.wait(_POLL_SECONDS)
                if time.monotonic() > deadline:
                    text = f"the hosts did not agree in {seconds:g} seconds on how the job ended; this is a bug"
                    return Outcome("failed", self._cluster.current_host, ProgramError.exit_code, text)
        return verdict

    def report_failure(self, error: JobError) -> None:
        """Tell the other hosts why this one failed, or stopped; without effect where they ended the job."""
        kind: Kind = "stopped" if isinstance(error, StoppedEarlyError) else "failed"
        self.agree_on_outcome(Outcome(kind, self._cluster.current_host, error.exit_code, error.sentence))

    def close(self) -> None:
        """Leave when the others have heard the verdict, or at once when this host is asked to stop meanwhile."""
        if self._link is None:
            return
        self._link.leave()
        deadline = time.monotonic() + _LAST_SECONDS
        while not self._link.left(_POLL_SECONDS) and time.monotonic() < deadline:
            self.relay_stop()
