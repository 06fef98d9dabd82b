"""Freed memory that glibc keeps.

Work that is done behind the training.

The network of a job, with its trainer and its channels.

The epochs of a job, one after the other: trained, evaluated, and what is worth keeping kept.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mxnet as mx

from sagemaker_ssd.artifacts.model_files import save_model
from sagemaker_ssd.batches.reader import TrainingReader, evaluation_batches, padded_labels
from sagemaker_ssd.batches.shares import Shares
from sagemaker_ssd.checkpoints.resume import Resumed
from sagemaker_ssd.checkpoints.writer import CheckpointWriter
from sagemaker_ssd.collectives import ProcessGroup
from sagemaker_ssd.contract.job import Job
from sagemaker_ssd.cores import decode_threads
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.scoring.average_precision import Scores
from sagemaker_ssd.scoring.detector import Detector
from sagemaker_ssd.scoring.evaluate import evaluate
from sagemaker_ssd.ssd.graphs import detection_graph, saved_graph
from sagemaker_ssd.ssd.initial_values import Parameters, with_fixed_gammas
from sagemaker_ssd.ssd.network import Network
from sagemaker_ssd.training.loop import EarlyStopping, EpochLosses, EpochProgress, combined, diverged, train_epoch
from sagemaker_ssd.training.schedule import Schedule, ServerSchedule
from sagemaker_ssd.training.state import History, TrainingState
from sagemaker_ssd.version import version
from sagemaker_ssd.worker import log_lines
from sagemaker_ssd.worker.agreement import check_weights
from sagemaker_ssd.worker.build_trainer import build_trainer
from sagemaker_ssd.worker.inputs import CheckedChannels
from sagemaker_ssd.worker.log_lines import observer
from sagemaker_ssd.worker.memory import trim_malloc
from sagemaker_ssd.worker.metrics import Metrics, epoch_figures


class Background:
    """Does one piece of work at a time in a thread; what it raises is raised again where somebody looks."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._work: Future[None] | None = None

    def begin(self, work: Callable[[], None]) -> None:
        """Begin a piece of work, when the one before has ended."""
        self.wait()
        self._work = self._pool.submit(work)

    def check(self) -> None:
        """Look, without waiting, whether the work has failed."""
        if self._work is not None and self._work.done():
            self.wait()

    def wait(self) -> None:
        """Wait for the work's end."""
        work, self._work = self._work, None
        if work is not None:
            work.result()


_log = logging.getLogger(__name__)


