"""The epochs of a job, one after the other: trained, evaluated, and what is worth keeping kept."""

import contextlib
import logging
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sagemaker_ssd.contract import Job
from sagemaker_ssd.engine.early_stopping import EarlyStopping
from sagemaker_ssd.engine.epoch import EpochLosses, combined
from sagemaker_ssd.engine.training_state import TrainingState
from sagemaker_ssd.worker import log_lines
from sagemaker_ssd.worker.agreement import check_weights
from sagemaker_ssd.worker.background import Background
from sagemaker_ssd.worker.checkpoints import Checkpoints
from sagemaker_ssd.worker.history import History
from sagemaker_ssd.worker.metrics import Metrics, epoch_figures
from sagemaker_ssd.worker.peers import Peers
from sagemaker_ssd.worker.training import Training

_log = logging.getLogger(__name__)


def ends_early(job: Job, history: History) -> bool:
    """Say whether early stopping ends the job after the epochs so far."""
    chosen = job.hyperparameters
    return chosen.early_stopping and EarlyStopping(
        chosen.early_stopping_min_epochs, chosen.early_stopping_patience, chosen.early_stopping_tolerance
    ).ends(history.scores)


def run_epochs(
    job: Job, training: Training, peers: Peers, keeper: "Keeper | None", *, begin: int, progress_bar: bool
) -> None:
    """Run the epochs from number `begin` on; raises JobError.

    keeper: evaluates and keeps on the first host, None on the others, which wait for its word.
    """
    keeping = Background()
    try:
        _run(job, training, peers, keeper, keeping, begin=begin, progress_bar=progress_bar)
    except BaseException:
        # What belongs to an epoch before is kept, and what went wrong first is told.
        with contextlib.suppress(Exception):
            keeping.wait()
        raise


def _run(
    job: Job,
    training: Training,
    peers: Peers,
    keeper: "Keeper | None",
    keeping: Background,
    *,
    begin: int,
    progress_bar: bool,
) -> None:
    host, chosen = job.cluster.current_host, job.hyperparameters
    for epoch in range(begin, chosen.epochs):
        losses = training.train(epoch, progress_bar=progress_bar, each_batch=keeping.check)
        _log.info("%s", log_lines.cross_entropy(host, epoch, losses.batches, losses.cross_entropy))
        _log.info("%s", log_lines.smooth_l1(host, epoch, losses.batches, losses.smooth_l1))
        _log.info("%s", log_lines.throughput(host, losses.images, losses.seconds))
        losses = _of_all_hosts(epoch, losses, training, peers)
        ends = keeper.evaluate_and_keep(epoch, losses, keeping) if keeper else None
        if ends or epoch + 1 == chosen.epochs:
            # Before the others hear of it: no host leaves before the first one has written the last model.
            keeping.wait()
        ends = peers.from_first(f"the mAP of epoch {epoch}", ends)
        _log.info("%s", log_lines.progress(host, epoch + 1, chosen.epochs))
        if ends:
            patience = chosen.early_stopping_patience
            _log.info("Early stopping after epoch %d: no improvement for %d epochs", epoch, patience)
            break


def _of_all_hosts(epoch: int, losses: EpochLosses, training: Training, peers: Peers) -> EpochLosses:
    """Return the losses over all hosts; raises ProgramError unless all have the same weights."""
    if not peers.several:
        return losses
    told: list[dict[str, Any]] = peers.gather(
        f"the weights after epoch {epoch}", {"weights": training.digest(), "losses": losses.plain()}
    )
    weights = [of_host["weights"] for of_host in told]
    check_weights(peers.hosts, weights, epoch)
    _log.info("All hosts have the same weights after epoch %d: sha256 %s", epoch, weights[0][:16])
    return combined([EpochLosses(**of_host["losses"]) for of_host in told])


@dataclass(frozen=True)
class Keeper:
    """What evaluates and keeps an epoch; `saving` is entered while files are written that belong together."""

    job: Job
    training: Training
    history: History
    metrics: Metrics
    checkpoints: Checkpoints | None
    saving: AbstractContextManager[object]

    def evaluate_and_keep(self, epoch: int, losses: EpochLosses, keeping: Background) -> bool:
        """Evaluate, begin to write what belongs to the epoch, and say whether it is the last one; raises JobError."""
        begin = time.monotonic()
        found = self.training.evaluate(epoch)
        evaluating = time.monotonic() - begin
        _log.info("%s", log_lines.validation_map(self.job.cluster.current_host, epoch, found.mean))
        adadelta = self.job.hyperparameters.optimizer == "adadelta"
        rate = None if adadelta else self.training.learning_rate(epoch)
        figures = epoch_figures(epoch, rate, losses, found)
        # What is being written for the epoch before reads the history and the figures.
        keeping.wait()
        self.metrics.took("evaluation", evaluating)
        best = self.history.add(figures, found.mean, losses.cross_entropy + losses.smooth_l1)
        ends = ends_early(self.job, self.history)
        if best:
            _log.info("Updating the best model with validation-mAP=%s", found.mean)
        going_on = self.checkpoints is not None
        kept = self.training.state().copied(optimizer=going_on) if best or going_on else None
        keeping.begin(lambda: self._keep(kept, best=best, ended_early=ends))
        return ends

    def _keep(self, kept: TrainingState | None, *, best: bool, ended_early: bool) -> None:
        begin = time.monotonic()
        with self.saving:
            if best and kept is not None:
                self.training.save(kept)
            self.metrics.took("saving the model", time.monotonic() - begin)
            # Before the checkpoint, which needs more room on the disk.
            self.metrics.write(self.history, ended_early=ended_early)
            if self.checkpoints is not None and kept is not None:
                self.checkpoints.write(kept, self.history)
