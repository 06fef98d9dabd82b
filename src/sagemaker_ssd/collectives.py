"""The job's hosts as the worker of one of them sees them."""

import json
import os
import socket
from collections.abc import Sequence
from typing import Any

_ABANDONED = 2


class SupervisorSocket:
    """The worker's end of the socket to its supervisor; both directions carry JSON lines."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._lines = self._socket.makefile("rb")

    def send(self, message: dict[str, Any]) -> None:
        """Send a line; a supervisor that is gone takes this process along, so nothing is raised here."""
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            os._exit(_ABANDONED)

    def receive(self) -> dict[str, Any]:
        """Wait for a line; the supervisor, which watches the other hosts, ends the wait where no line can come."""
        line = self._lines.readline()
        if not line.endswith(b"\n"):
            os._exit(_ABANDONED)
        message: dict[str, Any] = json.loads(line)
        return message


class ProcessGroup:
    """What this host asks of all hosts and tells its supervisor; hosts in the order of the job's list.

    Every host must call `gather` and `from_first` with the same names in the same order.
    """

    def __init__(self, channel: SupervisorSocket, hosts: Sequence[str], current_host: str, patience: float) -> None:
        self.hosts, self.index = tuple(hosts), list(hosts).index(current_host)
        self._channel, self._patience = channel, patience

    @property
    def several(self) -> bool:
        """Whether there are other hosts."""
        return len(self.hosts) > 1

    @property
    def is_first(self) -> bool:
        """Whether this is the host that evaluates, decides and writes."""
        return self.index == 0

    def gather(self, name: str, value: Any) -> list[Any]:
        """Give this host's JSON value and return those of all hosts, as soon as all have given theirs."""
        if not self.several:
            return [value]
        self._channel.send({"progress": name, "within": None})
        self._channel.send({"gather": name, "value": value})
        answer = self._channel.receive()
        assert answer["gathered"] == name, f"{answer['gathered']} came instead of {name}"
        self._channel.send({"progress": f"exchanging {name}", "within": self._patience, "busy": True})
        values: list[Any] = answer["values"]
        return values

    def from_first(self, name: str, value: Any) -> Any:
        """Return the first host's value; that of the others does not count."""
        return self.gather(name, value if self.is_first else None)[0]

    def done(self) -> None:
        """Tell the supervisor that this host's work is done: what comes after, even a crash, does not change that."""
        self._channel.send({"report": {"exit_code": 0, "sentence": ""}})

    def working(self, what: str, within: float | None = None) -> None:
        """Tell what is done now together with the others; the job ends where nothing follows in time.

        within: seconds, the usual patience when it is not given. Between an exchange and the next work of this kind a
        host works alone, and shows by what it uses that it goes on.
        """
        if self.several:
            self._channel.send({"progress": what, "within": self._patience if within is None else within})
