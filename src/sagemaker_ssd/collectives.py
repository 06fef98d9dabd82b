"""Collective operations of the job's hosts, in torch.distributed's words, as the worker of one host calls them.

The worker asks its supervisor over a socket; the supervisors of all hosts exchange the values.
"""

import json
import os
import socket
from collections.abc import Sequence
from typing import Any

_SUPERVISOR_IS_GONE = 2


class SupervisorSocket:
    """The worker's end of the socket to its supervisor; both directions carry JSON lines."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._lines = self._socket.makefile("rb")

    def send(self, message: dict[str, Any]) -> None:
        """Send a line; without a supervisor there is no job, so this process ends instead of raising."""
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            os._exit(_SUPERVISOR_IS_GONE)

    def receive(self) -> dict[str, Any]:
        """Wait for a line; the supervisor, which watches the other hosts, ends the wait where no line can come."""
        line = self._lines.readline()
        if not line.endswith(b"\n"):
            os._exit(_SUPERVISOR_IS_GONE)
        message: dict[str, Any] = json.loads(line)
        return message

    def report(self, exit_code: int, sentence: str) -> None:
        """Report how this host's part of the job has ended."""
        self.send({"report": {"exit_code": exit_code, "sentence": sentence}})


class ProcessGroup:
    """The workers of the job, one a host; a host's rank is its place in the job's list of hosts.

    Every host must call `all_gather` and `broadcast` with the same names in the same order.
    timeout: seconds in which a step that the hosts make together must have an end.
    """

    def __init__(self, supervisor: SupervisorSocket, hosts: Sequence[str], current_host: str, timeout: float) -> None:
        self.hosts, self.rank = tuple(hosts), list(hosts).index(current_host)
        self._supervisor, self._timeout = supervisor, timeout

    @property
    def several(self) -> bool:
        """Whether there are other hosts."""
        return len(self.hosts) > 1

    @property
    def is_first(self) -> bool:
        """Whether this is the host, of rank 0, that evaluates, decides and writes."""
        return self.rank == 0

    def all_gather(self, name: str, value: Any) -> list[Any]:
        """Return the JSON values of all hosts by rank, as soon as all have given theirs; `value` is this host's."""
        if not self.several:
            self.report_progress(name, alone=True)
            return [value]
        self._supervisor.send({"progress": name, "within": None})
        self._supervisor.send({"gather": name, "value": value})
        answer = self._supervisor.receive()
        assert answer["gathered"] == name, f"{answer['gathered']} came instead of {name}"
        self._supervisor.send({"progress": f"exchanging {name}", "within": self._timeout, "busy": True})
        values: list[Any] = answer["values"]
        return values

    def broadcast(self, name: str, value: Any) -> Any:
        """Return the first host's value; that of the others does not count."""
        return self.all_gather(name, value if self.is_first else None)[0]

    def report_progress(
        self, activity: str, timeout: float | None = None, *, variable: str | None = None, alone: bool = False
    ) -> None:
        """Report what this host does now together with the others; the job ends where nothing follows in time.

        timeout: seconds, the group's when it is not given; variable: the environment variable that sets it then. alone:
        whether this host's process alone does it, and shows by its processor time, reads and writes that it goes on, as
        it does after an exchange.
        """
        message = {"progress": activity, "within": self._timeout if timeout is None else timeout}
        if alone:
            message["busy"] = True
        if variable is not None:
            message["variable"] = variable
        self._supervisor.send(message)

    def report_done(self) -> None:
        """Report that this host's part is done: what comes after, even a crash, does not change that."""
        self._supervisor.report(exit_code=0, sentence="")
