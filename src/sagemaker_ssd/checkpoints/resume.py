"""Going on from the newest checkpoint that every host of the job has, if it is one of this job."""

import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mxnet as mx

from sagemaker_ssd.artifacts.model_files import save_model
from sagemaker_ssd.checkpoints.format import CheckpointArrays, FileFacts, Manifest, manifest_name, read_parameters
from sagemaker_ssd.checkpoints.retention import remove_partial_files
from sagemaker_ssd.checkpoints.search import FoundCheckpoint, newest_checkpoint
from sagemaker_ssd.collectives import ProcessGroup
from sagemaker_ssd.contract.channels import model_file, pretrained_file
from sagemaker_ssd.contract.hyperparameters import Hyperparameters, PlatformKeys
from sagemaker_ssd.contract.job import Job
from sagemaker_ssd.contract.paths import ANOTHER_CHECKPOINT_FOLDER
from sagemaker_ssd.errors import UserError, shown
from sagemaker_ssd.files import sha256
from sagemaker_ssd.training.optimizer import OptimizerState
from sagemaker_ssd.training.state import History, TrainingState

_log = logging.getLogger(__name__)
_START_ANEW: Final = f"{ANOTHER_CHECKPOINT_FOLDER}, or empty this one, to start anew"
# How long the job goes on, what is only checked, and what has no effect on one host; all others change the result.
MAY_DIFFER: Final = frozenset(
    {
        "early_stopping",
        "early_stopping_min_epochs",
        "early_stopping_patience",
        "early_stopping_tolerance",
        "epochs",
        "kv_store",
        "label_width",
        "max_bad_images",
        "num_training_samples",
        *(field.alias for field in PlatformKeys.model_fields.values()),
    }
)


@dataclass(frozen=True)
class Checkpoint:
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
        """Whether the optimizer's arrays were on the servers of dist_async."""
        return self.manifest.hyperparameters.get("kv_store") == "dist_async"

    def history(self) -> History:
        """Return what the epochs up to the checkpoint have brought."""
        written = self.manifest
        return History(
            epochs=list(written.epochs),
            scores=list(written.scores),
            lowest_loss=written.lowest_loss,
            best_epoch=written.best_epoch,
            validation_since=written.validation_since,
        )

    def state(self) -> TrainingState:
        """Read what the training goes on from."""
        arrays = read_parameters(self.folder / self.manifest.parameters)
        return TrainingState(arrays.arguments, arrays.states, OptimizerState(arrays.optimizer, self.manifest.updates))

    def restore_model(self, job: Job, graph: mx.sym.Symbol) -> None:
        """Put the best model into the model folder, which is empty in a new container."""
        best, score = self.manifest.best_epoch, self.manifest.scores[self.manifest.best_epoch]
        _log.info("Putting the best model so far back, of epoch %d with validation-mAP=%s", best, score)
        configuration = job.hyperparameters.artifact_configuration()
        save_model(job.paths.model, graph, self.best_arrays(), configuration)

    def best_arrays(self) -> CheckpointArrays:
        """Read the best epoch's."""
        return read_parameters(self.folder / self.manifest.best_parameters)


def find_checkpoint(job: Job, group: ProcessGroup) -> Checkpoint | None:
    """Find the checkpoint that all hosts go on from; each reads it from its own folder.

    Raises UserError when it is of a job with other hyperparameters, or when the hosts have different ones.
    """
    folder = job.checkpoints
    if folder is not None and group.is_first:
        remove_partial_files(folder)
    found = common_checkpoint(folder, group)
    if folder is None:
        return None
    for reason in found.unusable:
        _log.warning("This checkpoint cannot be used: %s", reason)
    if found.lost:
        _log.warning("Of this checkpoint %s. The epoch after which it was written counts as the best one", found.lost)
    if found.manifest is None:
        what = "no checkpoint that can be used, so the training starts anew" if found.unusable else "none yet"
        _log.info("Checkpoints go to %s after every epoch; it holds %s.", folder, what)
        return None
    checkpoint = Checkpoint(folder, found.manifest)
    check_same_job(job.hyperparameters.final_configuration(), found.manifest.hyperparameters, checkpoint.path)
    check_same_start(job, found.manifest.start, checkpoint.path)
    _log.info(
        "Resuming after epoch %d of %d from %s", found.manifest.epoch, job.hyperparameters.epochs, checkpoint.path
    )
    if re.match(r"0\.1\.", found.manifest.program):
        _log.warning(
            "Version %s wrote %s, with another reader of images and one rate for all layers: from here on the crops "
            "and colours of the augmentation, and the rate of layers that began without weights, are this version's, "
            "not those that the job would have gone on with",
            found.manifest.program,
            checkpoint.path,
        )
    return checkpoint


