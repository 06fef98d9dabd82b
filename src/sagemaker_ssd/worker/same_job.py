"""Whether a checkpoint is one of this job: only some hyperparameters may differ."""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sagemaker_ssd.contract import Job
from sagemaker_ssd.contract.findings import shown
from sagemaker_ssd.contract.hyperparameters import Hyperparameters, PlatformKeys
from sagemaker_ssd.contract.weight_channels import model_file, pretrained_file
from sagemaker_ssd.errors import UserError

_log = logging.getLogger(__name__)
_ANEW: Final = (
    "name another folder for checkpoints, on SageMaker another CheckpointConfig.S3Uri, or empty this one, to start anew"
)
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


def check_same_job(here: Mapping[str, str], there: Mapping[str, str], checkpoint: Path) -> None:
    """Compare the final configurations of the job and of a checkpoint; raises UserError naming every difference.

    What a checkpoint of an older version lacks has its default there.
    """
    before = {**Hyperparameters.default_configuration(), **there}
    different = [
        f"- {name} is {_value(here.get(name))} here and was {_value(before[name])} there"
        for name in sorted(before)
        if name not in MAY_DIFFER and here.get(name) != before[name]
    ]
    if different:
        raise UserError(
            "\n".join(
                [
                    f"{checkpoint} is a checkpoint of a job with other hyperparameters, listed below. Set them as they "
                    f"were there to go on with that job; or {_ANEW}, perhaps from the finished model as the model "
                    "channel.",
                    *different,
                ]
            )
        )


def check_same_start(job: Job, start: Mapping[str, Any], checkpoint: Path) -> None:
    """Hold the channels to start from against where a checkpoint's training began; raises UserError."""
    if job.model_channel is not None:
        file = model_file(job.model_channel)
    elif job.pretrained_channel is not None:
        file = pretrained_file(job.pretrained_channel)
    else:
        return
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if start.get("sha256") != digest:
        raise UserError(
            f"the job is to start from {file.name} in the channel {file.parent.name}, but {checkpoint} is of a "
            f"training that began from {start.get('file', start.get('from'))}: remove the channel to go on with that "
            f"training, or {_ANEW}"
        )


def check_same_data(
    here: Mapping[str, Mapping[str, Any]], there: Mapping[str, Any], checkpoint: Path, *, finished: bool
) -> None:
    """Compare the channels' figures with those of a checkpoint; raises UserError when nothing is left to train."""
    different = [
        f"{channel} has {figures['images']} images and {figures['boxes']} boxes, and had "
        f"{there.get(channel, {}).get('images')} and {there.get(channel, {}).get('boxes')}"
        for channel, figures in here.items()
        if dict(figures) != there.get(channel)
    ]
    if not different:
        return
    told = f"the data are not those of {checkpoint}: {'; '.join(different)}"
    if finished:
        raise UserError(f"{told}. That training is at its end, so nothing would be learned from these data: {_ANEW}")
    _log.warning("%s; the training goes on with those of now", told)


def _value(text: str | None) -> str:
    return "unknown" if text is None else shown(text) if text else "not set"
