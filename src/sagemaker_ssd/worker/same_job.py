"""Whether a checkpoint is one of this job: only some hyperparameters may differ."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sagemaker_ssd.contract.findings import shown
from sagemaker_ssd.contract.hyperparameters import Hyperparameters, PlatformKeys
from sagemaker_ssd.errors import UserError

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
                    "were there to go on with that job; or name another folder for checkpoints, on SageMaker another "
                    "CheckpointConfig.S3Uri, to start anew; or give the finished model to a new job as its model "
                    "channel.",
                    *different,
                ]
            )
        )


def _value(text: str | None) -> str:
    return "unknown" if text is None else shown(text) if text else "not set"
