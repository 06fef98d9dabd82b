"""The worker as a child process: started, listened to, stopped."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import IO

_TAIL_BYTES = 16_384
_STOP_SECONDS = 8.0


def worker_environment(environment: Mapping[str, str], threads: int) -> dict[str, str]:
    """Return the environment that the worker runs in.

    The number of OpenMP threads is set, since results on a CPU depend on it; cuDNN is not tried out for minutes at
    the start; MXNet does not announce each graph; a value that the user has set stays.
    """
    defaults = {
        "OMP_NUM_THREADS": str(threads),
        "MXNET_CUDNN_AUTOTUNE_DEFAULT": "0",
        "MXNET_CUDNN_LIB_CHECKING": "0",
        "MXNET_SUBGRAPH_VERBOSE": "0",
        "PYTHONUNBUFFERED": "1",
    }
    return {**defaults, **environment}


class WorkerProcess:
    """Runs `python -m sagemaker_ssd.worker` in a session of its own.

    Its stderr is passed on as it comes and its end is kept, because a C++ abort writes its reason there. `report` is
    what it says about its own end: {"exit_code", "sentence"}, or None when it had no chance to.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        reader, writer = os.pipe()
        ours = ["--report", str(writer), "--supervisor", str(os.getpid())]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sagemaker_ssd.worker", *ours, *arguments],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(writer,),
            # Ctrl-C on a terminal reaches the supervisor alone, which then stops the worker.
            start_new_session=True,
        )
        os.close(writer)
        assert self._process.stderr is not None
        self._tail = bytearray()
        self._report = bytearray()
        self._listeners = [
            threading.Thread(target=self._pass_on, args=(self._process.stderr,), daemon=True),
            threading.Thread(target=self._collect, args=(reader,), daemon=True),
        ]
        for listener in self._listeners:
            listener.start()

    def _pass_on(self, stream: IO[bytes]) -> None:
        listening = True
        while chunk := os.read(stream.fileno(), 65_536):
            self._tail = (self._tail + chunk)[-_TAIL_BYTES:]
            # Nobody may read our stderr any more; the worker's must be read on, or it waits for ever.
            with contextlib.suppress(OSError, ValueError):
                if listening:
                    listening = False
                    sys.stderr.buffer.write(chunk)
                    sys.stderr.buffer.flush()
                    listening = True

    def _collect(self, reader: int) -> None:
        while chunk := os.read(reader, 65_536):
            self._report += chunk
        os.close(reader)

    def ended(self, seconds: float) -> bool:
        """Wait up to `seconds` for the end of the worker and say whether it came."""
        try:
            self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        for listener in self._listeners:
            listener.join(timeout=5)
        return True

    def stop(self) -> None:
        """Ask the worker to end, and kill it when it has not after 8 seconds (docker stop gives 10)."""
        self._process.send_signal(signal.SIGTERM)
        if not self.ended(_STOP_SECONDS):
            self.kill()

    def kill(self) -> None:
        """Kill the worker and whatever it has started."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self.ended(_STOP_SECONDS)

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The worker's exit code, the negative signal number that ended it, or None while it runs."""
        return self._process.returncode

    @property
    def stderr_tail(self) -> str:
        """The last lines that the worker wrote to stderr."""
        return self._tail.decode(errors="replace")

    @property
    def report(self) -> dict[str, object] | None:
        """What the worker said about its own end."""
        try:
            report = json.loads(self._report)
        except ValueError:
            return None
        return report if isinstance(report, dict) else None
