"""The epochs of a job, one after the other: trained, evaluated, and the best model, checkpoint and metrics written."""

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.artifacts.model_files import save_model
from sagemaker_ssd.batches.reader import LoaderOptions, TrainingLoader, evaluation_batches, padded_labels
from sagemaker_ssd.batches.shares import Shares
from sagemaker_ssd.checkpoints.format import ANOTHER_FOLDER
from sagemaker_ssd.checkpoints.resume import Checkpoint
from sagemaker_ssd.checkpoints.writer import CheckpointWriter
from sagemaker_ssd.collectives import ProcessGroup
from sagemaker_ssd.contract.job import Job
from sagemaker_ssd.contract.model_folder import model_state
from sagemaker_ssd.contract.paths import Paths
from sagemaker_ssd.cores import usable_cores
from sagemaker_ssd.errors import UserError, some
from sagemaker_ssd.export.deploy import DEPLOY_FILES
from sagemaker_ssd.memory import trim_malloc
from sagemaker_ssd.progress import images_line, phase, progress_lines
from sagemaker_ssd.scoring.average_precision import Scores
from sagemaker_ssd.scoring.coco import GROUND_TRUTH_FILE, RESULTS_FILE
from sagemaker_ssd.scoring.detector import Detector, NetworkReplica, Weights
from sagemaker_ssd.scoring.evaluate import evaluate
from sagemaker_ssd.ssd.graphs import detection_graph, saved_graph
from sagemaker_ssd.ssd.initial_values import Parameters, with_fixed_gammas
from sagemaker_ssd.ssd.network import Network
from sagemaker_ssd.training.loop import DivergedError, EarlyStopping, EpochLosses, EpochProgress, combined, train_epoch
from sagemaker_ssd.training.schedule import Schedule, ServerSchedule
from sagemaker_ssd.training.state import History, TrainingState, not_finite
from sagemaker_ssd.version import version
from sagemaker_ssd.worker import log_lines
from sagemaker_ssd.worker.agreement import check_weights
from sagemaker_ssd.worker.build_trainer import build_trainer, training_precision
from sagemaker_ssd.worker.failures import diverged
from sagemaker_ssd.worker.inputs import CheckedChannels
from sagemaker_ssd.worker.metrics import Metrics, epoch_figures
from sagemaker_ssd.worker.progress_page import ProgressPage
from sagemaker_ssd.worker.stopping import SigtermListener
from sagemaker_ssd.worker.tensorboard import PictureSample, TensorBoard, has_pictures

_log = logging.getLogger(__name__)
# The parameters that a sentence names before it only counts the rest.
_NAMED: Final = 3


