"""The epochs of a job, one after the other: trained, evaluated, and what is worth keeping kept."""

import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sagemaker_ssd.contract import Job
from sagemaker_ssd.engine.early_stopping import EarlyStopping
from sagemaker_ssd.engine.epoch import EpochLosses
from sagemaker_ssd.worker import log_lines
from sagemaker_ssd.worker.checkpoints import Checkpoints
from sagemaker_ssd.worker.history import History
from sagemaker_ssd.worker.metrics import Metrics, epoch_figures
from sagemaker_ssd.worker.training import Training

_log = logging.getLogger(__name__)


def ends_early(job: Job, history: History) -> bool:
    """Say whether early stopping ends the job after the epochs so far."""
    chosen = job.hyperparameters
    return chosen.early_stopping and EarlyStopping(
        chosen.early_stopping_min_epochs, chosen.early_stopping_patience, chosen.early_stopping_tolerance
    ).ends(history.scores)


@dataclass(frozen=True)
class Epochs:
    """What the epochs of a job work with; `saving` is entered while files are written that belong together."""

    job: Job
    training: Training
    history: History
    metrics: Metrics
    checkpoints: Checkpoints | None
    saving: AbstractContextManager[object]

    def run(self, *, progress_bar: bool) -> None:
        """Run every epoch that the history does not have yet; raises JobError."""
        chosen = self.job.hyperparameters
        for epoch in range(len(self.history.epochs), chosen.epochs):
            losses = self.training.train(epoch, progress_bar=progress_bar)
            self._tell(epoch, losses)
            self._evaluate_and_keep(epoch, losses)
            ends = ends_early(self.job, self.history)
            _log.info("%s", log_lines.progress(self.job.cluster.current_host, epoch + 1, chosen.epochs))
            if ends:
                patience = chosen.early_stopping_patience
                _log.info("Early stopping after epoch %d: no improvement for %d epochs", epoch, patience)
                break

    def _tell(self, epoch: int, losses: EpochLosses) -> None:
        host = self.job.cluster.current_host
        _log.info("%s", log_lines.cross_entropy(host, epoch, losses.batches, losses.cross_entropy))
        _log.info("%s", log_lines.smooth_l1(host, epoch, losses.batches, losses.smooth_l1))
        _log.info("%s", log_lines.throughput(host, losses.images, losses.seconds))

    def _evaluate_and_keep(self, epoch: int, losses: EpochLosses) -> None:
        found = self.training.evaluate(epoch)
        _log.info("%s", log_lines.validation_map(self.job.cluster.current_host, epoch, found.mean))
        adadelta = self.job.hyperparameters.optimizer == "adadelta"
        rate = None if adadelta else self.training.learning_rate(epoch)
        figures = epoch_figures(epoch, rate, losses, found)
        best = self.history.add(figures, found.mean, losses.cross_entropy + losses.smooth_l1)
        with self.saving:
            if best:
                _log.info("Updating the best model with validation-mAP=%s", found.mean)
                self.training.save()
            # Before the checkpoint, which needs more room on the disk.
            self.metrics.write(self.history, ended_early=ends_early(self.job, self.history))
            if self.checkpoints is not None:
                self.checkpoints.write(self.training.state(), self.history)
