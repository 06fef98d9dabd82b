"""A process that the supervisor starts: watched, and killed with whatever it has started.

Ended processes that nobody waits for; process 1 of a container inherits them.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import IO

_TAIL_BYTES = 16_384
# A process in uninterruptible sleep is not gone at once when it is killed.
_KILL_SECONDS = 8.0


class ChildProcess:
    """Runs `python -m MODULE --supervisor PID ARGUMENTS` in a session of its own; start it from the main thread.

    Its stderr is passed on as it comes and its end is kept, because a C++ abort writes its reason there.
    """

    def __init__(
        self, module: str, arguments: Sequence[str], environment: Mapping[str, str], *, inherited: Sequence[int] = ()
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, "--supervisor", str(os.getpid()), *arguments],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=tuple(inherited),
            # Ctrl-C on a terminal reaches the supervisor alone, which then stops its children.
            start_new_session=True,
        )
        assert self._process.stderr is not None
        self._tail = bytearray()
        self._listeners = [threading.Thread(target=self._pass_on, args=(self._process.stderr,), daemon=True)]
        self._listeners[0].start()

    def _pass_on(self, stream: IO[bytes]) -> None:
        listening = True
        while chunk := os.read(stream.fileno(), 65_536):
            self._tail = (self._tail + chunk)[-_TAIL_BYTES:]
            # Nobody may read our stderr any more; the child's must be read on, or it waits for ever.
            with contextlib.suppress(OSError, ValueError):
                if listening:
                    listening = False
                    sys.stderr.buffer.write(chunk)
                    sys.stderr.buffer.flush()
                    listening = True

    def ended(self, seconds: float) -> bool:
        """Wait up to `seconds` for the end of the process and say whether it came."""
        try:
            self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        for listener in self._listeners:
            listener.join(timeout=5)
        return True

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        self._process.send_signal(signal.SIGTERM)

    def stop(self, seconds: float) -> None:
        """Ask the process to end, and kill it when it has not after `seconds`."""
        self.ask_to_stop()
        if not self.ended(seconds):
            self.kill()

    def kill(self) -> None:
        """Kill the process and whatever it has started."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self.ended(_KILL_SECONDS)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, the negative signal number that ended the process, or None while it runs."""
        return self._process.returncode

    @property
    def stderr_tail(self) -> str:
        """The last lines that the process wrote to stderr."""
        return self._tail.decode(errors="replace")


def reap_orphans(ours: Collection[int]) -> None:
    """Collect every ended child but `ours`, whose ends their own waiters collect, so that none stays as a zombie."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid in ours:
            return
        os.waitpid(ended.si_pid, 0)