class EpochRunner:
    """The job's network with its trainer and its data: trains and evaluates it, an epoch at a time.

    first_epoch: the number of the first one that is trained now, counted from 0. start: where the training began, of
    `InitialWeights`, whether or not it goes on from a checkpoint.
    """

    def __init__(
        self,
        job: Job,
        network: Network,
        channels: CheckedChannels,
        shares: Shares,
        devices: Sequence[mx.Context],
        group: ProcessGroup,
        *,
        first_epoch: int,
        start: Mapping[str, Any],
        precision_before: str = "",
    ) -> None:
        hyperparameters = job.hyperparameters
        self._job, self._channels, self._shares = job, channels, shares
        # A processor that computes is seen to; of a GPU nothing is seen, and who waits for it in vain may be busy.
        self._alone = not group.several and devices[0].device_type == "cpu"
        self._network, self._group = network, group
        self._graph = saved_graph(network)
        self._schedule = Schedule(
            hyperparameters.learning_rate,
            hyperparameters.lr_scheduler_factor,
            hyperparameters.lr_scheduler_step,
            hyperparameters.warmup_epochs,
        )
        self._loader_options = LoaderOptions(
            shares.batch_size, hyperparameters.image_shape, network.mean, threads=usable_cores()
        )
        self._loader = TrainingLoader(
            channels.train,
            self._loader_options,
            seed=hyperparameters.seed,
            # Not self in the order: a reference cycle would keep the network's memory when the training is done.
            order=lambda epoch: shares.order(seed=hyperparameters.seed, epoch=epoch),
            epochs=range(first_epoch, hyperparameters.epochs),
            images_before=shares.images_before,
        )
        # What the last evaluation took, for the time that is left.
        self._evaluation_seconds = 0.0
        self._model_saved = False
        _log.info("Using %s as training context.", list(devices))
        # It measures, so that nothing may be decoded beside it.
        self.precision_dtype = training_precision(
            hyperparameters.precision_dtype, network, devices, group, before=precision_before
        )
        # While the network is bound and its parameters are loaded.
        self._loader.make_ready(first_epoch)
        servers = ServerSchedule(self._schedule, updates_per_epoch=shares.updates, first_epoch=first_epoch)
        self._updates_before = servers.updates_before
        self.trainer = build_trainer(
            hyperparameters,
            network,
            channels.train,
            devices,
            shares.batch_size,
            servers,
            group,
            precision_dtype=self.precision_dtype,
            start=start,
        )

    def load(self, parameters: Parameters) -> None:
        """Put values for every parameter into the network."""
        self.trainer.load(with_fixed_gammas(self._graph, parameters.arguments), parameters.states)

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint; raises UserError when its arrays are not those of this network."""
        state = checkpoint.state()
        without_optimizer = checkpoint.lacks_optimizer or self._job.hyperparameters.kv_store == "dist_async"
        if not self.trainer.fits(state, optimizer=not without_optimizer):
            raise UserError(
                f"{checkpoint.path}: its arrays do not fit the network. Version {checkpoint.manifest.program} of this "
                f"program wrote it, this is {version()}: go on with that version's image, or {ANOTHER_FOLDER}"
            )
        if without_optimizer:
            _log.warning(
                "With dist_async what the optimizer remembers, such as sgd's momentum, is on the servers and in no "
                "checkpoint: it starts anew, from the weights of %s",
                checkpoint.path,
            )
            self.trainer.load(state.arguments, state.states, updates_before=self._updates_before)
            return
        self.trainer.restore(state)

    def learning_rate(self, epoch: int) -> float:
        """The rate at an epoch's end."""
        return self._schedule.rate(epoch, self._shares.steps - 1, self._shares.steps)

    def train(self, epoch: int, *, progress_bar: bool, each_batch: Callable[[], None]) -> EpochLosses:
        """Train on every image of this host once; raises UserError when the training diverges.

        each_batch: is called after each one; what it raises ends the epoch.
        """
        train, steps = self._channels.train, self._shares.steps
        batches = self._loader.batches(epoch)
        labelled = ((batch.data, padded_labels(batch.labels, train.label_objects)) for batch in batches)
        self._group.report_progress(f"the start of epoch {epoch}", alone=self._alone)
        with log_lines.batch_reporter(
            epoch,
            steps,
            bar=progress_bar,
            later_epochs=self._job.hyperparameters.epochs - epoch - 1,
            seconds_between_epochs=self._evaluation_seconds,
        ) as report:

            def after_batch(progress: EpochProgress) -> None:
                report(progress)
                each_batch()
                what = f"epoch {epoch}, batch {progress.batches} of {steps}"
                self._group.report_progress(what, alone=self._alone)

            try:
                losses = train_epoch(
                    self.trainer,
                    labelled,
                    epoch=epoch,
                    rate=lambda batch: self._schedule.rate(epoch, batch, steps),
                    observe=after_batch,
                    totals=self._shares.totals,
                )
            except DivergedError as error:
                raise self._diverged(str(error), error.learning_rate) from error
        if self._job.hyperparameters.kv_store == "dist_async":
            # Hosts reach the end of an epoch at their own pace, which is no step that has to end in time.
            self._group.all_gather(f"the end of epoch {epoch}", None)
            self._group.report_progress(f"the end of epoch {epoch}")
        with phase(f"The last updates of epoch {epoch} are being computed"):
            self.trainer.synchronize()
            self.trainer.broadcast_states()
        self._group.report_progress(f"the training of epoch {epoch}", alone=True)
        return losses

    def evaluate(
        self,
        epoch: int,
        *,
        each_batch: Callable[[], object] = lambda: None,
        sample: PictureSample | None = None,
        arrays: Parameters | None = None,
    ) -> Scores:
        """Score the network as it is after an epoch; raises UserError when its predictions are not finite.

        each_batch: is called before each one. sample: is given the detections of every image. arrays: those of the
        network after the epoch, where the training is at another one.
        """
        hyperparameters, validation = self._job.hyperparameters, self._channels.validation
        assert validation is not None
        # Detection needs memory of its own besides the trainer's.
        trim_malloc()
        batch_size = min(self._shares.batch_size, validation.images)
        replicas: Sequence[NetworkReplica] = self.trainer.replicas
        if arrays is not None:
            # In main memory, where they were read to, unless the trainer's device is another.
            device = self.trainer.replicas[0].device
            arguments, states = (
                {name: array.as_in_context(device) for name, array in of.items()}
                for of in (arrays.arguments, arrays.states)
            )
            replicas = [Weights(device, arguments, states)]
        detector = Detector(
            detection_graph(self._network),
            replicas,
            batch_size=batch_size,
            image_shape=hyperparameters.image_shape,
        )
        batches = evaluation_batches(validation, dataclasses.replace(self._loader_options, batch_size=batch_size))
        begin, done = time.monotonic(), 0

        def counted() -> Iterator[tuple[mx.nd.NDArray, list[NDArray[np.float32]]]]:
            nonlocal done
            for number, batch in enumerate(batches):
                each_batch()
                self._group.report_progress(f"the evaluation after epoch {epoch}, batch {number}", alone=self._alone)
                yield batch.data, batch.labels
                done += len(batch.labels)
            # What is left is computed here.
            self._group.report_progress(f"the evaluation after epoch {epoch}", alone=True)

        def describe(seconds: float) -> str:
            return images_line(f"Evaluation after epoch {epoch}", done, validation.images, seconds)

        try:
            with progress_lines(describe):
                scores = evaluate(
                    detector,
                    counted(),
                    num_classes=hyperparameters.num_classes,
                    overlap_threshold=hyperparameters.overlap_threshold,
                    observe=None if sample is None else sample.add,
                )
        except FloatingPointError as error:
            raise self._diverged(f"{error} after epoch {epoch}", self.learning_rate(epoch)) from error
        self._evaluation_seconds = time.monotonic() - begin
        return scores

    def check_finite(self, epoch: int, when: str) -> None:
        """Raise UserError where a parameter or a state of the network as it is now is not a finite number.

        when: how the sentence goes on, such as "after epoch 3".
        """
        # Losses and predictions need not show it: oneDNN's ReLU makes 0 of NaN, and BatchNorm makes a constant of what
        # it divides by an infinite variance.
        wrong = not_finite(*self.trainer.parameters())
        if wrong:
            what = f"values of {some(wrong, _NAMED)} are not finite numbers {when}"
            raise self._diverged(what, self.learning_rate(epoch))

    def _diverged(self, what: str, learning_rate: float) -> UserError:
        asked, writes_checkpoints = self._job.hyperparameters, self._job.checkpoints is not None
        return diverged(what, learning_rate, asked, writes_checkpoints=writes_checkpoints)

    def picture_sample(self) -> PictureSample:
        """Return a sample for the detections of an evaluation."""
        assert self._channels.validation is not None
        return PictureSample(self._channels.validation)

    def save_model(self, state: TrainingState) -> None:
        """Put the network, as it was at some moment of this training, into the model folder."""
        configuration = self._job.hyperparameters.artifact_configuration()
        if not self._model_saved:
            remove_outputs(self._job.paths)
        save_model(self._job.paths.model, self._graph, state, configuration)
        self._model_saved = True


