"""The processes of this host: the worker, and on several hosts those of MXNet's parameter server beside it."""

import logging
import os
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from sagemaker_ssd.errors import PlatformError
from sagemaker_ssd.launch.child_process import ChildProcess
from sagemaker_ssd.launch.orphans import reap_orphans
from sagemaker_ssd.launch.outcome import failure, serving_failure
from sagemaker_ssd.launch.progress import used_by
from sagemaker_ssd.launch.roles import ParameterServer, Role, role_environment
from sagemaker_ssd.launch.worker_process import Gather, WorkerProcess, worker_environment

_log = logging.getLogger(__name__)
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
                "SAGEMAKER_SSD_PROGRESS_SECONDS"
            )

    def stop(self) -> None:
        """Ask the worker to end, and kill it when it has not after 8 seconds."""
        self._worker.stop()

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
