"""The deploy form of a model: a graph of data alone that gives detections, as mxnet-ssd's deploy.py makes it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import mxnet as mx

from sagemaker_ssd.artifacts.model_files import named_parameters, save_arrays
from sagemaker_ssd.files import atomic_write
from sagemaker_ssd.ssd.graphs import deploy_graph
from sagemaker_ssd.ssd.network import Network

PREFIX: Final = "deploy_model_algo_1"
_PARAMETERS, _SYMBOL = f"{PREFIX}-0000.params", f"{PREFIX}-symbol.json"
DEPLOY_FILES: Final = (_PARAMETERS, _SYMBOL)


def write_deploy(
    folder: Path, network: Network, arguments: Mapping[str, mx.nd.NDArray], states: Mapping[str, mx.nd.NDArray]
) -> None:
    """Write <PREFIX>-symbol.json and <PREFIX>-0000.params for mx.model.load_checkpoint(PREFIX, 0).

    Raises OSError or MXNetError when the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    named = named_parameters(arguments, states)
    for name, write in (
        (_PARAMETERS, lambda path: save_arrays(path, named)),
        (_SYMBOL, lambda path: path.write_text(deploy_graph(network).tojson())),
    ):
        with atomic_write(folder / name) as part:
            write(part)
