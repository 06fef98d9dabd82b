"""The network of a job, with its trainer and its channels."""

import logging
from collections.abc import Sequence
from pathlib import Path

import mxnet as mx

from sagemaker_ssd.contract import Job
from sagemaker_ssd.data import RecordFile, epoch_order, evaluation_batches, padded_labels, training_batches
from sagemaker_ssd.engine.average_precision import Scores
from sagemaker_ssd.engine.detector import Detector
from sagemaker_ssd.engine.epoch import EpochLosses, train_epoch
from sagemaker_ssd.engine.evaluation import evaluate
from sagemaker_ssd.engine.optimizer import OptimizerSettings
from sagemaker_ssd.engine.schedule import Schedule
from sagemaker_ssd.engine.trainer import Trainer, TrainingState
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.model.graph import Network, detection_graph, saved_graph, training_graph
from sagemaker_ssd.model.parameters import Parameters, frozen_arguments, stored_statistics
from sagemaker_ssd.version import version
from sagemaker_ssd.worker.devices import decode_threads
from sagemaker_ssd.worker.progress import observer
from sagemaker_ssd.worker.resuming import Resumed
from sagemaker_ssd.worker.saving import save_model

_log = logging.getLogger(__name__)


class Training:
    """Trains, evaluates and saves the network epoch by epoch, as the job's hyperparameters say."""

    def __init__(
        self,
        job: Job,
        network: Network,
        train: RecordFile,
        validation: RecordFile,
        devices: Sequence[mx.Context],
        scratch: Path,
    ) -> None:
        chosen = job.hyperparameters
        self._job, self._files, self._scratch = job, (train, validation), scratch
        self._network = network
        self._graph = saved_graph(network)
        self._schedule = Schedule(
            chosen.learning_rate, chosen.lr_scheduler_factor, chosen.lr_scheduler_step, chosen.warmup_epochs
        )
        self._batch_size = min(chosen.mini_batch_size, train.images)
        _log.info("Using %s as training context.", list(devices))
        self._trainer = self._make_trainer(devices)

    def load(self, parameters: Parameters) -> None:
        """Put values for every parameter into the network."""
        self._trainer.load(parameters.arguments, parameters.states)

    def resume(self, resumed: Resumed) -> None:
        """Go on from a checkpoint; raises UserError when its arrays are not those of this network."""
        state = resumed.state()
        if not self._trainer.fits(state):
            raise UserError(
                f"{resumed.path}: its arrays do not fit the network. Version {resumed.manifest.program} of this "
                f"program wrote it, this is {version()}: go on with that version's image, or name another folder for "
                "checkpoints (on SageMaker another CheckpointConfig.S3Uri) to start anew"
            )
        self._trainer.restore(state)

    def _make_trainer(self, devices: Sequence[mx.Context]) -> Trainer:
        chosen, train = self._job.hyperparameters, self._files[0]
        frozen = self._frozen(chosen.freeze_layer_pattern)
        graph = training_graph(
            self._network,
            empty_images=train.images_without_objects > 0,
            stored_statistics=stored_statistics(frozen),
        )
        settings = OptimizerSettings(
            chosen.optimizer,
            chosen.learning_rate,
            chosen.momentum,
            chosen.weight_decay,
            chosen.clip_gradient,
        )
        return Trainer(
            graph,
            devices,
            settings,
            batch_size=self._batch_size,
            image_shape=chosen.image_shape,
            max_objects=train.max_objects,
            frozen=frozen,
        )

    def _frozen(self, pattern: str | None) -> frozenset[str]:
        frozen = frozen_arguments(self._graph, pattern)
        if pattern is None:
            return frozen
        trainable = set(self._graph.list_arguments()) - {"data", "label"}
        if not frozen:
            _log.warning("freeze_layer_pattern %r matches no layer name: nothing is frozen", pattern)
        elif frozen == trainable:
            raise UserError(
                f"freeze_layer_pattern {pattern!r} matches all {len(trainable)} parameters: nothing is left to train; "
                "write a pattern for the layers to freeze, such as ^(conv1_|conv2_).*"
            )
        else:
            _log.info("Frozen by freeze_layer_pattern: %d of %d parameters", len(frozen), len(trainable))
        return frozen

    def learning_rate(self, epoch: int) -> float:
        """The rate at an epoch's end."""
        batches = -(-self._files[0].images // self._batch_size)
        return self._schedule.rate(epoch, batches - 1, batches)

    def train(self, epoch: int, *, progress_bar: bool) -> EpochLosses:
        """Train on every image once; raises UserError when the training diverges."""
        chosen, train = self._job.hyperparameters, self._files[0]
        count = -(-train.images // self._batch_size)
        batches = training_batches(
            train,
            order=epoch_order(train.images, seed=chosen.seed, epoch=epoch),
            batch_size=self._batch_size,
            image_shape=chosen.image_shape,
            mean=self._network.mean,
            scratch=self._scratch,
            threads=decode_threads(),
        )
        labelled = ((batch.data, padded_labels(batch.labels, train.max_objects)) for batch in batches)
        with observer(epoch, count, bar=progress_bar) as observe:
            losses = train_epoch(
                self._trainer,
                labelled,
                epoch=epoch,
                rate=lambda batch: self._schedule.rate(epoch, batch, count),
                observe=observe,
            )
        self._trainer.align_states()
        return losses

    def evaluate(self, epoch: int) -> Scores:
        """Score the network as it is after an epoch; raises UserError when its predictions are not finite."""
        chosen, validation = self._job.hyperparameters, self._files[1]
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

    def save(self) -> None:
        """Put the network as it is into the model folder."""
        arguments, states = self._trainer.parameters()
        save_model(self._job, self._graph, arguments, states)

    def state(self) -> TrainingState:
        """Return all that the next epoch depends on."""
        return self._trainer.state()
