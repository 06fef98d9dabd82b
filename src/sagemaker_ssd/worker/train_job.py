"""A host's part of a training job, from the hyperparameters to the best model on disk."""

import logging
import os
import time
from pathlib import Path

import mxnet as mx

from sagemaker_ssd.channels.record_file import RecordFile
from sagemaker_ssd.checkpoints.resume import Checkpoint, check_same_data, find_checkpoint
from sagemaker_ssd.checkpoints.writer import CheckpointWriter
from sagemaker_ssd.collectives import ProcessGroup
from sagemaker_ssd.contract.environment import on_sagemaker
from sagemaker_ssd.contract.job import Job
from sagemaker_ssd.contract.model_folder import PARAMETERS
from sagemaker_ssd.files import sha256
from sagemaker_ssd.memory import trim_malloc
from sagemaker_ssd.progress import phase
from sagemaker_ssd.ssd.detect import anchor_boxes
from sagemaker_ssd.ssd.graphs import saved_graph
from sagemaker_ssd.ssd.initial_values import Parameters
from sagemaker_ssd.ssd.loss import matching_bytes
from sagemaker_ssd.ssd.network import Network, NmsSettings
from sagemaker_ssd.training.state import History
from sagemaker_ssd.worker import log_lines
from sagemaker_ssd.worker.agreement import check_devices, check_starting_weights
from sagemaker_ssd.worker.build_trainer import frozen_by, training_devices
from sagemaker_ssd.worker.epochs import EpochRecorder, EpochRunner, ends_early, remove_outputs, run_epochs
from sagemaker_ssd.worker.failures import crowded_images_told
from sagemaker_ssd.worker.initial_weights import initial_weights
from sagemaker_ssd.worker.inputs import (
    agree_on_shares,
    check_channels,
    warn_of_differing_names,
    warn_of_same_images,
    warn_of_unlearnable_classes,
)
from sagemaker_ssd.worker.metrics import Metrics, channel_figures, validation_figures
from sagemaker_ssd.worker.progress_page import ProgressPage
from sagemaker_ssd.worker.stopping import SigtermListener
from sagemaker_ssd.worker.tensorboard import TensorBoard

_log = logging.getLogger(__name__)


