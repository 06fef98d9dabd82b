"""A host's part of the job, from its folders and processes to what they leave in the model folder."""

import contextlib
import json
import logging
import os
from pathlib import Path
from typing import Final

from sagemaker_ssd.amx import environment_for_bfloat16
from sagemaker_ssd.contract.job import Job
from sagemaker_ssd.contract.model_folder import finish_publication, model_state
from sagemaker_ssd.coordination.protocol import Outcome
from sagemaker_ssd.errors import JobError, PlatformError, UserError, internal_error
from sagemaker_ssd.gpu import check_cards, count_gpus
from sagemaker_ssd.supervisor.host_group import HostGroup
from sagemaker_ssd.supervisor.host_processes import HostProcesses
from sagemaker_ssd.supervisor.scratch import scratch_folder

_log = logging.getLogger(__name__)
_POLL_SECONDS: Final = 0.2


def run_host(job: Job, host_group: HostGroup, *, gpu_build: bool) -> Outcome:
    """Train what is this host's, and on the first host keep the model; return how it ended, or raise JobError.

    gpu_build: whether this is the GPU image, which does not train on a CPU.
    """
    if job.cluster.is_first:
        return _run_first_host(job, host_group, gpu_build)
    # The first host writes the model, in local mode of SageMaker's SDK into the very same folder.
    host = job.cluster.current_host
    _train(job, host_group, gpu_build)
    if not host_group.stop_requested:
        return Outcome("done", host)
    # Counts only where the first host cannot tell how the stop ended.
    text = f"stopped on request before {job.cluster.hosts[0]}, which writes the model, was heard from"
    return Outcome("stopped", host, PlatformError.exit_code, text)


def _run_first_host(job: Job, host_group: HostGroup, gpu_build: bool) -> Outcome:
    host, model = job.cluster.current_host, job.paths.model
    _make_output_folders(job)
    _clear_up(model)
    before = model_state(model)
    if before is not None:
        _log.warning("%s holds a model already; the first one of this run replaces it", model)
    try:
        said = _train(job, host_group, gpu_build)
    except JobError:
        # The first failure is the one to report.
        with contextlib.suppress(OSError):
            finish_publication(model)
        raise
    finish_publication(model)
    if said:
        _log.warning("The training process failed while it was being stopped: %s", said)
    saved = model_state(model) not in (None, before)
    if host_group.stop_requested:
        if saved:
            return Outcome("stopped", host)
        sentence = _stopped_early(job, model_is_there=before is not None, said=said)
        return Outcome("stopped", host, PlatformError.exit_code, sentence)
    if not saved:
        raise internal_error("training ended without a model")
    return Outcome("done", host)


def _clear_up(model: Path) -> None:
    """Clear up in the model folder after a job that was killed; raises UserError where that one was another user's."""
    try:
        finish_publication(model)
    except OSError as error:
        at = f" at {error.filename}" if error.filename else ""
        raise UserError(
            f"{model} holds what a job that was killed left there, and it cannot be cleared up: {error.strerror}{at}. "
            f"Make it and all that is in it writable for user {os.geteuid()}, or empty it"
        ) from error


def is_unevaluated(job: Job) -> bool:
    """Say whether the model of this run was saved before an evaluation, as metrics.json tells."""
    try:
        metrics = json.loads((job.paths.output_data / "metrics.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(metrics, dict) and metrics.get("best_mAP") is None


def _stopped_early(job: Job, *, model_is_there: bool, said: str) -> str:
    """Return the sentence of a stop without a model of this run; said: by the training process, as of `_train`."""
    text = "stopped on request before the first model was saved, "
    text += f"so {job.paths.model} holds the one from before" if model_is_there else "so there is no model"
    if job.checkpoints is not None:
        text += ". Start the job again: it goes on from its checkpoint, if any"
    return f"{text}. The training process said: {said}" if said else text


def _train(job: Job, host_group: HostGroup, gpu_build: bool) -> str:
    """Run this host's processes to their end, or stop them when asked to; raises JobError for any other end.

    Returns what the worker said where it failed while it was being stopped, else "".
    """
    with scratch_folder() as scratch:
        gpus = count_gpus(scratch, stopping=lambda: host_group.stop_requested)
        if gpus is None:
            return ""
        if gpu_build:
            check_cards(gpus, stopping=lambda: host_group.stop_requested)
        environment = {}
        if job.hyperparameters.precision_dtype == "bfloat16" and gpus == 0:
            environment = environment_for_bfloat16(stopping=lambda: host_group.stop_requested)
        parameter_server = host_group.rendezvous()
        if host_group.stop_requested:
            return ""
        with HostProcesses(
            job, host_group, parameter_server, scratch=scratch, gpus=gpus, environment=environment
        ) as processes:
            try:
                while not processes.wait(_POLL_SECONDS):
                    if host_group.stop_requested:
                        host_group.relay_stop()
                        _log.info("Asked to stop")
                        processes.stop()
                        return processes.reported_failure
                    host_group.check_verdict()
            except JobError:
                # What goes wrong while the job is being stopped is no failure.
                if not host_group.stop_requested:
                    raise
                host_group.relay_stop()
            return processes.reported_failure


def _make_output_folders(job: Job) -> None:
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
