"""A training job on one host, from its hyperparameters to the best model on disk."""

import logging
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from sagemaker_ssd.contract import Job
from sagemaker_ssd.data import RecordFile
from sagemaker_ssd.model.graph import Network, saved_graph
from sagemaker_ssd.worker.channels import check_channels
from sagemaker_ssd.worker.checkpoints import Checkpoints
from sagemaker_ssd.worker.devices import training_devices
from sagemaker_ssd.worker.epochs import Epochs, ends_early
from sagemaker_ssd.worker.history import History
from sagemaker_ssd.worker.metrics import Metrics, channel_figures
from sagemaker_ssd.worker.resuming import Resumed, find_checkpoint
from sagemaker_ssd.worker.starting_point import starting_point
from sagemaker_ssd.worker.training import Training

_log = logging.getLogger(__name__)


def train_job(
    job: Job, *, scratch: Path, gpus: int, progress_bar: bool, saving: AbstractContextManager[object]
) -> None:
    """Check the channels, train and evaluate epoch by epoch, and keep the best epoch's model.

    saving: entered while a model or a checkpoint is written. Raises JobError.
    """
    chosen = job.hyperparameters
    network = Network(
        chosen.base_network,
        chosen.image_shape,
        chosen.num_classes,
        nms_threshold=chosen.nms_threshold,
        nms_topk=chosen.nms_topk,
    )
    graph = saved_graph(network)
    # Before the channels, whose check can take minutes.
    resumed = find_checkpoint(job)
    if resumed is None:
        history = History()
        parameters, start = starting_point(job, graph, scratch)
    else:
        history, start = resumed.history(), resumed.manifest.start
        with saving:
            resumed.put_model_back(job, graph)
        if _nothing_left(job, resumed, history):
            return
    train, validation = check_channels(job, scratch)
    training = Training(job, network, train, validation, training_devices(gpus, chosen.mini_batch_size), scratch)
    if resumed is None:
        training.load(parameters)
    else:
        training.resume(resumed)
    data = {"train": channel_figures(train), "validation": channel_figures(validation)}
    metrics = Metrics(job, start if resumed is None else resumed.start, data)
    checkpoints = _checkpoints(job, resumed, start, data, train)
    _log.info("Start training.")
    Epochs(job, training, history, metrics, checkpoints, saving).run(progress_bar=progress_bar)


def _nothing_left(job: Job, resumed: Resumed, history: History) -> bool:
    """Write the metrics of the epochs so far, and say whether the job is at its end already."""
    early, epochs = ends_early(job, history), job.hyperparameters.epochs
    Metrics(job, resumed.start, resumed.manifest.data).write(history, ended_early=early)
    if early:
        _log.info("Nothing is left to train: early stopping ended the job after epoch %d", resumed.manifest.epoch)
    elif len(history.epochs) >= epochs:
        _log.info("Nothing is left to train: %d of %d epochs are done", len(history.epochs), epochs)
    else:
        return False
    return True


def _checkpoints(
    job: Job, resumed: Resumed | None, start: dict[str, Any], data: dict[str, Any], train: RecordFile
) -> Checkpoints | None:
    if job.checkpoints is None:
        return None
    if resumed is not None and resumed.manifest.training_images != train.images:
        _log.warning(
            "the train channel has %d images to train on, and had %d when the checkpoint was written: the training "
            "goes on with those of now",
            train.images,
            resumed.manifest.training_images,
        )
    best = None if resumed is None else resumed.best
    return Checkpoints(job.checkpoints, job, start=start, data=data, training_images=train.images, best=best)
