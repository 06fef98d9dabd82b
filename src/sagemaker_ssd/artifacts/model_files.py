"""The three files of the built-in's model.tar.gz."""

import json
from collections.abc import Mapping
from pathlib import Path

import mxnet as mx

from sagemaker_ssd.artifacts.saved_arrays import save_arrays

SYMBOL = "model_algo_1-symbol.json"
PARAMETERS = "model_algo_1-0000.params"
CONFIGURATION = "hyperparams.json"


def write_model(
    folder: Path,
    graph: mx.sym.Symbol,
    arguments: Mapping[str, mx.nd.NDArray],
    states: Mapping[str, mx.nd.NDArray],
    configuration: Mapping[str, str],
) -> None:
    """Write symbol, parameters and hyperparameters as MXNet's model loaders and the built-in's tools read them.

    Raises OSError or MXNetError when the disk is full.
    """
    save_arrays(folder / PARAMETERS, named_parameters(arguments, states))
    (folder / SYMBOL).write_text(graph.tojson())
    (folder / CONFIGURATION).write_text(json.dumps(configuration))


def named_parameters(
    arguments: Mapping[str, mx.nd.NDArray], states: Mapping[str, mx.nd.NDArray]
) -> dict[str, mx.nd.NDArray]:
    """Return parameters by the names that mx.model.load_checkpoint reads in a file."""
    named = {f"arg:{name}": array for name, array in arguments.items()}
    return named | {f"aux:{name}": array for name, array in states.items()}
