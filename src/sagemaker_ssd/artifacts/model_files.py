"""Writes the three files of the built-in's model.tar.gz, and arrays in MXNet's file format, whole or with an error."""

import errno
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import mxnet as mx

from sagemaker_ssd.contract.model_folder import CONFIGURATION, PARAMETERS, SYMBOL, publish, staging_folder

_log = logging.getLogger(__name__)


class Parameters(Protocol):
    """The values of a network: its parameters by name, and the states of BatchNorm."""

    @property
    def arguments(self) -> Mapping[str, mx.nd.NDArray]:
        """The parameters by name."""

    @property
    def states(self) -> Mapping[str, mx.nd.NDArray]:
        """BatchNorm's running mean and variance by name."""


def save_model(folder: Path, graph: mx.sym.Symbol, values: Parameters, configuration: Mapping[str, str]) -> None:
    """Replace the model in a folder at once; raises OSError or MXNetError when the disk is full."""
    write_model(staging_folder(folder), graph, values, configuration)
    publish(folder)
    _log.info('Saved checkpoint to "%s"', folder / PARAMETERS)


def write_model(folder: Path, graph: mx.sym.Symbol, values: Parameters, configuration: Mapping[str, str]) -> None:
    """Write symbol, parameters and hyperparameters as MXNet's model loaders and the built-in's tools read them.

    Raises OSError or MXNetError when the disk is full.
    """
    save_arrays(folder / PARAMETERS, named_parameters(values.arguments, values.states))
    (folder / SYMBOL).write_text(graph.tojson())
    (folder / CONFIGURATION).write_text(json.dumps(configuration))


def named_parameters(
    arguments: Mapping[str, mx.nd.NDArray], states: Mapping[str, mx.nd.NDArray]
) -> dict[str, mx.nd.NDArray]:
    """Return parameters by the names that mx.model.load_checkpoint reads in a file."""
    named = {f"arg:{name}": array for name, array in arguments.items()}
    return named | {f"aux:{name}": array for name, array in states.items()}


def save_arrays(path: Path, arrays: Mapping[str, mx.nd.NDArray]) -> None:
    """Write at least one array as mx.nd.save does; raises MXNetError or OSError when the disk is full."""
    mx.nd.save(str(path), dict(arrays))
    # MXNet does not see a failure of its last write. It writes the names after the values, and ends on the last name:
    # where that name stands, all of the file is there.
    ending = list(arrays)[-1].encode()
    with path.open("rb") as written:
        size = written.seek(0, os.SEEK_END)
        written.seek(max(0, size - len(ending)))
        if size < size_of(arrays) or written.read() != ending:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def size_of(arrays: Mapping[str, mx.nd.NDArray]) -> int:
    """Return the bytes that the values of arrays take; their file is a little larger."""
    return sum(array.size * array.dtype().itemsize for array in arrays.values())
