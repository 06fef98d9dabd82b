"""A training job on one host, from checked channels to the best model on disk."""

import logging
from contextlib import AbstractContextManager
from pathlib import Path

from sagemaker_ssd.contract import Job
from sagemaker_ssd.engine.early_stopping import EarlyStopping
from sagemaker_ssd.worker import log_lines
from sagemaker_ssd.worker.channels import check_channels
from sagemaker_ssd.worker.devices import training_devices
from sagemaker_ssd.worker.metrics import Metrics
from sagemaker_ssd.worker.training import Training

_log = logging.getLogger(__name__)


def train_job(
    job: Job, *, scratch: Path, gpus: int, progress_bar: bool, saving: AbstractContextManager[object]
) -> None:
    """Check the channels, train and evaluate epoch by epoch, and keep the best epoch's model.

    saving: entered while a model is written. Raises JobError.
    """
    chosen, host = job.hyperparameters, job.cluster.current_host
    train, validation = check_channels(job, scratch)
    training = Training(job, train, validation, training_devices(gpus, chosen.mini_batch_size), scratch)
    metrics = Metrics(job, train, validation)
    stopping = EarlyStopping(
        chosen.early_stopping_min_epochs, chosen.early_stopping_patience, chosen.early_stopping_tolerance
    )
    scores: list[float] = []
    lowest = float("inf")
    for epoch in range(chosen.epochs):
        losses = training.train(epoch, progress_bar=progress_bar)
        _log.info("%s", log_lines.cross_entropy(host, epoch, losses.batches, losses.cross_entropy))
        _log.info("%s", log_lines.smooth_l1(host, epoch, losses.batches, losses.smooth_l1))
        _log.info("%s", log_lines.throughput(host, losses.images, losses.seconds))
        found = training.evaluate(epoch)
        _log.info("%s", log_lines.validation_map(host, epoch, found.mean))
        # While nothing is detected yet, the epoch with the lowest training loss is the best one.
        loss = losses.cross_entropy + losses.smooth_l1
        best = found.mean > max(scores, default=0.0) or (not any(scores) and found.mean == 0 and loss <= lowest)
        if best:
            lowest = loss
            with saving:
                _log.info("Updating the best model with validation-mAP=%s", found.mean)
                training.save()
        scores.append(found.mean)
        ends = chosen.early_stopping and stopping.ends(scores)
        rate = None if chosen.optimizer == "adadelta" else training.learning_rate(epoch)
        metrics.add(epoch, rate, losses, found, best=best, ended_early=ends)
        _log.info("%s", log_lines.progress(host, epoch + 1, chosen.epochs))
        if ends:
            _log.info("Early stopping after epoch %d: no improvement for %d epochs", epoch, stopping.patience)
            break
