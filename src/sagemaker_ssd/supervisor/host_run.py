"""A host's part of the job: its processes from their start to their end, and what they leave in the model folder.

The folders that the job writes its results into.
"""

import contextlib
import logging
import os
import sys
import threading
from typing import Final

from sagemaker_ssd.contract.job import Job
from sagemaker_ssd.contract.model_folder import finish_publication, model_state
from sagemaker_ssd.coordination.protocol import Outcome
from sagemaker_ssd.cores import usable_cores
from sagemaker_ssd.errors import JobError, PlatformError, UserError, internal_error
from sagemaker_ssd.supervisor.gpu import check_cards, gpus
from sagemaker_ssd.supervisor.host_group import HostGroup
from sagemaker_ssd.supervisor.host_processes import HostProcesses
from sagemaker_ssd.supervisor.scratch import scratch_folder

_log = logging.getLogger(__name__)
_LISTEN_SECONDS: Final = 0.2


def run_host(job: Job, stop: threading.Event, company: HostGroup, *, gpu_build: bool) -> Outcome:
    """Train what is this host's, and on the first host keep the model; say how it ended, or raise JobError.

    gpu_build: whether this is the GPU image, which does not train on a CPU.
    """
    host, model = job.cluster.current_host, job.paths.model
    if not job.cluster.is_first:
        # The first host writes the model, in local mode of SageMaker's SDK into the very same folder.
        _work(job, stop, company, gpu_build)
        if not company.stopping(stop):
            return Outcome("done", host)
        # Counts only where the first host cannot tell how the stop ended.
        text = f"stopped on request before {job.cluster.hosts[0]}, which writes the model, was heard from"
        return Outcome("stopped", host, PlatformError.exit_code, text)
    make_output_folders(job)
    finish_publication(model)
    before = model_state(model)
    if before is not None:
        _log.warning("%s holds a model already; the first one of this run replaces it", model)
    try:
        _work(job, stop, company, gpu_build)
    except JobError:
        # What went wrong first is what is told.
        with contextlib.suppress(OSError):
            finish_publication(model)
        raise
    finish_publication(model)
    saved = model_state(model) not in (None, before)
    if company.stopping(stop):
        sentence = "" if saved else _stopped_early(job, before is not None)
        return Outcome("stopped", host, 0 if saved else PlatformError.exit_code, sentence)
    if not saved:
        raise internal_error("training ended without a model")
    return Outcome("done", host)


def _stopped_early(job: Job, model_is_there: bool) -> str:
    text = "stopped on request before the first model was saved, "
    text += f"so {job.paths.model} holds the one from before" if model_is_there else "so there is no model"
    return text if job.checkpoints is None else f"{text}. Start the job again: it goes on from its checkpoint, if any"


def _work(job: Job, stop: threading.Event, company: HostGroup, gpu_build: bool) -> None:
    """Run this host's processes to their end, or stop them when asked to; raises JobError for any other end."""
    with scratch_folder() as scratch:
        cpus, graphics = usable_cores(), gpus(scratch)
        if gpu_build:
            check_cards(graphics)
        arguments = ["--base", str(job.paths.base), "--scratch", str(scratch), "--gpus", str(graphics)]
        arguments += ["--patience", str(company.deadlines.progress)]
        # On a terminal a bar shows the progress; SageMaker's log, and local mode's terminal, want lines.
        if sys.stderr.isatty() and "TRAINING_JOB_NAME" not in os.environ:
            arguments.append("--progress-bar")
        place = company.meet(stop)
        if company.stopping(stop):
            return
        with HostProcesses(
            arguments,
            cpus=cpus,
            mini_batch_size=job.hyperparameters.mini_batch_size,
            patience=company.deadlines.progress,
            place=place,
            first=job.cluster.is_first,
            gather=company.gather,
        ) as processes:
            try:
                while not processes.work(_LISTEN_SECONDS):
                    if company.stopping(stop):
                        _log.info("Asked to stop")
                        processes.stop()
                        return
                    company.check()
            except JobError:
                # What goes wrong while the job is being stopped is no failure.
                if not company.stopping(stop):
                    raise


def make_output_folders(job: Job) -> None:
    """Make the folders for the model, the metrics and the checkpoints; raises UserError when one is not writable."""
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
