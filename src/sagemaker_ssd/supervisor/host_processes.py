"""The processes of this host: the worker, and on several hosts those of MXNet's parameter server."""

import contextlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sagemaker_ssd.contract.environment import HOSTS_VARIABLE, JOB_NAME_VARIABLE, PROGRESS_VARIABLE, stop_budget
from sagemaker_ssd.contract.hyperparameters import Hyperparameters
from sagemaker_ssd.contract.job import Job
from sagemaker_ssd.contract.paths import WITH_A_CHECKPOINT
from sagemaker_ssd.coordination.link import GatherCallback
from sagemaker_ssd.cores import usable_cores
from sagemaker_ssd.data_formats import MAX_PIXELS, OPENCV_PIXELS_VARIABLE
from sagemaker_ssd.errors import PlatformError, unexpected_error
from sagemaker_ssd.files import remove_parts
from sagemaker_ssd.processes.child_process import ChildProcess, ConnectedProcess, reap_orphans
from sagemaker_ssd.processes.exit_reason import exit_failure
from sagemaker_ssd.processes.mxnet_environment import mxnet_environment
from sagemaker_ssd.processes.watchdog import resource_usage
from sagemaker_ssd.supervisor.host_group import HostGroup
from sagemaker_ssd.supervisor.parameter_server import (
    SERVER_MODULE,
    ParameterServer,
    Role,
    role_environment,
    role_failure,
)

_log = logging.getLogger(__name__)
_WORKER: Final = "sagemaker_ssd.worker"
_POLL_SECONDS: Final = 0.2
# From the end of the wait for a stream until a worker that waits for it counts as one that hangs, in seconds.
_STREAM_MARGIN: Final = 60.0
AllGather = Callable[[str, object, GatherCallback], None]


