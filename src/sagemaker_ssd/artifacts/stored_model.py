"""A model that an earlier job has left: an archive, or the parameters themselves."""

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

import mxnet as mx

from sagemaker_ssd.artifacts.model_archive import Limits, unpack_model
from sagemaker_ssd.artifacts.model_files import CONFIGURATION
from sagemaker_ssd.artifacts.parameter_file import arguments_and_states, read_parameter_file

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredModel:
    """Its parameters, and the bytes of its hyperparams.json, None without one."""

    arguments: dict[str, mx.nd.NDArray]
    states: dict[str, mx.nd.NDArray]
    configuration: bytes | None


def read_stored_model(file: Path, shown_as: str, scratch: Path) -> StoredModel:
    """Read a .params file, with a hyperparams.json beside it, or an archive of both.

    shown_as: how the faults name the file. Raises UserError and OSError.
    """
    if file.suffix.lower() == ".params":
        arrays = read_parameter_file(file, shown_as)
        return StoredModel(*arguments_and_states(arrays), _beside(file))
    with tempfile.TemporaryDirectory(dir=scratch) as unpacked:
        model = unpack_model(file, shown_as, Path(unpacked))
        arrays = read_parameter_file(model.parameters, f"{shown_as}: {model.parameters_name}")
    return StoredModel(*arguments_and_states(arrays), model.configuration)


def _beside(file: Path) -> bytes | None:
    configuration = file.with_name(CONFIGURATION)
    size = configuration.stat().st_size if configuration.is_file() else None
    if size is None:
        return None
    if size > Limits().configuration:
        _log.warning("The model's %s is too large, %s bytes, and is not used.", CONFIGURATION, f"{size:,}")
        return None
    return configuration.read_bytes()
