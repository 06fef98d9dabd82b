"""A host's part of a training job, from the hyperparameters to the best model on disk."""

import logging
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import mxnet as mx

from sagemaker_ssd.channels.record_file import RecordFile
from sagemaker_ssd.checkpoints.resume import Resumed, check_same_data, find_checkpoint
from sagemaker_ssd.checkpoints.writer import CheckpointWriter
from sagemaker_ssd.collectives import ProcessGroup
from sagemaker_ssd.contract.hyperparameters import Hyperparameters
from sagemaker_ssd.contract.job import Job
from sagemaker_ssd.ssd.graphs import saved_graph
from sagemaker_ssd.ssd.initial_values import Parameters
from sagemaker_ssd.ssd.network import Network, NmsSettings
from sagemaker_ssd.training.state import History
from sagemaker_ssd.worker.agreement import check_starting_weights
from sagemaker_ssd.worker.build_trainer import training_devices
from sagemaker_ssd.worker.epochs import EpochRecorder, Training, ends_early, run_epochs
from sagemaker_ssd.worker.initial_weights import starting_point
from sagemaker_ssd.worker.inputs import CheckedChannels, agree_on_shares, check_channels
from sagemaker_ssd.worker.memory import trim_malloc
from sagemaker_ssd.worker.metrics import Metrics, channel_figures

_log = logging.getLogger(__name__)


def train_job(
    job: Job,
    peers: ProcessGroup,
    *,
    scratch: Path,
    gpus: int,
    progress_bar: bool,
    saving: AbstractContextManager[object],
) -> None:
    """Check the channels, train and evaluate epoch by epoch, keep the best epoch's model, and report on it.

    saving: entered while a model or a checkpoint is written, which the first host alone does. Raises JobError.
    """
    chosen, network = job.hyperparameters, _network(job.hyperparameters)
    # Before the channels, whose check can take minutes.
    resumed = find_checkpoint(job, peers)
    history, start, parameters = _beginning(job, saved_graph(network), peers, resumed, scratch, saving)
    begin = time.monotonic()
    channels = check_channels(job, scratch, peers)
    shares, train_figures = agree_on_shares(job, channels.train, peers)
    data = {"train": train_figures} | _of_validation(channels)
    metrics = Metrics(job, start if resumed is None else resumed.start, data)
    metrics.took("checking the data", time.monotonic() - begin)
    devices = training_devices(gpus, chosen.mini_batch_size)
    if resumed is None or not _finished(job, peers, resumed, history, metrics, data):
        training = Training(job, network, channels, shares, devices, scratch, peers, begin=len(history.epochs))
        if resumed is not None:
            training.resume(resumed)
        elif parameters is not None:
            training.load(parameters)
        # The network has its own copy.
        parameters = None
        checkpoints = _checkpoints(job, resumed, start, data, channels.train) if peers.is_first else None
        keeper = EpochRecorder(job, training, history, metrics, checkpoints, saving) if peers.is_first else None
        check_starting_weights(peers, training.digest)
        _log.info("Start training.")
        run_epochs(job, training, peers, keeper, begin=len(history.epochs), progress_bar=progress_bar)
        # Its memory is for what follows.
        del training, keeper
        trim_malloc()
    peers.done()
    if channels.validation is not None:
        _close(job, channels.validation, metrics, devices[0], scratch)


def _beginning(
    job: Job,
    graph: mx.sym.Symbol,
    peers: ProcessGroup,
    resumed: Resumed | None,
    scratch: Path,
    saving: AbstractContextManager[object],
) -> tuple[History, dict[str, Any], Parameters | None]:
    """Return the epochs so far, what the training started from, and values to begin with where nothing is resumed."""
    if resumed is None:
        parameters, start = starting_point(job, graph, scratch)
        return History(), start, parameters
    if peers.is_first:
        with saving:
            resumed.put_model_back(job, graph)
    return resumed.history(), resumed.manifest.start, None


def _close(job: Job, validation: RecordFile, metrics: Metrics, device: mx.Context, scratch: Path) -> None:
    try:
        # Not before: what draws and scores takes a second to import.
        from sagemaker_ssd.worker.finalize import Finalization

        Finalization(job, validation, metrics, device, scratch).run()
    except Exception as error:
        _log.warning("The training is done and its model is whole, but the rest broke off: %s", error, exc_info=True)


def _of_validation(channels: CheckedChannels) -> dict[str, dict[str, Any]]:
    return {} if channels.validation is None else {"validation": channel_figures(channels.validation)}


def _network(chosen: Hyperparameters) -> Network:
    return Network(
        chosen.base_network,
        chosen.image_shape,
        chosen.num_classes,
        NmsSettings(chosen.nms_threshold, chosen.nms_topk),
    )


def _finished(
    job: Job, peers: ProcessGroup, resumed: Resumed, history: History, metrics: Metrics, data: dict[str, dict[str, Any]]
) -> bool:
    """Say whether a resumed job is at its end; the first host compares the data and writes the figures so far."""
    finished = _nothing_left(job, history)
    if peers.is_first:
        check_same_data(data, resumed.manifest.data, resumed.path, finished=finished is not None)
        metrics.write(history, ended_early=ends_early(job, history))
    # So that no host ends before the first one has written.
    peers.gather("whether anything is left to train", finished)
    if finished:
        _log.warning(
            "%s: no training was done. To train anew, empty %s or name another folder", finished, resumed.folder
        )
    return finished is not None


def _nothing_left(job: Job, history: History) -> str | None:
    """Say why a resumed job has nothing left to train, None when it has."""
    done, epochs = len(history.epochs), job.hyperparameters.epochs
    if done >= epochs:
        return f"Nothing is left to train: {done} epochs are done, and the job asks for {epochs}"
    if ends_early(job, history):
        return f"Nothing is left to train: early stopping ends the job after epoch {done - 1}"
    return None


def _checkpoints(
    job: Job, resumed: Resumed | None, start: dict[str, Any], data: dict[str, Any], train: RecordFile
) -> CheckpointWriter | None:
    if job.checkpoints is None:
        return None
    best = None if resumed is None else resumed.best
    return CheckpointWriter(job.checkpoints, job, start=start, data=data, training_images=train.images, best=best)