def remove_outputs(paths: Paths) -> None:
    """Remove what an earlier job in the same folders made of its model, before another model takes that one's place."""
    deploy = [paths.deploy / name for name in DEPLOY_FILES]
    coco = [paths.output_data / name for name in (GROUND_TRUTH_FILE, RESULTS_FILE)]
    for path in (paths.report, paths.onnx_model, *deploy, *coco):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("%s is of an earlier job's model and cannot be removed: %s", path, error.strerror)


class BackgroundTask:
    """Does one task at a time in a thread; what it raises is raised again in the next `check`, `wait` or `begin`."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._task: Future[None] | None = None

    def begin(self, task: Callable[[], None]) -> None:
        """Begin a task, when the one before has ended."""
        self.wait()
        self._task = self._pool.submit(task)

    def check(self) -> None:
        """Look, without waiting, whether the task has failed."""
        if self._task is not None and self._task.done():
            self.wait()

    def wait(self) -> None:
        """Wait for the task's end."""
        task, self._task = self._task, None
        if task is not None:
            task.result()


def ends_early(job: Job, history: History) -> bool:
    """Say whether early stopping ends the job after the epochs so far, before it has made all that it asks for."""
    hyperparameters = job.hyperparameters
    scores, since = history.patience_scores()
    return (
        hyperparameters.early_stopping
        and len(history.epochs) < hyperparameters.epochs
        and EarlyStopping(
            hyperparameters.early_stopping_min_epochs,
            hyperparameters.early_stopping_patience,
            hyperparameters.early_stopping_tolerance,
        ).ends(scores, since=since)
    )


