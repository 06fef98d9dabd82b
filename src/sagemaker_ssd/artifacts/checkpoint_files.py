"""Writes and reads the two files of a checkpoint: all arrays of an epoch, and the manifest that is written last."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import mxnet as mx

from sagemaker_ssd.artifacts.checkpoint_manifest import FileFacts, Manifest
from sagemaker_ssd.artifacts.checkpoint_names import PART, manifest_name, parameters_name
from sagemaker_ssd.artifacts.durable_file import durable_file
from sagemaker_ssd.artifacts.saved_arrays import save_arrays, size_of
from sagemaker_ssd.errors import UserError


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


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Write the manifest, which makes the files that it names a checkpoint; raises UserError when the disk is full."""
    path, content = folder / manifest_name(manifest.epoch), manifest.text().encode()
    with durable_file(path, part=_part(path), what="the checkpoint's manifest", needed=len(content)) as part:
        part.write_bytes(content)
    return path


def read_parameters(path: Path) -> CheckpointArrays:
    """Read the arrays of a checkpoint's file; raises UserError when it is none."""
    arrays: dict[str, dict[str, mx.nd.NDArray]] = {"arg": {}, "aux": {}, "optimizer": {}}
    try:
        for key, array in mx.nd.load(str(path)).items():
            kind, name = key.split(":", 1)
            arrays[kind][name] = array
    except (mx.base.MXNetError, AttributeError, KeyError, ValueError) as error:
        raise UserError(
            f"{path} is not the file of arrays that its manifest says it is. Remove both, or name another folder for "
            "checkpoints (on SageMaker another CheckpointConfig.S3Uri) to start anew"
        ) from error
    return CheckpointArrays(arrays["arg"], arrays["aux"], arrays["optimizer"])


def file_facts(path: Path) -> FileFacts:
    """Measure a file; raises OSError."""
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
        return FileFacts(size=opened.tell(), sha256=digest)


def _part(path: Path) -> Path:
    return path.with_name(path.name + PART)