@phase("The job is under way")
def train_job(
    job: Job,
    group: ProcessGroup,
    *,
    scratch: Path,
    gpus: int,
    progress_bar: bool,
    sigterm: SigtermListener,
) -> None:
    """Check the channels, train and evaluate epoch by epoch, keep the best epoch's model, and report on it.

    sigterm: is kept from ending the process while a model or a checkpoint is written, which the first host alone does.
    Raises JobError.
    """
    hyperparameters = job.hyperparameters
    # Before the weights and the channels, which can take an hour to read.
    devices = training_devices(gpus, hyperparameters.mini_batch_size)
    check_devices(group, len(devices))
    network = Network(
        hyperparameters.base_network,
        hyperparameters.image_shape,
        hyperparameters.num_classes,
        NmsSettings(hyperparameters.nms_threshold, hyperparameters.nms_topk),
    )
    # A pattern of everything is told now.
    frozen_by(network, hyperparameters.freeze_layer_pattern)
    # Where the training starts: a checkpoint, or a model, weights or random values. Before the channels, whose check
    # can take minutes.
    parameters: Parameters | None = None
    with phase("The model, the weights or the checkpoint to start from is being loaded"):
        checkpoint = find_checkpoint(job, group)
        if checkpoint is None:
            parameters, start = initial_weights(job, saved_graph(network), scratch)
            history = History()
        else:
            if group.is_first:
                with sigterm.saving:
                    # What was made of this very model stays until the job is known to go on.
                    before = _model_digest(job)
                    checkpoint.restore_model(job, saved_graph(network))
                    if _model_digest(job) != before:
                        remove_outputs(job.paths)
            start, history = checkpoint.manifest.start, checkpoint.history()
    # What it trains on.
    begin = time.monotonic()
    with phase("The channels are being checked, on several hosts together"):
        channels = check_channels(job, scratch, group)
        shares, train_figures = agree_on_shares(job, channels.train, group)
    device_batch = -(-shares.batch_size // len(devices))
    data = {"train": train_figures}
    if channels.validation is not None:
        data["validation"] = channel_figures(channels.validation)
        warn_of_unlearnable_classes(train_figures["boxes_per_class"], channels.validation.boxes_per_class)
        warn_of_differing_names(channels.train.class_names, channels.validation.class_names)
        warn_of_same_images(data["train"], data["validation"])
    metrics = Metrics(job, start if checkpoint is None else checkpoint.start, data)
    metrics.add_seconds("checking the data", time.monotonic() - begin)
    # Of the host that evaluates.
    progress, tensorboard = None, None
    if channels.validation is not None:
        names = channels.validation.name_of_each_class()
        progress = ProgressPage(job.paths.report, job.checkpoints, names)
        tensorboard = TensorBoard(job.paths.tensorboard, names, hyperparameters.overlap_threshold)

    end = None if checkpoint is None else _reason_to_end(job, history)

    def write_history() -> None:
        """Write what a person watches, as it was when the job before this one ended."""
        if progress is None or tensorboard is None:
            return
        # A job that goes on has not ended, whatever other validation data make of the epochs so far.
        metrics.write(history, ended_early=end is not None and ends_early(job, history))
        progress.write_report(metrics.document())
        progress.write_copies(metrics.document())
        tensorboard.write(history.epochs, None)

    def tell_best() -> None:
        """Log the mAP of the model that was put back: a job that is stopped before its next evaluation leaves that."""
        if progress is not None:
            host, latest = job.cluster.current_host, len(history.epochs) - 1
            _log.info("%s", log_lines.best_validation_map(host, latest, history.best_score))

    # The training.
    changed: list[str] = []
    if checkpoint is not None:
        if group.is_first:
            changed = check_same_data(data, checkpoint.manifest.data, checkpoint.path, finished=end is not None)
            with sigterm.saving:
                remove_outputs(job.paths)
        write_history()
        # So that no host ends before the first one has written.
        group.all_gather("whether anything is left to train", end)
    if checkpoint is not None and end is not None:
        tell_best()
        _log.warning("%s: no training was done. To train anew, empty %s or name another folder", end, checkpoint.folder)
    else:
        first_epoch = len(history.epochs)
        with phase("The network and the first epoch's images are being made ready"):
            before = "" if checkpoint is None else checkpoint.manifest.precision_dtype
            runner = EpochRunner(
                *(job, network, channels, shares, devices, group),
                first_epoch=first_epoch,
                precision_before=before,
                start=start,
            )
            if checkpoint is not None:
                runner.resume(checkpoint)
            elif parameters is not None:
                runner.load(parameters)
        # The network has its own copy.
        parameters = None
        if checkpoint is not None:
            if "validation" in changed:
                _rescore(checkpoint, runner, history)
                write_history()
            tell_best()
        recorder = None
        if progress is not None and tensorboard is not None:
            writer = None
            if job.checkpoints is not None:
                best = None if checkpoint is None else checkpoint.best
                # SageMaker has put into the folder what it has in S3.
                downloaded = None if checkpoint is None or not on_sagemaker(os.environ) else checkpoint.manifest.epoch
                images = channels.train.images
                writer = CheckpointWriter(
                    *(job.checkpoints, job),
                    start=start,
                    data=data,
                    training_images=images,
                    best=best,
                    downloaded=downloaded,
                    precision_dtype=runner.precision_dtype,
                )
            recorder = EpochRecorder(job, runner, history, metrics, writer, progress, tensorboard, sigterm)
        with phase("The hosts are comparing the weights that they start from"):
            check_starting_weights(group, runner.trainer.digest)
        _log.info("Start training.")
        if recorder is not None and checkpoint is None:
            recorder.await_first_model()
        objects = channels.train.label_objects
        with crowded_images_told(objects, matching_bytes(device_batch, len(anchor_boxes(network)), objects)):
            run_epochs(job, runner, recorder, group, first_epoch=first_epoch, progress_bar=progress_bar)
        # Their memory is for what follows.
        del runner, recorder
        trim_malloc()
    group.report_done()
    # What is made of the best model, on the host that has the validation channel.
    if channels.validation is not None:
        _finalize(job, channels.validation, metrics, devices[0], device_batch, scratch)


def _model_digest(job: Job) -> str | None:
    """Return the digest of the model in the model folder, None where there is none that can be read."""
    try:
        return sha256(job.paths.model / PARAMETERS)
    except OSError:
        return None


def _reason_to_end(job: Job, history: History) -> str | None:
    """Say why nothing is left to train in a resumed job; None where something is."""
    done, epochs = len(history.epochs), job.hyperparameters.epochs
    if done >= epochs:
        return f"Nothing is left to train: {done} epochs are done, and the job asks for {epochs}"
    if ends_early(job, history):
        return f"Nothing is left to train: early stopping ends the job after epoch {done - 1}"
    return None


def _rescore(checkpoint: Checkpoint, runner: EpochRunner, history: History) -> None:
    """Evaluate the best model so far on the validation data of now, so that later epochs are compared with that."""
    epoch, before = history.best_epoch, history.best_score
    best = checkpoint.best_arrays()
    scores = runner.evaluate(epoch, arrays=Parameters(best.arguments, best.states))
    history.rescore(validation_figures(scores), scores.mean)
    _log.warning(
        "The best model so far, of epoch %d, had an mAP of %s on the validation data before and has %s on those of "
        "now, with which later epochs are compared",
        epoch,
        before,
        scores.mean,
    )


def _finalize(
    job: Job, validation: RecordFile, metrics: Metrics, device: mx.Context, batch_size: int, scratch: Path
) -> None:
    try:
        # Not before: what draws and scores takes a second to import.
        from sagemaker_ssd.worker.finalize import finalize

        finalize(job, validation, metrics, device, batch_size, scratch)
    except Exception as error:
        _log.warning("The training is done and its model is whole, but the rest broke off: %s", error, exc_info=True)
