"""The worker as a child process, and the channel through which it talks to the supervisor.

The processes of this host: the worker, and on several hosts those of MXNet's parameter server beside it.
"""

import contextlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Final, Self

from sagemaker_ssd.contract.environment import PROGRESS_VARIABLE, STOP_SECONDS
from sagemaker_ssd.errors import PlatformError, unexpected_error
from sagemaker_ssd.processes.child_process import ChildProcess, reap_orphans
from sagemaker_ssd.processes.exit_reason import failure, serving_failure
from sagemaker_ssd.processes.watchdog import Watchdog, used_by
from sagemaker_ssd.supervisor.parameter_server import ParameterServer, Role, role_environment

_log = logging.getLogger(__name__)
Answer = Callable[[list[object]], None]
Gather = Callable[[str, object, Answer], None]


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


class WorkerProcess(ChildProcess):
    """Runs `python -m sagemaker_ssd.worker`, which writes JSON lines to its end of a socket.

    {"report": {"exit_code", "sentence"}} is its own word on its end: `report`, None when it had no chance to.
    {"progress": text, "within": seconds or null, "busy": whether} says what it does: `progress`.
    {"gather": name, "value": value} is handed to `gather`; the answer goes back as {"gathered": name, "values": [...]}.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], gather: Gather | None = None) -> None:
        ours, theirs = socket.socketpair()
        channel = ["--channel", str(theirs.fileno())]
        try:
            super().__init__("sagemaker_ssd.worker", [*channel, *arguments], environment, inherited=(theirs.fileno(),))
        finally:
            theirs.close()
        self.report: dict[str, object] | None = None
        self.progress = Watchdog()
        self._gather = gather
        self._channel, self._writing = ours, threading.Lock()
        listener = threading.Thread(target=self._listen, daemon=True)
        self._listeners.append(listener)
        listener.start()

    def _listen(self) -> None:
        with self._channel, self._channel.makefile("rb") as lines:
            for line in lines:
                # A process that is killed can leave half a line.
                with contextlib.suppress(json.JSONDecodeError):
                    self._take_line(json.loads(line))

    def _take_line(self, message: dict[str, object]) -> None:
        try:
            self._take(message)
        except Exception as error:
            # The worker would wait for an answer for ever.
            _log.exception("unexpected error")
            bug = unexpected_error(error)
            self.report = {"exit_code": bug.exit_code, "sentence": bug.sentence}
            self.kill()

    def _take(self, message: dict[str, object]) -> None:
        report, name, within = message.get("report"), message.get("gather"), message.get("within")
        if isinstance(report, dict):
            self.report = report
        elif "progress" in message:
            seconds = within if isinstance(within, int | float) else None
            self.progress.made(str(message["progress"]), seconds, busy=bool(message.get("busy")))
        elif isinstance(name, str) and self._gather is not None:
            self._gather(name, message.get("value"), lambda values: self._answer(name, values))

    def _answer(self, name: str, values: list[object]) -> None:
        line = json.dumps({"gathered": name, "values": values}).encode() + b"\n"
        # The worker may have ended meanwhile.
        with self._writing, contextlib.suppress(OSError):
            self._channel.sendall(line)


_SERVES: Final = "sagemaker_ssd.worker.parameter_server"
_SHOWN_AS: Final[dict[Role, str]] = {"scheduler": "the parameter server's scheduler", "server": "the parameter server"}


class HostProcesses:
    """Started together, killed together; make it in the main thread.

    patience: seconds in which the worker must make progress where other hosts wait for it. place: where the parameter
    server is, None on one host. first: whether this host runs the scheduler too.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        cpus: int,
        mini_batch_size: int,
        patience: float,
        place: ParameterServer | None,
        first: bool,
        gather: Gather,
    ) -> None:
        self._mini_batch_size = mini_batch_size
        self._address = "" if place is None else place.address
        self._serving: dict[Role, ChildProcess] = {}
        self._looked = time.monotonic()
        environment: dict[str, str] = dict(os.environ)
        try:
            if place is not None:
                roles: tuple[Role, ...] = ("scheduler", "server") if first else ("server",)
                for role in roles:
                    self._serving[role] = ChildProcess(_SERVES, [], role_environment(os.environ, role, place))
                environment = role_environment(os.environ, "worker", place)
            self._worker = WorkerProcess(arguments, worker_environment(environment, cpus), gather)
            if place is not None:
                self._worker.progress.made("its start", patience, busy=True)
        except BaseException:
            self._kill_serving()
            raise

    def work(self, seconds: float) -> bool:
        """Wait up to `seconds` for the worker to have done its work, and say whether it has; raises JobError."""
        done = self._worker.ended(seconds)
        reap_orphans([self._worker.pid, *(process.pid for process in self._serving.values())])
        if done:
            error = failure(
                self._worker.returncode or 0, self._worker.report, self._worker.stderr_tail, self._mini_batch_size
            )
            if error is not None:
                raise error
            if self._worker.returncode:
                _log.warning(
                    "The training is done and its model is whole, but the training process ended with %d while it made "
                    "what follows: report, deploy form or ONNX model may be missing",
                    self._worker.returncode,
                )
            return True
        self._watch_serving()
        self._watch_progress()
        return False

    def _watch_serving(self) -> None:
        for role, process in self._serving.items():
            if process.ended(0):
                # They end by themselves only when all workers have left.
                raise serving_failure(
                    _SHOWN_AS[role],
                    process.returncode or 0,
                    process.stderr_tail,
                    self._address,
                    self._mini_batch_size,
                )

    def _watch_progress(self) -> None:
        now = time.monotonic()
        overdue = self._worker.progress.step(now - self._looked, used_by(self._worker.pid))
        self._looked = now
        if overdue is not None:
            raise PlatformError(
                f"the training process on this host made no progress: {overdue}. It hangs, or another host that it "
                "waits for, or the network between them: start the job again; or, if a host is only slow, raise "
                f"{PROGRESS_VARIABLE}"
            )

    def stop(self) -> None:
        """Ask the worker to end, and kill it when it has not after STOP_SECONDS."""
        self._worker.stop(STOP_SECONDS)

    def _kill_serving(self) -> None:
        for process in self._serving.values():
            process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._worker.kill()
        self._kill_serving()