class Training:
    """Trains, evaluates and saves the network epoch by epoch, as the job's hyperparameters say.

    begin: the number of the first epoch that is trained now.
    """

    def __init__(
        self,
        job: Job,
        network: Network,
        channels: CheckedChannels,
        shares: Shares,
        devices: Sequence[mx.Context],
        scratch: Path,
        peers: ProcessGroup,
        *,
        begin: int,
    ) -> None:
        chosen = job.hyperparameters
        self._job, self._channels, self._shares = job, channels, shares
        self._network, self._peers = network, peers
        self._graph = saved_graph(network)
        self._schedule = Schedule(
            chosen.learning_rate, chosen.lr_scheduler_factor, chosen.lr_scheduler_step, chosen.warmup_epochs
        )
        self._batch_size = int(shares.sizes.max())
        self._reader = self._training_reader(begin, scratch)
        # While the network is bound and its parameters are loaded.
        self._reader.make_ready(begin)
        _log.info("Using %s as training context.", list(devices))
        servers = ServerSchedule(self._schedule, updates_per_epoch=shares.updates, first_epoch=begin)
        self._trainer = build_trainer(chosen, network, channels.train, devices, self._batch_size, servers, peers)

    def _training_reader(self, begin: int, scratch: Path) -> TrainingReader:
        # Not self in the order: a circle would keep the network's memory when the training is done with.
        chosen, shares = self._job.hyperparameters, self._shares
        return TrainingReader(
            self._channels.train,
            order=lambda epoch: shares.order(seed=chosen.seed, epoch=epoch),
            epochs=range(begin, chosen.epochs),
            batch_size=self._batch_size,
            image_shape=chosen.image_shape,
            mean=self._network.mean,
            scratch=scratch,
            threads=decode_threads(),
        )

    def load(self, parameters: Parameters) -> None:
        """Put values for every parameter into the network."""
        self._trainer.load(with_fixed_gammas(self._graph, parameters.arguments), parameters.states)

    def resume(self, resumed: Resumed) -> None:
        """Go on from a checkpoint; raises UserError when its arrays are not those of this network."""
        state = resumed.state()
        if resumed.lacks_optimizer or self._job.hyperparameters.kv_store == "dist_async":
            _log.warning(
                "With dist_async what the optimizer remembers, such as sgd's momentum, is on the servers and in no "
                "checkpoint: it starts anew, from the weights of %s",
                resumed.path,
            )
            self._trainer.load(state.arguments, state.states)
            return
        if not self._trainer.fits(state):
            raise UserError(
                f"{resumed.path}: its arrays do not fit the network. Version {resumed.manifest.program} of this "
                f"program wrote it, this is {version()}: go on with that version's image, or name another folder for "
                "checkpoints (on SageMaker another CheckpointConfig.S3Uri) to start anew"
            )
        self._trainer.restore(state)

    def learning_rate(self, epoch: int) -> float:
        """The rate at an epoch's end."""
        return self._schedule.rate(epoch, self._shares.steps - 1, self._shares.steps)

    def train(self, epoch: int, *, progress_bar: bool, each_batch: Callable[[], None]) -> EpochLosses:
        """Train on every image of this host once; raises UserError when the training diverges.

        each_batch: is called after each one; what it raises ends the epoch.
        """
        chosen, train, steps = self._job.hyperparameters, self._channels.train, self._shares.steps
        batches = self._reader.batches(epoch)
        labelled = ((batch.data, padded_labels(batch.labels, train.max_objects)) for batch in batches)
        self._peers.working(f"the start of epoch {epoch}")
        with observer(epoch, steps, bar=progress_bar) as observe:

            def done(progress: EpochProgress) -> None:
                observe(progress)
                each_batch()
                self._peers.working(f"epoch {epoch}, batch {progress.batches} of {steps}")

            losses = train_epoch(
                self._trainer,
                labelled,
                epoch=epoch,
                rate=lambda batch: self._schedule.rate(epoch, batch, steps),
                observe=done,
                totals=self._shares.totals,
            )
        if chosen.kv_store == "dist_async":
            # Hosts reach the end of an epoch at their own pace, which is no step that has to end in time.
            self._peers.gather(f"the end of epoch {epoch}", None)
            self._peers.working(f"the end of epoch {epoch}")
        self._trainer.synchronize()
        self._trainer.broadcast_states()
        return losses

    def evaluate(self, epoch: int) -> Scores:
        """Score the network as it is after an epoch; raises UserError when its predictions are not finite."""
        chosen, validation = self._job.hyperparameters, self._channels.validation
        assert validation is not None
        # Detection needs memory of its own beside the trainer's.
        trim_malloc()
        batch_size = min(self._batch_size, validation.images)
        detector = Detector(
            detection_graph(self._network),
            self._trainer.replicas,
            batch_size=batch_size,
            image_shape=chosen.image_shape,
        )
        batches = evaluation_batches(
            validation,
            batch_size=batch_size,
            image_shape=chosen.image_shape,
            mean=self._network.mean,
            threads=decode_threads(),
        )
        try:
            return evaluate(
                detector,
                ((batch.data, batch.labels) for batch in batches),
                num_classes=chosen.num_classes,
                overlap_threshold=chosen.overlap_threshold,
            )
        except FloatingPointError as error:
            raise diverged(f"{error} after epoch {epoch}", self.learning_rate(epoch)) from error

    def save(self, state: TrainingState) -> None:
        """Put a network of this training, as it was at some moment, into the model folder."""
        chosen = self._job.hyperparameters
        save_model(self._job.paths.model, self._graph, state.arguments, state.states, chosen.artifact_configuration())

    def digest(self) -> str:
        """Return a digest of the weights, which must be the same on every host."""
        return self._trainer.digest()

    def state(self) -> TrainingState:
        """Return all that the next epoch depends on."""
        return self._trainer.state()


def ends_early(job: Job, history: History) -> bool:
    """Say whether early stopping ends the job after the epochs so far."""
    chosen = job.hyperparameters
    return chosen.early_stopping and EarlyStopping(
        chosen.early_stopping_min_epochs, chosen.early_stopping_patience, chosen.early_stopping_tolerance
    ).ends(history.scores)


def run_epochs(
    job: Job, training: Training, peers: ProcessGroup, keeper: "EpochRecorder | None", *, begin: int, progress_bar: bool
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
    peers: ProcessGroup,
    keeper: "EpochRecorder | None",
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


def _of_all_hosts(epoch: int, losses: EpochLosses, training: Training, peers: ProcessGroup) -> EpochLosses:
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
class EpochRecorder:
    """What evaluates and keeps an epoch; `saving` is entered while files are written that belong together."""

    job: Job
    training: Training
    history: History
    metrics: Metrics
    checkpoints: CheckpointWriter | None
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
