"""Goes on from the newest checkpoint of the job, where there is one."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mxnet as mx

from sagemaker_ssd.artifacts.checkpoint_files import read_parameters
from sagemaker_ssd.artifacts.checkpoint_manifest import FileFacts, Manifest
from sagemaker_ssd.artifacts.checkpoint_names import manifest_name
from sagemaker_ssd.artifacts.checkpoint_retention import remove_leftovers
from sagemaker_ssd.artifacts.checkpoint_search import Search
from sagemaker_ssd.contract import Job
from sagemaker_ssd.engine.optimizer import OptimizerState
from sagemaker_ssd.engine.training_state import TrainingState
from sagemaker_ssd.worker.common_checkpoint import common_checkpoint
from sagemaker_ssd.worker.history import History
from sagemaker_ssd.worker.peers import Peers
from sagemaker_ssd.worker.same_job import check_same_job, check_same_start
from sagemaker_ssd.worker.saving import save_model

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resumed:
    """A whole checkpoint of this job, in `folder`."""

    folder: Path
    manifest: Manifest

    @property
    def path(self) -> Path:
        """The checkpoint's manifest."""
        return self.folder / manifest_name(self.manifest.epoch)

    @property
    def start(self) -> dict[str, Any]:
        """Where the training began and went on, for metrics.json."""
        return {**self.manifest.start, "resumed_after_epoch": self.manifest.epoch}

    @property
    def best(self) -> FileFacts:
        """What is known of the best epoch's file."""
        return self.manifest.files[self.manifest.best_parameters]

    @property
    def lacks_optimizer(self) -> bool:
        """Whether what its optimizer remembered was on the servers of dist_async."""
        return self.manifest.hyperparameters.get("kv_store") == "dist_async"

    def history(self) -> History:
        """Return what the epochs up to the checkpoint have brought."""
        written = self.manifest
        return History(list(written.epochs), list(written.scores), written.lowest_loss, written.best_epoch)

    def state(self) -> TrainingState:
        """Read what the training goes on from."""
        arrays = read_parameters(self.folder / self.manifest.parameters)
        return TrainingState(arrays.arguments, arrays.states, OptimizerState(arrays.optimizer, self.manifest.updates))

    def put_model_back(self, job: Job, graph: mx.sym.Symbol) -> None:
        """Put the best model into the model folder, which is empty in a new container."""
        best, score = self.manifest.best_epoch, self.manifest.scores[self.manifest.best_epoch]
        _log.info("Putting the best model so far back, of epoch %d with validation-mAP=%s", best, score)
        arrays = read_parameters(self.folder / self.manifest.best_parameters)
        save_model(job, graph, arrays.arguments, arrays.states)


def find_checkpoint(job: Job, peers: Peers) -> Resumed | None:
    """Find the checkpoint that all hosts go on from.

    Raises UserError when it is of a job with other hyperparameters, or when the hosts have different ones.
    """
    folder = job.checkpoints
    if folder is not None and peers.is_first:
        remove_leftovers(folder)
    search = common_checkpoint(folder, peers)
    if folder is None:
        return None
    _tell(search)
    if search.manifest is None:
        found = "no checkpoint that can be used, so the training starts anew" if search.unusable else "none yet"
        _log.info("Checkpoints go to %s after every epoch; it holds %s.", folder, found)
        return None
    resumed = Resumed(folder, search.manifest)
    check_same_job(job.hyperparameters.final_configuration(), search.manifest.hyperparameters, resumed.path)
    check_same_start(job, search.manifest.start, resumed.path)
    _log.info("Resuming after epoch %d of %d from %s", search.manifest.epoch, job.hyperparameters.epochs, resumed.path)
    return resumed


def _tell(search: Search) -> None:
    for reason in search.unusable:
        _log.warning("This checkpoint cannot be used: %s", reason)
    if search.lost:
        _log.warning("Of this checkpoint %s. The epoch after which it was written counts as the best one", search.lost)
