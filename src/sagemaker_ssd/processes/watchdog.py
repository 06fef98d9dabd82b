"""A watchdog over a child process: whether it has been quiet for longer than it said it would be."""

import threading
from pathlib import Path
from typing import Final

# A process that was stopped, or whose container was paused, must not count the time that it slept through.
_LONGEST_CHECK_SECONDS: Final = 2.0


class Watchdog:
    """Expires when `timeout` seconds have passed since it was last kicked (None: never).

    A process that is busy alone shows by its use of resources that it goes on; one that takes part in a step of several
    must kick, since it may wait for others in vain.
    """

    def __init__(self) -> None:
        # Kicked in the thread that reads from the process, checked in another.
        self._lock = threading.Lock()
        self._activity, self._elapsed, self._busy = "", 0.0, False
        self._timeout: float | None = None
        self._usage: object = None
        # The environment variable that sets the timeout, for who tells of the expiry.
        self.variable: str | None = None

    def kick(self, activity: str, timeout: float | None, *, busy: bool = False, variable: str | None = None) -> None:
        """Note that something was done, and how soon the next thing will be."""
        with self._lock:
            self._activity, self._timeout, self._elapsed, self._busy = activity, timeout, 0.0, busy
            self.variable = variable

    def check(self, seconds: float, usage: object = None) -> str | None:
        """Let time pass; return how long nothing has followed and after what once it has expired, else None.

        usage: what the process has used so far, by which a busy one is seen to go on.
        """
        with self._lock:
            if self._busy and usage != self._usage:
                self._elapsed = 0.0
            self._usage = usage
            self._elapsed += min(seconds, _LONGEST_CHECK_SECONDS)
            expired = self._timeout is not None and self._elapsed > self._timeout
            return f"nothing for {self._timeout:g} seconds after {self._activity}" if expired else None


def resource_usage(pid: int, thread: int | None = None) -> object:
    """Return a process's processor time and its reads and writes so far, None when it has ended (proc(5)).

    thread: the id of a thread of it, if it is to be looked at alone.
    """
    folder = Path("/proc") / str(pid)
    if thread is not None:
        folder = folder / "task" / str(thread)
    try:
        times = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
        return times, (folder / "io").read_text()
    except OSError:
        return None
