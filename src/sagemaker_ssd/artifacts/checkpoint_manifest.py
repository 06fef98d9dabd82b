"""The manifest of a checkpoint: what it is a checkpoint of, and the proof that its files are whole."""

import json
import os
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sagemaker_ssd.artifacts.checkpoint_names import parameters_name
from sagemaker_ssd.errors import UserError

FORMAT: Final = 1


class FileFacts(BaseModel):
    """The size in bytes and the digest of a file as it was written."""

    model_config = ConfigDict(frozen=True, strict=True)

    size: int
    sha256: str


class Manifest(BaseModel):
    """A job after an epoch; epochs count from 0.

    hyperparameters: flat strings. start: where the training began. data: the channels' figures. updates: steps of the
    optimizer. scores: every epoch's validation mAP. epochs: every epoch's figures. parameters, best_parameters: the
    names of this epoch's and the best epoch's arrays; files: what is known of these files by name.
    """

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    format: Literal[1] = FORMAT
    program: str
    epoch: int = Field(ge=0)
    hyperparameters: dict[str, str]
    start: dict[str, Any]
    data: dict[str, Any]
    training_images: int
    updates: int = Field(ge=0, lt=1 << 62)
    scores: list[float]
    lowest_loss: float
    best_epoch: int = Field(ge=0)
    parameters: str
    best_parameters: str
    files: dict[str, FileFacts]
    epochs: list[dict[str, Any]]

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if not len(self.scores) == len(self.epochs) == self.epoch + 1:
            raise ValueError("scores and epochs must be as many as the epochs so far")
        if self.best_epoch > self.epoch:
            raise ValueError("the best epoch must be one of those so far")
        names = (parameters_name(self.epoch), parameters_name(self.best_epoch))
        # Also because a name from a file must not lead out of the folder.
        if (self.parameters, self.best_parameters) != names or self.files.keys() != set(names):
            raise ValueError("the files must be those of the epoch and of the best epoch")
        return self

    def text(self) -> str:
        """Write the manifest as JSON."""
        return json.dumps(self.model_dump(), indent=1, allow_nan=False) + "\n"


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises ValueError saying what is wrong with it, UserError when it cannot be read or a newer program wrote it.
    """
    try:
        content = json.loads(path.read_text("utf-8"), parse_constant=_refuse)
    except FileNotFoundError:
        raise ValueError("it is not there any more") from None
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, RecursionError) as error:
        raise ValueError("it is not whole JSON") from error
    written = content.get("format") if isinstance(content, dict) else None
    if type(written) is int and written > FORMAT:
        raise UserError(
            f"{path}: a newer version of this program wrote this checkpoint (format {written}; this version reads "
            f"{FORMAT}). Go on with that version's image, or name another folder for checkpoints (on SageMaker another "
            "CheckpointConfig.S3Uri) to start anew"
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(
            f"it is not a manifest of a checkpoint ({place + ': ' if place else ''}{first['msg']})"
        ) from error


def unreadable(path: Path, error: OSError) -> UserError:
    """Return the failure of a checkpoint's file that is there and cannot be read: it may be whole."""
    return UserError(
        f"{path} cannot be read ({error.strerror}), so the job cannot go on from its checkpoint: make it readable for "
        f"user {os.getuid()}, or name another folder for checkpoints (on SageMaker another CheckpointConfig.S3Uri) to "
        "start anew"
    )


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number of JSON")
