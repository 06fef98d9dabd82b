"""A model of a training job, ours or the built-in's, loaded for detection, and images as it takes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import mxnet as mx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sagemaker_ssd.artifacts.model_archive import StoredModel, read_stored_model
from sagemaker_ssd.batches.reader import resize
from sagemaker_ssd.channels.images import Pixels, decode, examine_image
from sagemaker_ssd.channels.record_file import RecordFile
from sagemaker_ssd.channels.recordio import read_payload, split_payload
from sagemaker_ssd.contract.channel_files import list_models
from sagemaker_ssd.contract.hyperparameter_file import parse_model_configuration
from sagemaker_ssd.errors import UserError, problems
from sagemaker_ssd.scoring.detector import Detector, Weights
from sagemaker_ssd.ssd.graphs import detection_graph
from sagemaker_ssd.ssd.initial_values import Parameters
from sagemaker_ssd.ssd.network import Network, NmsSettings, network_of

# Names of files, or faults, in one message.
_SHOWN: Final = 5


@dataclass(frozen=True)
class LoadedModel:
    """A network with its values. settings: the job's hyperparameters as far as its hyperparams.json has them."""

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
    file = _model_file(path)
    stored = read_stored_model(file, str(file), scratch)
    found = network_of(Parameters(stored.arguments, stored.states))
    if isinstance(found, str):
        raise UserError(f"{file}: {found}")
    given = parse_model_configuration(stored.configuration)
    network = Network(
        found.base_network,
        image_shape or int(_setting(given, "image_shape", None, file)),
        found.num_classes,
        NmsSettings(
            _setting(given, "nms_threshold", NmsSettings.threshold, file),
            int(_setting(given, "nms_topk", NmsSettings.topk, file)),
        ),
    )
    _check_shapes(network, stored, file)
    device = device or mx.cpu()
    arguments, states = (
        {name: array.as_in_context(device) for name, array in arrays.items()}
        for arrays in (stored.arguments, stored.states)
    )
    return LoadedModel(network, Weights(device, arguments, states), given)


def _model_file(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError(f"{path}: there is no such file or folder; give a model.tar.gz, or the folder of its files")
    found = list_models(path).found
    if len(found) != 1:
        names = ", ".join(file.name for file in found[:_SHOWN])
        there = f"holds several models ({names})" if found else "holds no model.tar.gz and no .params file"
        raise UserError(f"{path}: it {there}; name the file")
    return found[0]


def _setting(given: Mapping[str, str], name: str, default: float | None, file: Path) -> float:
    if name not in given and default is None:
        raise UserError(f"{file}: no hyperparams.json tells its {name}: give it by --image-shape, such as 300")
    try:
        return float(given.get(name, default or 0))
    except ValueError:
        raise UserError(f"{file}: its hyperparams.json has {name} {given[name]!r}, which is not a number") from None


def _check_shapes(network: Network, stored: StoredModel, file: Path) -> None:
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


def decoded(image: bytes, name: str) -> Pixels:
    """Decode an image file to (H, W, 3) RGB, turned as a viewer shows it; raises UserError when it cannot be used."""
    facts = examine_image(image)
    if facts.fault:
        raise UserError(f"{name}: {facts.fault}")
    rgb: Pixels = cv2.cvtColor(decode(facts.content), cv2.COLOR_BGR2RGB)
    return rgb


def network_input(pixels: Pixels, image_shape: int, mean: tuple[float, float, float]) -> NDArray[np.float32]:
    """Resize (H, W, 3) pixels just as an evaluation does, take off the mean; return (3, image_shape, image_shape)."""
    resized = resize(pixels, image_shape)
    difference: NDArray[np.float32] = resized.astype(np.float32) - np.array(mean, np.float32)
    return difference.transpose(2, 0, 1)


def read_picture(file: RecordFile, number: int) -> Image.Image:
    """Return an image of a checked channel for a person to look at: as the network saw it, before it was resized."""
    begin, end = file.offsets[number : number + 2].tolist()
    image = split_payload(read_payload(file.path, begin, end)).image
    return Image.fromarray(cv2.cvtColor(decode(image), cv2.COLOR_BGR2RGB))