class HostProcesses:
    """Started together, killed together; make it in the main thread.

    parameter_server: where it is, None on one host. scratch: the folder for temporary files. gpus: how many the machine
    has. environment: variables of the worker beside those of this process.
    """

    def __init__(
        self,
        job: Job,
        host_group: HostGroup,
        parameter_server: ParameterServer | None,
        *,
        scratch: Path,
        gpus: int,
        environment: Mapping[str, str],
    ) -> None:
        self._memory_remedy = memory_remedy(job.hyperparameters, writes_checkpoints=job.checkpoints is not None)
        self._cluster, self._host_group = job.cluster, host_group
        self._stop_seconds = stop_budget(os.environ).worker
        self._parameter_server = parameter_server
        self._servers: dict[Role, ChildProcess] = {}
        self._outputs = (job.paths.model, job.paths.output_data)
        self._last_check = time.monotonic()
        # Who waits for a stream has a deadline of its own, which tells more.
        streams = [channel.pipe_seconds for channel in (job.train, job.validation) if channel.mode == "Pipe"]
        patience = max([host_group.deadlines.progress, *(seconds + _STREAM_MARGIN for seconds in streams)])
        its_own: Mapping[str, str] = os.environ
        try:
            if parameter_server is not None:
                roles: tuple[Role, ...] = ("scheduler", "server") if job.cluster.is_first else ("server",)
                for role in roles:
                    its_environment = role_environment(os.environ, role, parameter_server)
                    self._servers[role] = ChildProcess(SERVER_MODULE, [], its_environment)
                its_own = role_environment(os.environ, "worker", parameter_server)
            self._worker = WorkerProcess(
                _worker_arguments(job, scratch, gpus, patience),
                mxnet_environment({**_worker_defaults(scratch), **its_own, **environment}, usable_cores()),
                host_group.all_gather,
            )
            self._worker.watchdog.kick("its start", patience, busy=True)
        except BaseException:
            self._kill_servers()
            raise

    def wait(self, seconds: float) -> bool:
        """Wait up to `seconds` for the worker to have done its work, and say whether it has; raises JobError."""
        ended = self._worker.wait(seconds)
        reap_orphans([self._worker.pid, *(process.pid for process in self._servers.values())])
        if ended:
            self._check_end_of_worker()
            return True
        self._check_servers()
        return self._check_watchdog()

    def _check_end_of_worker(self) -> None:
        worker = self._worker
        error = exit_failure(
            "the training process", worker.returncode or 0, worker.report, worker.stderr_tail, self._memory_remedy
        )
        if error is not None:
            raise error
        if worker.returncode:
            _log.warning(
                "The training is done and its model is whole, but the training process ended with %d while it made "
                "what follows: report, deploy form or ONNX model may be missing",
                worker.returncode,
            )

    def _check_servers(self) -> None:
        # What follows the training needs none of them.
        if self._worker_is_done:
            return
        for role, process in self._servers.items():
            if process.wait(0):
                # They end by themselves only when all workers have left.
                assert self._parameter_server is not None
                raise role_failure(
                    role, process.returncode or 0, process.stderr_tail, self._parameter_server, self._memory_remedy
                )

    def _check_watchdog(self) -> bool:
        """Say whether the worker's part is done although it hangs; raises PlatformError where it hangs before."""
        now = time.monotonic()
        expired = self._worker.watchdog.check(now - self._last_check, resource_usage(self._worker.pid))
        self._last_check = now
        if expired is None:
            return False
        if self._worker_is_done:
            _log.warning(
                "The training is done and its model is whole, but the training process hangs while it makes what "
                "follows (%s): report, deploy form or ONNX model may be missing",
                expired,
            )
            self._worker.kill()
            return True
        raise hanging_worker(expired, self._worker.watchdog.variable, several=self._cluster.several)

    @property
    def _worker_is_done(self) -> bool:
        """Whether the worker has reported that this host's part of the job is done."""
        return self._worker.report is not None and self._worker.report.get("exit_code") == 0

    @property
    def reported_failure(self) -> str:
        """The sentence with which the worker reported that it failed, "" where it has not."""
        report = self._worker.report
        return "" if report is None or report.get("exit_code") == 0 else str(report.get("sentence"))

    def stop(self) -> None:
        """Have the worker end in the time that a stop may take, and kill it when it does not.

        The other hosts' workers go on until the first one's has saved what it can, since it makes its steps with them.
        """
        if self._cluster.is_first:
            self._worker.stop(self._stop_seconds)
            return
        deadline = time.monotonic() + self._stop_seconds
        while time.monotonic() < deadline and not self._host_group.is_decided:
            # It can fail now, as the first host's worker is not there any more.
            if self._worker.wait(_POLL_SECONDS):
                return
        self._worker.kill()

    def _kill_servers(self) -> None:
        for process in self._servers.values():
            process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._worker.kill()
        self._kill_servers()
        # Of what it was writing when it was stopped. SageMaker uploads all that is there.
        for folder in self._outputs:
            remove_parts(folder)


