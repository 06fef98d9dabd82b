"""What a worker does, and whether it has been quiet for longer than it said it would be."""

import threading

# A process that was stopped, or whose container was paused, must not count the time that it slept through.
_LONGEST_STEP_SECONDS = 2.0


class Progress:
    """What was done last; `step` counts the seconds since, of which `within` are allowed (None: any number)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._what, self._waited = "", 0.0
        self._within: float | None = None

    def made(self, what: str, within: float | None) -> None:
        """Note that something was done, and how soon the next thing will be."""
        with self._lock:
            self._what, self._within, self._waited = what, within, 0.0

    def step(self, seconds: float) -> str | None:
        """Let time pass; return what was done last when nothing has followed in time, else None."""
        with self._lock:
            self._waited += min(seconds, _LONGEST_STEP_SECONDS)
            overdue = self._within is not None and self._waited > self._within
            return f"nothing for {self._within:g} seconds after {self._what}" if overdue else None