@dataclass(frozen=True)
class EpochRecorder:
    """Evaluates each epoch and writes what belongs to it, on the first host alone.

    sigterm: must not end the process while files are written that belong together, and, from `await_first_model` on,
    not before there is a model.
    """

    job: Job
    runner: EpochRunner
    history: History
    metrics: Metrics
    checkpoints: CheckpointWriter | None
    progress: ProgressPage
    tensorboard: TensorBoard
    sigterm: SigtermListener

    def await_first_model(self) -> None:
        """Save a model from now on when the job is to stop, the weights as they are if need be.

        Not over the model of an earlier job, which was evaluated.
        """
        if model_state(self.job.paths.model) is None:
            self.sigterm.await_first_model()

    def after_batch(self) -> None:
        """Save the weights as they are and end, when the job is to stop and there is no model yet."""
        if self._save_unevaluated():
            self.sigterm.release()

    def _save_unevaluated(self) -> bool:
        """Say whether there is a model of the weights as they are, because the job is to stop; raises UserError."""
        # After an evaluation its model is being written, and must not be replaced.
        if not self.sigterm.model_is_wanted or self.history.epochs:
            return False
        if model_state(self.job.paths.model) is not None:
            return True
        # What the last steps made of the weights no loss has told yet.
        self.runner.check_finite(0, "in epoch 0")
        with self.sigterm.saving:
            self.runner.save_model(self.runner.trainer.state().copied(optimizer=False))
            self.metrics.write_unevaluated()
        _log.warning("The job is to stop: the model has the weights as they are, and its mAP is unknown")
        return True

    def record(self, epoch: int, losses: EpochLosses, writing: BackgroundTask) -> bool:
        """Evaluate, begin to write what belongs to the epoch, and say whether it is the last one; raises JobError."""
        begin = time.monotonic()
        # In case that the time for a stop is over before the evaluation is.
        sample = self.runner.picture_sample() if has_pictures(epoch, self.job.hyperparameters.epochs) else None
        scores = self.runner.evaluate(epoch, each_batch=self._save_unevaluated, sample=sample)
        # Before anything tells of a model that could not be read back.
        self.runner.check_finite(epoch, f"after epoch {epoch}")
        seconds = time.monotonic() - begin
        _log.info("%s", log_lines.validation_map(self.job.cluster.current_host, epoch, scores.mean))
        adadelta = self.job.hyperparameters.optimizer == "adadelta"
        rate = None if adadelta else self.runner.learning_rate(epoch)
        figures = epoch_figures(epoch, rate, losses, scores)
        # What is being written for the epoch before reads the history and the figures.
        writing.wait()
        self.metrics.add_seconds("evaluation", seconds)
        best = self.history.add(figures, scores.mean, losses.cross_entropy + losses.smooth_l1)
        ends = ends_early(self.job, self.history)
        if best:
            # It takes a moment until it is being written.
            self.sigterm.hold()
            _log.info("Updating the best model with validation-mAP=%s", scores.mean)
        # Not before the stop is held back: the last such line is that of the model which the job leaves.
        _log.info("%s", log_lines.best_validation_map(self.job.cluster.current_host, epoch, self.history.best_score))
        going_on = self.checkpoints is not None
        state = self.runner.trainer.state().copied(optimizer=going_on) if best or going_on else None
        writing.begin(lambda: self._write(state, sample, best=best, ended_early=ends))
        return ends

    def _write(
        self, state: TrainingState | None, sample: PictureSample | None, *, best: bool, ended_early: bool
    ) -> None:
        begin = time.monotonic()
        with self.sigterm.saving:
            try:
                if best and state is not None:
                    self.runner.save_model(state)
                self.metrics.add_seconds("saving the model", time.monotonic() - begin)
                # Before the checkpoint, which needs more room on the disk.
                self.metrics.write(self.history, ended_early=ended_early)
            finally:
                self.sigterm.release()
            self.progress.write_report(self.metrics.document())
            if self.checkpoints is not None and state is not None:
                self.checkpoints.write(state, self.history)
            self.progress.write_copies(self.metrics.document())
        # A stop need not wait for it.
        self.tensorboard.write(self.history.epochs, sample)


