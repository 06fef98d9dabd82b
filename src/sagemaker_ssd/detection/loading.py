"""Loads a model of a training job, ours or the built-in's, for detection."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import mxnet as mx

from sagemaker_ssd.artifacts.stored_model import StoredModel, read_stored_model
from sagemaker_ssd.contract.channel_folder import models
from sagemaker_ssd.contract.earlier_settings import settings
from sagemaker_ssd.engine.detector import Detector, Weights
from sagemaker_ssd.errors import UserError, problems
from sagemaker_ssd.model.graph import Network, detection_graph
from sagemaker_ssd.model.parameters import Parameters
from sagemaker_ssd.model.recognition import network_of

_SHOWN: Final = 5


@dataclass(frozen=True)
class LoadedModel:
    """A network with its values. settings: the job's hyperparameters as far as its hyperparams.json tells them."""

    network: Network
    weights: Weights
    settings: Mapping[str, str]

    def detector(self, batch_size: int) -> Detector:
        """Return a detector for batches of up to `batch_size` images."""
        return Detector(
            detection_graph(self.network), [self.weights], batch_size=batch_size, image_shape=self.network.image_shape
        )


def load_model(
    path: Path, scratch: Path, image_shape: int | None = None, device: mx.Context | None = None
) -> LoadedModel:
    """Load a model.tar.gz, a .params file, or a folder with one of them.

    image_shape: in pixels, for a model whose hyperparams.json is missing. device: the CPU unless given. Raises
    UserError and OSError.
    """
    file = _file(path)
    stored = read_stored_model(file, str(file), scratch)
    found = network_of(Parameters(stored.arguments, stored.states))
    if isinstance(found, str):
        raise UserError(f"{file}: {found}")
    told = settings(stored.configuration)
    network = Network(
        found.base_network,
        image_shape or int(_setting(told, "image_shape", None, file)),
        found.num_classes,
        nms_threshold=_setting(told, "nms_threshold", 0.45, file),
        nms_topk=int(_setting(told, "nms_topk", 400, file)),
    )
    _check(network, stored, file)
    return LoadedModel(network, _placed(stored, device or mx.cpu()), told)


def _placed(stored: StoredModel, device: mx.Context) -> Weights:
    arguments, states = (
        {name: array.as_in_context(device) for name, array in arrays.items()}
        for arrays in (stored.arguments, stored.states)
    )
    return Weights(device, arguments, states)


def _file(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError(f"{path}: there is no such file or folder; give a model.tar.gz, or the folder of its files")
    found = models(path).found
    if len(found) != 1:
        names = ", ".join(file.name for file in found[:_SHOWN])
        there = f"holds several models ({names})" if found else "holds no model.tar.gz and no .params file"
        raise UserError(f"{path}: it {there}; name the file")
    return found[0]


def _setting(told: Mapping[str, str], name: str, default: float | None, file: Path) -> float:
    if name not in told and default is None:
        raise UserError(f"{file}: no hyperparams.json tells its {name}: give it by --image-shape, such as 300")
    try:
        return float(told.get(name, default or 0))
    except ValueError:
        raise UserError(f"{file}: its hyperparams.json has {name} {told[name]!r}, which is not a number") from None


def _check(network: Network, stored: StoredModel, file: Path) -> None:
    """Raise UserError unless every parameter is there in its shape."""
    graph, size = detection_graph(network), network.image_shape
    shapes, _, state_shapes = graph.infer_shape(data=(1, 3, size, size))
    wanted = dict(zip(graph.list_arguments(), shapes, strict=True))
    wanted |= dict(zip(graph.list_auxiliary_states(), state_shapes, strict=True))
    there = {**stored.arguments, **stored.states}
    faults = [f"{name} is missing" for name in wanted if name not in there and name != "data"]
    faults += [
        f"{name} has shape {there[name].shape} instead of {shape}"
        for name, shape in wanted.items()
        if name in there and there[name].shape != shape
    ]
    if faults:
        more = [f"and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
        raise UserError(
            f"{file}: it is not the model of {network.base_network} at image_shape {size} that its hyperparams.json "
            f"and its heads tell of:\n{problems([*faults[:_SHOWN], *more])}"
        )