def common_checkpoint(folder: Path | None, group: ProcessGroup) -> FoundCheckpoint:
    """Search this host's folder for the newest checkpoint that is whole on every host.

    Raises UserError naming what each host has where some have a checkpoint and no one is the same on all.
    """
    found = _search(folder)
    of_hosts = group.all_gather("the newest checkpoint", _identity(found))
    if any(other != of_hosts[0] for other in of_hosts) and None not in of_hosts:
        # One host may have got the last checkpoint and another not yet.
        found = _search(folder, newest=min(epoch for epoch, _ in of_hosts))
        of_hosts = group.all_gather("the newest checkpoint of all", _identity(found))
    if any(other != of_hosts[0] for other in of_hosts):
        there = ", ".join(
            f"{host} {'none' if identity is None else f'epoch {identity[0]} ({identity[1][:8]})'}"
            for host, identity in zip(group.hosts, of_hosts, strict=True)
        )
        raise UserError(
            f"the hosts have different checkpoints: {there}. All hosts must read the same ones: give all of them the "
            "same folder for checkpoints, as SageMaker does with CheckpointConfig, or empty it on every host to start "
            "anew"
        )
    return found


def _search(folder: Path | None, newest: int | None = None) -> FoundCheckpoint:
    # The folder is made by the first host alone.
    return FoundCheckpoint(None) if folder is None or not folder.is_dir() else newest_checkpoint(folder, newest)


def _identity(found: FoundCheckpoint) -> list[Any] | None:
    """Name a checkpoint by its epoch and the digest of its manifest, which holds those of its files."""
    if found.manifest is None:
        return None
    return [found.manifest.epoch, hashlib.sha256(found.manifest.text().encode()).hexdigest()]


def check_same_job(here: Mapping[str, str], there: Mapping[str, str], checkpoint: Path) -> None:
    """Compare the final configurations of the job and of a checkpoint; raises UserError naming every difference.

    What a checkpoint of an older version lacks has its default there.
    """
    before = {**Hyperparameters.default_configuration(), **there}
    different = [
        f"- {name} is {_shown(here.get(name))} here and was {_shown(before[name])} there"
        for name in sorted(before)
        if name not in MAY_DIFFER and here.get(name) != before[name]
    ]
    if different:
        raise UserError(
            "\n".join(
                [
                    f"{checkpoint} is a checkpoint of a job with other hyperparameters, listed below. Set them as they "
                    f"were there to go on with that job; or {_START_ANEW}, perhaps from the finished model as the "
                    "model channel.",
                    *different,
                ]
            )
        )


def _shown(value: str | None) -> str:
    return "unknown" if value is None else shown(value) if value else "not set"


def check_same_start(job: Job, start: Mapping[str, Any], checkpoint: Path) -> None:
    """Compare the channels to start from with where a checkpoint's training began; raises UserError."""
    if job.model_channel is not None:
        file = model_file(job.model_channel)
    elif job.pretrained_channel is not None:
        file = pretrained_file(job.pretrained_channel)
    else:
        return
    if start.get("sha256") != sha256(file):
        raise UserError(
            f"the job is to start from {file.name} in the channel {file.parent.name}, but {checkpoint} is of a "
            f"training that began from {start.get('file', start.get('from'))}: remove the channel to go on with that "
            f"training, or {_START_ANEW}"
        )


def check_same_data(
    here: Mapping[str, Mapping[str, Any]], there: Mapping[str, Any], checkpoint: Path, *, finished: bool
) -> list[str]:
    """Compare the channels' figures with those of a checkpoint; return the channels that have changed.

    Raises UserError when one has and nothing is left to train.
    """
    # A checkpoint of an older version lacks the checksums.
    before = {channel: {**figures, **there.get(channel, {})} for channel, figures in here.items()}
    changed = [channel for channel, figures in here.items() if dict(figures) != before[channel]]
    if not changed:
        return changed
    different = "; ".join(_difference(channel, here[channel], before[channel]) for channel in changed)
    text = f"the data are not those of {checkpoint}: {different}"
    if finished:
        raise UserError(
            f"{text}. That training is at its end, so nothing would be learned from these data: {_START_ANEW}"
        )
    _log.warning("%s; the training goes on with those of now", text)
    return changed


def _difference(channel: str, now: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    counts = [(figures["images"], figures["boxes"]) for figures in (now, before)]
    if counts[0] == counts[1]:
        return f"{channel} has as many images and boxes as it had, but others"
    return f"{channel} has {counts[0][0]} images and {counts[0][1]} boxes, and had {counts[1][0]} and {counts[1][1]}"
