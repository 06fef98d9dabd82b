"""The two files of a checkpoint: the arrays of an epoch, and the manifest, which is written last and proves them whole.

The folder is not ours alone: while SageMaker uploads it, it puts markers next to the files, and a person may keep
files of their own there. Whatever has none of the names below is neither read nor touched.
"""

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

import mxnet as mx
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sagemaker_ssd.artifacts.model_files import save_arrays, size_of
from sagemaker_ssd.contract.paths import ANOTHER_CHECKPOINT_FOLDER
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.files import durable_file, sha256

# The format that this program writes, and the newest that it reads.
FORMAT: Final = 1
# A file has this ending until it is whole. SageMaker does not upload such files: sagemaker-xgboost-container,
# checkpointing.py, writes its own in the same way.
PART: Final = ".sagemaker-ignore"
# SageMaker's markers next to the files, from the same source.
_UPLOADING: Final = ".sagemaker-uploading"
_UPLOADED: Final = ".sagemaker-uploaded"
_NAME: Final = re.compile(r"sagemaker-ssd-(?P<epoch>[0-9]{4}|[1-9][0-9]{4,})\.(?:params|json)")
# The remedy in every sentence about a checkpoint that cannot be used.
ANOTHER_FOLDER: Final = f"{ANOTHER_CHECKPOINT_FOLDER} to start anew"


def parameters_name(epoch: int) -> str:
    """Name the file with all arrays of an epoch, counted from 0."""
    return f"sagemaker-ssd-{epoch:04d}.params"


def manifest_name(epoch: int) -> str:
    """Name the file that makes an epoch's arrays a checkpoint."""
    return f"sagemaker-ssd-{epoch:04d}.json"


def parameter_files(folder: Path) -> dict[int, Path]:
    """Find every file of arrays by its epoch."""
    return _files_by_epoch(folder, ".params")


def manifest_files(folder: Path) -> dict[int, Path]:
    """Find every manifest by its epoch, the newest first."""
    return dict(sorted(_files_by_epoch(folder, ".json").items(), reverse=True))


def _files_by_epoch(folder: Path, suffix: str) -> dict[int, Path]:
    return {
        int(name["epoch"]): path
        for path in folder.iterdir()
        if path.suffix == suffix and (name := _NAME.fullmatch(path.name)) and path.is_file()
    }


def partial_files(folder: Path) -> list[Path]:
    """Find the files that a run that was killed had not written to their end."""
    return [
        path
        for path in folder.iterdir()
        if path.suffix == PART and _NAME.fullmatch(path.name.removesuffix(PART)) and path.is_file()
    ]


def _part(path: Path) -> Path:
    return path.with_name(path.name + PART)


def is_uploading(path: Path) -> bool:
    """Say whether SageMaker is uploading a file: the marker of the upload's begin stays there after its end."""
    begun, ended = _marked_at(path, _UPLOADING), _marked_at(path, _UPLOADED)
    return begun is not None and (ended is None or ended < begun)


def is_uploaded(path: Path) -> bool:
    """Say whether SageMaker has uploaded a file as it is now."""
    return _marked_at(path, _UPLOADED) is not None


def _marked_at(path: Path, marker: str) -> int | None:
    """Return when a file was marked, in nanoseconds; None without a marker, and for that of a file before this one."""
    try:
        written = path.stat().st_mtime_ns
        marked = path.with_name(path.name + marker).stat().st_mtime_ns
    except OSError:
        return None
    return marked if marked >= written else None


def markers(path: Path) -> tuple[Path, Path]:
    """Return where SageMaker's markers of a file are, if it has any."""
    return path.with_name(path.name + _UPLOADING), path.with_name(path.name + _UPLOADED)


def has_uploads(folder: Path) -> bool:
    """Say whether SageMaker uploads a folder, and so keeps a copy of it in S3."""
    return any(path.name.endswith((_UPLOADING, _UPLOADED)) for path in folder.iterdir())


class FileFacts(BaseModel):
    """The size in bytes and the digest of a file as it was written."""

    model_config = ConfigDict(frozen=True, strict=True)

    size: int
    sha256: str


def file_facts(path: Path) -> FileFacts:
    """Measure a file; raises OSError."""
    return FileFacts(size=path.stat().st_size, sha256=sha256(path))