class WorkerProcess(ConnectedProcess):
    """Runs `python -m sagemaker_ssd.worker`, which writes JSON lines to its end of a socket.

    {"report": {"exit_code", "sentence"}} says how it ended: `report`, None when it had no chance to say.
    {"progress": text, "within": seconds or null, "busy": whether, "variable": what sets the seconds} says what it does,
    and kicks the `watchdog`.
    {"gather": name, "value": value} is handed to `all_gather`; the values of all hosts go back as
    {"gathered": name, "values": [...]}.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], all_gather: AllGather) -> None:
        super().__init__(_WORKER, arguments, environment)
        self._all_gather, self._writing = all_gather, threading.Lock()
        reader = threading.Thread(target=self._read_channel, daemon=True)
        self._readers.append(reader)
        reader.start()

    def _read_channel(self) -> None:
        with self.channel, self.channel.makefile("rb") as lines:
            for line in lines:
                # A process that is killed can leave half a line.
                with contextlib.suppress(json.JSONDecodeError):
                    self._receive(json.loads(line))

    def _receive(self, message: dict[str, object]) -> None:
        try:
            report, name, within = message.get("report"), message.get("gather"), message.get("within")
            if isinstance(report, dict):
                self.report = report
            elif "progress" in message:
                timeout = within if isinstance(within, int | float) else None
                variable = str(message["variable"]) if "variable" in message else None
                busy = bool(message.get("busy"))
                self.watchdog.kick(str(message["progress"]), timeout, busy=busy, variable=variable)
            elif isinstance(name, str):
                self._all_gather(name, message.get("value"), lambda values: self._answer(name, values))
        except Exception as error:
            # The worker would wait for an answer for ever.
            _log.exception("unexpected error")
            bug = unexpected_error(error)
            self.report = {"exit_code": bug.exit_code, "sentence": bug.sentence}
            self.kill()

    def _answer(self, name: str, values: list[object]) -> None:
        line = json.dumps({"gathered": name, "values": values}).encode() + b"\n"
        # The worker may have ended meanwhile.
        with self._writing, contextlib.suppress(OSError):
            self.channel.sendall(line)


def _worker_defaults(scratch: Path) -> dict[str, str]:
    """Return variables of the worker that the caller may set otherwise."""
    defaults = {OPENCV_PIXELS_VARIABLE: str(MAX_PIXELS)}
    # os.path, since Path.home raises an error where nobody knows of a home.
    if not os.access(os.path.expanduser("~"), os.W_OK):  # noqa: PTH111
        # Where matplotlib puts its list of fonts, which would stay in TMPDIR. It takes seconds to make, so that a list
        # of earlier jobs in the home folder is better.
        defaults["MPLCONFIGDIR"] = str(scratch)
    return defaults


def _worker_arguments(job: Job, scratch: Path, gpus: int, patience: float) -> list[str]:
    """Return the worker's arguments; patience: seconds in which it must make progress where other hosts wait for it."""
    arguments = ["--base", str(job.paths.base), "--scratch", str(scratch), "--gpus", str(gpus)]
    arguments += ["--patience", str(patience)]
    # On a terminal a bar shows the progress; SageMaker's log, and local mode's terminal, want lines.
    if sys.stderr.isatty() and JOB_NAME_VARIABLE not in os.environ:
        arguments.append("--progress-bar")
    return arguments


def hanging_worker(expired: str, variable: str | None, *, several: bool) -> PlatformError:
    """Return the failure of a worker that hangs: `expired` since when, `variable` for how long it may, if not usual."""
    what = f"the training process on this host made no progress: {expired}"
    if variable == HOSTS_VARIABLE:
        return PlatformError(
            f"{what}. The hosts have met, but MXNet's parameter server, which uses ports of its own, finds no way "
            "between them: allow all TCP ports between the hosts (on SageMaker in the security groups of the job's "
            f"VPC), and start the job again; or, if a host is only slow, raise {variable}"
        )
    if several:
        return PlatformError(
            f"{what}. It hangs, or another host that it waits for, or the network between them: start the job again; "
            f"or, if a host is only slow, raise {PROGRESS_VARIABLE}"
        )
    return PlatformError(
        f"{what}. It hangs, as when a GPU, the disk or a mounted channel (FastFile) gives no answer: start the job "
        f"again; or, if the machine is only slow, raise {PROGRESS_VARIABLE}"
    )


def memory_remedy(hyperparameters: Hyperparameters, *, writes_checkpoints: bool = False) -> str:
    """Return which hyperparameters to lower where the machine had run out of memory."""
    now, smaller = hyperparameters.mini_batch_size, hyperparameters.smaller_batch_size
    lower = f"lower mini_batch_size (now {now}; try {smaller}) or image_shape" if smaller else "lower image_shape"
    return f"{lower} and, {WITH_A_CHECKPOINT}" if writes_checkpoints else lower
