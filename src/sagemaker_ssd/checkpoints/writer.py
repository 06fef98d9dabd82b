"""Writing a checkpoint of the job after every epoch."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sagemaker_ssd.checkpoints.format import (
    CheckpointArrays,
    FileFacts,
    Manifest,
    parameters_name,
    write_manifest,
    write_parameters,
)
from sagemaker_ssd.checkpoints.retention import remove_superseded
from sagemaker_ssd.contract.job import Job
from sagemaker_ssd.training.state import History, TrainingState
from sagemaker_ssd.version import version

_log = logging.getLogger(__name__)


class CheckpointWriter:
    """Writes the checkpoints of a running job into a folder.

    start, data: as metrics.json has them. best: what is known of the best epoch's file when a job is resumed.
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
    ) -> None:
        self._folder, self._best = folder, best
        self._configuration = job.hyperparameters.final_configuration()
        self._start, self._data, self._training_images = dict(start), dict(data), training_images

    def write(self, state: TrainingState, history: History) -> None:
        """Write the checkpoint of the last epoch and remove those before that are not needed any more.

        Raises OSError, and UserError when the disk is full; the checkpoints before are then as they were.
        """
        epoch, best = len(history.epochs) - 1, history.best_epoch
        arrays = CheckpointArrays(state.arguments, state.states, state.optimizer.arrays)
        written = write_parameters(self._folder, epoch, arrays)
        if best == epoch:
            self._best = written
        assert self._best is not None
        manifest = Manifest(
            program=version(),
            epoch=epoch,
            hyperparameters=self._configuration,
            start=self._start,
            data=self._data,
            training_images=self._training_images,
            updates=state.optimizer.updates,
            scores=[float(score) for score in history.scores],
            lowest_loss=float(history.lowest_loss),
            best_epoch=best,
            parameters=parameters_name(epoch),
            best_parameters=parameters_name(best),
            files={parameters_name(best): self._best, parameters_name(epoch): written},
            epochs=history.epochs,
        )
        path = write_manifest(self._folder, manifest)
        remove_superseded(self._folder, epoch)
        _log.info("Checkpoint of epoch %d: %s, %.1f MB", epoch, path, written.size / 1e6)