class Manifest(BaseModel):
    """A job after an epoch; epochs count from 0.

    hyperparameters: flat strings. start: where the training began. data: the channels' figures. updates: steps of the
    optimizer. scores: every epoch's validation mAP. epochs: every epoch's figures. parameters, best_parameters: the
    names of this epoch's and the best epoch's arrays; files: what is known of these files by name. precision_dtype:
    what the job trains in. validation_since: the first epoch on the validation data of now. Neither was kept before
    version 0.2.0.
    """

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    format: Literal[1] = FORMAT
    program: str
    epoch: int = Field(ge=0)
    hyperparameters: dict[str, str]
    start: dict[str, Any]
    data: dict[str, Any]
    training_images: int
    precision_dtype: str = ""
    updates: int = Field(ge=0, lt=1 << 62)
    scores: list[float]
    lowest_loss: float
    best_epoch: int = Field(ge=0)
    validation_since: int = Field(default=0, ge=0)
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


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Write the manifest, which makes the files that it names a checkpoint; raises UserError when the disk is full."""
    path, content = folder / manifest_name(manifest.epoch), manifest.text().encode()
    with durable_file(path, part=_part(path), what="the checkpoint's manifest", needed=len(content)) as part:
        part.write_bytes(content)
    return path


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises ValueError saying what is wrong with it, UserError when it cannot be read or a newer program wrote it.
    """
    try:
        content = json.loads(path.read_text("utf-8"), parse_constant=_refuse_constant)
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
            f"{FORMAT}). Go on with that version's image, or {ANOTHER_FOLDER}"
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(
            f"it is not a manifest of a checkpoint ({place + ': ' if place else ''}{first['msg']})"
        ) from error


def _refuse_constant(constant: str) -> float:
    raise ValueError(f"{constant} is not a number of JSON")


def unreadable(path: Path, error: OSError) -> UserError:
    """Return the failure of a checkpoint's file that is there and cannot be read: it may be whole."""
    return UserError(
        f"{path} cannot be read ({error.strerror}), so the job cannot go on from its checkpoint: make it readable for "
        f"user {os.getuid()}, or {ANOTHER_FOLDER}"
    )


@dataclass(frozen=True)
class CheckpointArrays:
    """A network in training by name: `arguments`, BatchNorm's `states`, and the `optimizer`'s as "<slot>:<name>"."""

    arguments: dict[str, mx.nd.NDArray]
    states: dict[str, mx.nd.NDArray]
    optimizer: dict[str, mx.nd.NDArray]


def write_parameters(folder: Path, epoch: int, arrays: CheckpointArrays) -> FileFacts:
    """Write the arrays as mx.nd.save does; without their manifest they are not a checkpoint yet.

    Raises UserError when the disk is full.
    """
    named = {f"arg:{name}": array for name, array in arrays.arguments.items()}
    named |= {f"aux:{name}": array for name, array in arrays.states.items()}
    named |= {f"optimizer:{name}": array for name, array in arrays.optimizer.items()}
    path = folder / parameters_name(epoch)
    with durable_file(path, part=_part(path), what="the checkpoint", needed=size_of(named)) as part:
        save_arrays(part, named)
        return file_facts(part)


def copy_parameters(source: Path, folder: Path, epoch: int) -> FileFacts:
    """Copy a model's file, which holds arrays by the same names, as the arrays of an epoch; without an optimizer's.

    Raises UserError when the disk is full.
    """
    path = folder / parameters_name(epoch)
    with durable_file(path, part=_part(path), what="the checkpoint", needed=source.stat().st_size) as part:
        shutil.copyfile(source, part)
        return file_facts(part)


def read_parameters(path: Path) -> CheckpointArrays:
    """Read the arrays of a checkpoint's file; raises UserError when it is none."""
    arrays: dict[str, dict[str, mx.nd.NDArray]] = {"arg": {}, "aux": {}, "optimizer": {}}
    try:
        for key, array in mx.nd.load(str(path)).items():
            kind, name = key.split(":", 1)
            arrays[kind][name] = array
    except (mx.base.MXNetError, AttributeError, KeyError, ValueError) as error:
        raise UserError(
            f"{path} is not the file of arrays that its manifest says it is. Remove both, or {ANOTHER_FOLDER}"
        ) from error
    return CheckpointArrays(arrays["arg"], arrays["aux"], arrays["optimizer"])
