"""The supervisor's story from the signals to the exit code: reads the job, runs this host's part, says how it ended."""

import logging
import os
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Final

from sagemaker_ssd import logs
from sagemaker_ssd.contract.cluster import find_cluster
from sagemaker_ssd.contract.environment import PROGRESS_VARIABLE, Deadlines, read_deadlines
from sagemaker_ssd.contract.hyperparameters import Hyperparameters
from sagemaker_ssd.contract.job import Job, read_job
from sagemaker_ssd.contract.paths import Paths, base_folder
from sagemaker_ssd.errors import JobError, PlatformError, UserError, shorten, unexpected_error
from sagemaker_ssd.gpu import check_driver
from sagemaker_ssd.processes.watchdog import Watchdog, resource_usage
from sagemaker_ssd.progress import READING_FILES, phase
from sagemaker_ssd.supervisor.host_group import HostGroup
from sagemaker_ssd.supervisor.host_run import is_unevaluated, run_host
from sagemaker_ssd.supervisor.stop_flag import STOP_SIGNALS, StopFlag, StoppedEarlyError
from sagemaker_ssd.version import is_gpu_build, version

_log = logging.getLogger(__name__)
_ARGUMENTS: Final[tuple[list[str], ...]] = ([], ["train"])
_USAGE: Final = (
    "this image trains with the argument `train` or none, hosts a model with `serve`, and tries the GPUs with "
    "`check-gpu`"
)
_POLL_SECONDS: Final = 0.1


def main(arguments: Sequence[str]) -> int:
    """Run the job below SAGEMAKER_BASE_DIR, else /opt/ml; return the exit code."""
    # Before anything is touched: a failed job's reason stays where it is.
    if list(arguments) in (["--help"], ["-h"]):
        print(f"{_USAGE}; the job and the model are below SAGEMAKER_BASE_DIR, else /opt/ml")
        return 0
    logs.configure()
    stop = StopFlag()
    stop.answer_signals()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    _log.info("sagemaker-ssd %s, built for %s", version(), "GPUs" if is_gpu_build() else "CPUs")
    paths = Paths(base_folder(os.environ))
    _remove_failure(paths.failure)
    host_group = None
    try:
        _check_arguments(arguments)
        if is_gpu_build():
            check_driver()
        with phase(READING_FILES):
            job = _read_job(paths.base, stop)
        host_group = HostGroup(job.cluster, version(), job.hyperparameters.final_configuration(), stop)
        _run(job, host_group)
    except Exception as error:
        failure = _as_job_error(error)
        _log.error("%s", failure.sentence)
        _write_failure(paths.failure, failure.sentence)
        host_group = host_group or _group_of_faulty_job(paths, arguments, stop)
        # They wait for this host, or train without knowing.
        if host_group is not None:
            host_group.report_failure(failure)
        return failure.exit_code
    finally:
        if host_group is not None:
            host_group.close()
    return 0


def _check_arguments(arguments: Sequence[str]) -> None:
    if list(arguments) not in _ARGUMENTS:
        given = " ".join(arguments)
        raise UserError(f"{_USAGE}; it was started with `{given}`")


def _read_job(base: Path, stop: StopFlag) -> Job:
    """Read the job in a thread, since it walks its channels: that can take minutes, and for ever on a dead mount.

    Raises JobError; PlatformError also where the walk hangs or this host is asked to stop meanwhile.
    """
    done: Future[Job] = Future()

    def read() -> None:
        try:
            done.set_result(read_job(base))
        except BaseException as error:
            done.set_exception(error)

    # No pool, which would wait for the thread at the end of the program.
    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    watchdog = Watchdog()
    watchdog.kick("its start", _progress_seconds(), busy=True)
    before = time.monotonic()
    while True:
        # Not by result's own limit: a file system that gave up raises a TimeoutError too.
        wait([done], _POLL_SECONDS)
        if done.done():
            return done.result()
        if stop.is_set():
            raise StoppedEarlyError
        now = time.monotonic()
        expired = watchdog.check(now - before, resource_usage(os.getpid(), thread.native_id))
        before = now
        if expired is not None:
            raise PlatformError(
                f"the check of the job's files made no progress: {expired}. It hangs, as when a mounted channel "
                f"(FastFile) gives no answer: start the job again; or, if it is only slow, raise {PROGRESS_VARIABLE}"
            )


def _progress_seconds() -> float:
    """Return the deadline for progress; its default where the variables have faults, which are told later."""
    try:
        return read_deadlines(os.environ).progress
    except UserError:
        return Deadlines.progress


def _run(job: Job, host_group: HostGroup) -> None:
    """Train together with the other hosts, if any; raises JobError."""
    _log_configuration(job)
    host_group.check_environment()
    outcome = host_group.agree_on_outcome(run_host(job, host_group, gpu_build=is_gpu_build()))
    failure = outcome.error(job.cluster.current_host)
    if failure is not None:
        raise failure
    stopped = outcome.kind == "stopped"
    message = "Stopped on request, the best model so far is in place" if stopped else "Training is done"
    if job.cluster.is_first:
        if stopped and is_unevaluated(job):
            message = "Stopped on request before the first evaluation, a model of unknown mAP is in place"
        metrics, report = job.paths.metrics, job.paths.report
        # A resumed job that is stopped before its data are checked has put a model back, and has no figures yet.
        figures = f"; metrics: {metrics}" if metrics.is_file() else ""
        _log.info("%s. Model: %s%s", message, job.paths.model, figures)
        # One of an earlier job in the same folder is older than this job's metrics.
        if figures and report.is_file() and report.stat().st_mtime >= metrics.stat().st_mtime:
            _log.info("Report: %s", report)
    else:
        _log.info("%s. The model and the metrics are on %s", message, job.cluster.hosts[0])


def _log_configuration(job: Job) -> None:
    # The built-in's own three lines, which its users' notebooks parse.
    _log.info("Reading default configuration from this program: %s", Hyperparameters.default_configuration())
    source = job.paths.hyperparameters
    _log.info("Merging with provided configuration from %s: %s", source, job.provided)
    _log.info("Final configuration: %s", job.hyperparameters.final_configuration())
    for notice in job.notices:
        _log.warning("%s", notice)


def _as_job_error(error: Exception) -> JobError:
    if isinstance(error, JobError):
        return error
    _log.exception("unexpected error")
    return unexpected_error(error)


def _group_of_faulty_job(paths: Paths, arguments: Sequence[str], stop: StopFlag) -> HostGroup | None:
    """Find the other hosts of a job whose files have faults; None on one host, and where it cannot be told."""
    if list(arguments) not in _ARGUMENTS:
        return None
    cluster = find_cluster(paths)
    return HostGroup(cluster, version(), None, stop) if cluster is not None and cluster.several else None


def _write_failure(path: Path, sentence: str) -> None:
    """Write output/failure, whose first 1,024 characters SageMaker shows as the job's FailureReason.

    When it cannot be written, the log says so.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(shorten(sentence), encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        _log.error("could not write %s: %s", path, error.strerror)


def _remove_failure(path: Path) -> None:
    """Remove what an earlier job on this machine left."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("could not remove the failure file of an earlier job, %s: %s", path, error.strerror)
