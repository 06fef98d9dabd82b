"""The network of a job, with its trainer and its channels."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import mxnet as mx

from sagemaker_ssd.contract import Job
from sagemaker_ssd.cores import decode_threads
from sagemaker_ssd.data import Shares, TrainingReader, evaluation_batches, padded_labels
from sagemaker_ssd.engine.average_precision import Scores
from sagemaker_ssd.engine.detector import Detector
from sagemaker_ssd.engine.epoch import EpochLosses, Progress, train_epoch
from sagemaker_ssd.engine.evaluation import evaluate
from sagemaker_ssd.engine.schedule import Schedule
from sagemaker_ssd.engine.server_schedule import ServerSchedule
from sagemaker_ssd.engine.training_state import TrainingState
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.model.graph import Network, detection_graph, saved_graph
from sagemaker_ssd.model.parameters import Parameters, with_fixed_gammas
from sagemaker_ssd.version import version
from sagemaker_ssd.worker.channels import CheckedChannels
from sagemaker_ssd.worker.freed_memory import give_back
from sagemaker_ssd.worker.making_trainer import make_trainer
from sagemaker_ssd.worker.peers import Peers
from sagemaker_ssd.worker.progress import observer
from sagemaker_ssd.worker.resuming import Resumed
from sagemaker_ssd.worker.saving import save_model

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
        peers: Peers,
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
        self._trainer = make_trainer(chosen, network, channels.train, devices, self._batch_size, servers, peers)

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

            def done(progress: Progress) -> None:
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
        self._trainer.settle()
        self._trainer.align_states()
        return losses

    def evaluate(self, epoch: int) -> Scores:
        """Score the network as it is after an epoch; raises UserError when its predictions are not finite."""
        chosen, validation = self._job.hyperparameters, self._channels.validation
        assert validation is not None
        # Detection needs memory of its own beside the trainer's.
        give_back()
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
        return evaluate(
            detector,
            ((batch.data, batch.labels) for batch in batches),
            num_classes=chosen.num_classes,
            overlap_threshold=chosen.overlap_threshold,
            epoch=epoch,
            learning_rate=self.learning_rate(epoch),
        )

    def save(self, state: TrainingState) -> None:
        """Put a network of this training, as it was at some moment, into the model folder."""
        save_model(self._job, self._graph, state.arguments, state.states)

    def digest(self) -> str:
        """Return a digest of the weights, which must be the same on every host."""
        return self._trainer.digest()

    def state(self) -> TrainingState:
        """Return all that the next epoch depends on."""
        return self._trainer.state()