def run_epochs(
    job: Job,
    runner: EpochRunner,
    recorder: EpochRecorder | None,
    group: ProcessGroup,
    *,
    first_epoch: int,
    progress_bar: bool,
) -> None:
    """Run the epochs from number `first_epoch` on; raises JobError.

    recorder: of the first host; None on the others, which wait for its decision whether to go on.
    """
    host, epochs = job.cluster.current_host, job.hyperparameters.epochs
    writing = BackgroundTask()

    def after_batch() -> None:
        writing.check()
        if recorder is not None:
            recorder.after_batch()

    try:
        for epoch in range(first_epoch, epochs):
            losses = runner.train(epoch, progress_bar=progress_bar, each_batch=after_batch)
            for line in log_lines.of_training(host, epoch, losses):
                _log.info("%s", line)
            with phase(f"Epoch {epoch} is being evaluated, written and compared over the hosts"):
                losses = _losses_of_all_hosts(epoch, losses, runner, group)
                ends = recorder.record(epoch, losses, writing) if recorder else None
                if ends or epoch + 1 == epochs:
                    # Before the others hear of it: no host leaves before the first one has written the last model.
                    writing.wait()
                ends = group.broadcast(f"the mAP of epoch {epoch}", ends)
            _log.info("%s", log_lines.progress(host, epoch + 1, epochs))
            if ends:
                patience = job.hyperparameters.early_stopping_patience
                _log.info("Early stopping after epoch %d: no improvement for %d epochs or more", epoch, patience)
                break
    except BaseException:
        # What belongs to an epoch before is kept, and what went wrong first is what is reported.
        try:
            writing.wait()
        except Exception as second:
            _log.warning("Nor could what belongs to the epoch before be written: %s", second, exc_info=second)
        raise


def _losses_of_all_hosts(epoch: int, losses: EpochLosses, runner: EpochRunner, group: ProcessGroup) -> EpochLosses:
    """Return the losses over all hosts; raises ProgramError unless all have the same weights."""
    if not group.several:
        return losses
    of_hosts: list[dict[str, Any]] = group.all_gather(
        f"the weights after epoch {epoch}", {"weights": runner.trainer.digest(), "losses": losses.plain()}
    )
    digests = [of_host["weights"] for of_host in of_hosts]
    check_weights(group.hosts, digests, epoch)
    _log.info("All hosts have the same weights after epoch %d: sha256 %s", epoch, digests[0][:16])
    return combined([EpochLosses(**of_host["losses"]) for of_host in of_hosts])
