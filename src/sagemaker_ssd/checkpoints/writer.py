"""Writing a checkpoint of the job after every epoch."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mxnet as mx

from sagemaker_ssd.artifacts.model_files import size_of
from sagemaker_ssd.checkpoints.format import (
    CheckpointArrays,
    FileFacts,
    Manifest,
    copy_parameters,
    parameters_name,
    write_manifest,
    write_parameters,
)
from sagemaker_ssd.checkpoints.retention import make_room, remove_superseded
from sagemaker_ssd.checkpoints.search import newest_checkpoint
from sagemaker_ssd.contract.job import Job
from sagemaker_ssd.contract.model_folder import PARAMETERS
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.training.state import History, TrainingState
from sagemaker_ssd.version import version

_log = logging.getLogger(__name__)


class CheckpointWriter:
    """Writes the checkpoints of a running job into a folder.

    start, data: as metrics.json has them. best: what is known of the best epoch's file when a job is resumed.
    downloaded: the epoch of the checkpoint that it goes on from, where that came from S3. precision_dtype: what the job
    trains in, which a resumed one keeps.
    """

    def __init__(
        self,
        folder: Path,
        job: Job,
        *,
        start: Mapping[str, Any],
        data: Mapping[str, Any],
        training_images: int,
        best: FileFacts | None,
        downloaded: int | None = None,
        precision_dtype: str,
    ) -> None:
        self._folder, self._best, self._model = folder, best, job.paths.model
        # Whether it is known that checkpoints cannot be written at present.
        self._failing = False
        self._configuration = job.hyperparameters.final_configuration()
        self._start, self._data, self._training_images = dict(start), dict(data), training_images
        self._downloaded, self._precision_dtype = downloaded, precision_dtype

    def write(self, state: TrainingState, history: History) -> None:
        """Write the checkpoint of the last epoch and remove those before that are not needed any more.

        Where it cannot be written and an older one is whole, that is a warning: the job could go on from the older one.
        Raises OSError or MXNetError, and UserError when the disk is full, where there is no whole one.
        """
        epoch = len(history.epochs) - 1
        try:
            self._write(epoch, state, history)
        except (OSError, UserError, mx.MXNetError) as error:
            older = self._older_epoch()
            if older is None:
                raise
            if not self._failing:
                _log.warning(
                    "The checkpoint of epoch %d could not be written, so that of epoch %d stays the newest one until "
                    "there is room again: %s",
                    *(epoch, older, error),
                )
            self._failing = True
        else:
            self._failing = False

    def _older_epoch(self) -> int | None:
        """Return the epoch of the newest whole checkpoint, None where there is none or it cannot be read."""
        try:
            found = newest_checkpoint(self._folder).manifest
        except (OSError, UserError):
            return None
        return None if found is None else found.epoch

    def _write(self, epoch: int, state: TrainingState, history: History) -> None:
        best = history.best_epoch
        arrays = CheckpointArrays(state.arguments, state.states, state.optimizer.arrays)
        # The next model, which is written first, needs room too.
        model = size_of(arrays.arguments) + size_of(arrays.states)
        make_room(self._folder, epoch, 2 * model + size_of(arrays.optimizer))
        if best == epoch:
            self._best = None
        elif self._best is None or not (self._folder / parameters_name(best)).is_file():
            # The checkpoint of that epoch could not be written.
            self._best = copy_parameters(self._model / PARAMETERS, self._folder, best)
        written = write_parameters(self._folder, epoch, arrays)
        if self._best is None:
            self._best = written
        manifest = Manifest(
            program=version(),
            epoch=epoch,
            hyperparameters=self._configuration,
            start=self._start,
            data=self._data,
            training_images=self._training_images,
            precision_dtype=self._precision_dtype,
            updates=state.optimizer.updates,
            scores=[float(score) for score in history.scores],
            lowest_loss=float(history.lowest_loss),
            best_epoch=best,
            validation_since=history.validation_since,
            parameters=parameters_name(epoch),
            best_parameters=parameters_name(best),
            files={parameters_name(best): self._best, parameters_name(epoch): written},
            epochs=history.epochs,
        )
        path = write_manifest(self._folder, manifest)
        remove_superseded(self._folder, epoch, downloaded=self._downloaded)
        _log.info("Checkpoint of epoch %d: %s, %.1f MB", epoch, path, written.size / 1e6)
