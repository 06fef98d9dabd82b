"""What a short command answers, whatever becomes of it: it may hang where even a kill does not reach it."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

_POLL_SECONDS: Final = 0.1
# A process in uninterruptible sleep, as in a driver that hangs, does not end when it is killed.
_KILL_SECONDS: Final = 1.0


def ask(
    command: Sequence[str],
    *,
    seconds: float,
    environment: Mapping[str, str] | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> subprocess.CompletedProcess[str] | None:
    """Run a command in a session of its own and return its end, None as soon as `stopping` says so.

    Raises TimeoutError when it has not ended after `seconds`; it is killed then, and not waited for.
    """
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        # A signal to this process's group is this process's to answer.
        start_new_session=True,
    )
    deadline = time.monotonic() + seconds
    while True:
        try:
            output, error_output = process.communicate(timeout=_POLL_SECONDS)
        except subprocess.TimeoutExpired:
            late = time.monotonic() > deadline
            if not late and not stopping():
                continue
            _abandon(process)
            if late:
                raise TimeoutError(f"{command[0]} gave no answer in {seconds:g} seconds") from None
            return None
        except BaseException:
            # A signal that ends this process ends nothing in another session.
            _abandon(process)
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, output, error_output)


def _abandon(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_KILL_SECONDS)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
