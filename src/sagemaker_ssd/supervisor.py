"""The program behind `train`: checks the job, runs the worker, and says how it ended. It never imports MXNet."""

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from sagemaker_ssd import logs
from sagemaker_ssd.contract import Job, read_job
from sagemaker_ssd.contract.hyperparameters import Hyperparameters
from sagemaker_ssd.contract.paths import Paths
from sagemaker_ssd.contract.publication import finish_publication, model_state
from sagemaker_ssd.errors import JobError, PlatformError, ProgramError, UserError
from sagemaker_ssd.launch.failure_file import remove_failure, write_failure
from sagemaker_ssd.launch.gpu import check_cards, check_driver
from sagemaker_ssd.launch.instance import gpus
from sagemaker_ssd.launch.orphans import reap_orphans
from sagemaker_ssd.launch.outcome import failure
from sagemaker_ssd.launch.scratch import scratch_folder
from sagemaker_ssd.launch.worker_process import WorkerProcess, worker_environment
from sagemaker_ssd.version import is_gpu_build, version

_log = logging.getLogger(__name__)
_LISTEN_SECONDS = 0.2
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def main(arguments: Sequence[str]) -> int:
    """Run the job below SAGEMAKER_BASE_DIR, else /opt/ml; return the exit code."""
    logs.configure()
    stop = threading.Event()

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in _STOP_SIGNALS:
        signal.signal(number, ask_to_stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
    _log.info("sagemaker-ssd %s, built for %s", version(), "GPUs" if is_gpu_build() else "CPUs")
    paths = Paths(Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")))
    remove_failure(paths.failure)
    try:
        _refuse_unknown(arguments)
        if is_gpu_build():
            check_driver()
        _run(paths, stop)
    except JobError as error:
        return _failed(paths, error)
    except Exception as error:
        _log.exception("unexpected error")
        text = f"{type(error).__name__}: {error}. This is a bug of this program; the job's log has the details"
        return _failed(paths, ProgramError(text))
    return 0


def _refuse_unknown(arguments: Sequence[str]) -> None:
    if list(arguments) not in ([], ["train"]):
        given = " ".join(arguments)
        raise UserError(
            f"this image trains, and takes the argument `train` or none; it was started with `{given}`. To host the "
            "model it writes, use a serving image that runs MXNet models"
        )


def _failed(paths: Paths, error: JobError) -> int:
    _log.error("%s", error.sentence)
    write_failure(paths.failure, error.sentence)
    return error.exit_code


def _run(paths: Paths, stop: threading.Event) -> None:
    job = read_job(paths.base)
    _log_configuration(job)
    _make_output_folders(job)
    finish_publication(paths.model)
    before = model_state(paths.model)
    if before is not None:
        _log.warning("%s holds a model already; the first one of this run replaces it", paths.model)
    try:
        with scratch_folder() as scratch:
            _work(job, scratch, stop)
    except JobError:
        # What went wrong first is what is told.
        with contextlib.suppress(OSError):
            finish_publication(paths.model)
        raise
    finish_publication(paths.model)
    saved = model_state(paths.model) not in (None, before)
    if stop.is_set() and not saved:
        raise PlatformError(_stopped_early(job, before is not None))
    if not saved:
        raise ProgramError("training ended without a model; this is a bug of this program")
    _log.info(
        "%s. Model: %s; metrics: %s",
        "Stopped on request, the best model so far is in place" if stop.is_set() else "Training is done",
        paths.model,
        paths.output_data / "metrics.json",
    )


def _stopped_early(job: Job, model_is_there: bool) -> str:
    text = "stopped on request before the first model was saved, "
    text += f"so {job.paths.model} holds the one from before" if model_is_there else "so there is no model"
    return text if job.checkpoints is None else f"{text}. Start the job again: it goes on from its checkpoint, if any"


def _log_configuration(job: Job) -> None:
    # The built-in's own three lines, which its users' notebooks parse.
    _log.info("Reading default configuration from this program: %s", Hyperparameters.default_configuration())
    source = job.paths.hyperparameters
    _log.info("Merging with provided configuration from %s: %s", source, job.provided)
    _log.info("Final configuration: %s", job.hyperparameters.final_configuration())
    for notice in job.notices:
        _log.warning("%s", notice)


def _make_output_folders(job: Job) -> None:
    wanted = {job.paths.model: "its results", job.paths.output_data: "its results"}
    if job.checkpoints is not None:
        wanted[job.checkpoints] = "its checkpoints"
    for folder, what in wanted.items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # The ending keeps SageMaker from uploading it.
            probe = folder / ".writable.sagemaker-ignore"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UserError(
                f"cannot write to {folder}: {error.strerror}. The job needs to write {what} there"
            ) from error


def _work(job: Job, scratch: Path, stop: threading.Event) -> None:
    """Run the worker to its end, or stop it when asked to; raise JobError for any other end."""
    cpus, graphics = len(os.sched_getaffinity(0)), gpus(scratch)
    if is_gpu_build():
        check_cards(graphics)
    arguments = ["--base", str(job.paths.base), "--scratch", str(scratch), "--gpus", str(graphics)]
    # On a terminal a bar shows the progress; SageMaker's log, and local mode's terminal, want lines.
    if sys.stderr.isatty() and "TRAINING_JOB_NAME" not in os.environ:
        arguments.append("--progress-bar")
    if stop.is_set():
        return
    worker = WorkerProcess(arguments, worker_environment(os.environ, cpus))
    try:
        while not worker.ended(_LISTEN_SECONDS):
            reap_orphans(worker.pid)
            if stop.is_set():
                _log.info("Asked to stop")
                worker.stop()
                return
    finally:
        worker.kill()
    if stop.is_set():
        return
    error = failure(worker.returncode or 0, worker.report, worker.stderr_tail, job.hyperparameters.mini_batch_size)
    if error is not None:
        raise error
