"""What a worker does, and whether it has been quiet for longer than it said it would be."""

import threading
from pathlib import Path
from typing import Final

# A process that was stopped, or whose container was paused, must not count the time that it slept through.
_LONGEST_STEP_SECONDS: Final = 2.0


class Watchdog:
    """What was done last, and the seconds since, of which `within` are allowed (None: any number).

    A worker that is busy alone shows by what it uses that it goes on; one that takes part in a step must say so, since
    it may wait for others in vain.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._what, self._waited, self._busy = "", 0.0, False
        self._within: float | None = None
        self._used: object = None

    def made(self, what: str, within: float | None, *, busy: bool = False) -> None:
        """Note that something was done, and how soon the next thing will be."""
        with self._lock:
            self._what, self._within, self._waited, self._busy = what, within, 0.0, busy

    def step(self, seconds: float, used: object = None) -> str | None:
        """Let time pass; return what was done last when nothing has followed in time, else None.

        used: what the process has used so far, by which a busy one is seen to go on.
        """
        with self._lock:
            if self._busy and used != self._used:
                self._waited = 0.0
            self._used = used
            self._waited += min(seconds, _LONGEST_STEP_SECONDS)
            overdue = self._within is not None and self._waited > self._within
            return f"nothing for {self._within:g} seconds after {self._what}" if overdue else None


def used_by(process: int) -> object:
    """Return a process's processor time and its reads and writes so far, None when it has ended (proc(5))."""
    folder = Path("/proc") / str(process)
    try:
        times = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
        return times, (folder / "io").read_text()
    except OSError:
        return None
