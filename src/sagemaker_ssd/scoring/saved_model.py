"""A model of a training job, ours or the built-in's, loaded for detection, and images as it takes them."""

import contextlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import cv2
import mxnet as mx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sagemaker_ssd.artifacts.model_archive import StoredModel, read_stored_model
from sagemaker_ssd.batches.reader import resize
from sagemaker_ssd.channels.images import MAX_BYTES, Pixels, decode, examine_image
from sagemaker_ssd.channels.record_file import RecordFile
from sagemaker_ssd.channels.recordio import read_payload, split_payload
from sagemaker_ssd.contract.channel_files import list_unpacked_models
from sagemaker_ssd.contract.environment import ALL_CLASSES, BEST_CLASS, DETECTION_DTYPE_VARIABLE
from sagemaker_ssd.contract.hyperparameter_file import parse_model_configuration, stored_number
from sagemaker_ssd.contract.hyperparameter_values import (
    LARGEST_IMAGE_SHAPES,
    SMALLEST_IMAGE_SHAPE,
    ExplainedError,
    check_image_shape,
    unquoted,
)
from sagemaker_ssd.contract.hyperparameters import parse_value
from sagemaker_ssd.contract.model_folder import CONFIGURATION
from sagemaker_ssd.errors import UserError, in_words, listed, problems, shown
from sagemaker_ssd.files import TEMPORARY_FOLDER_REMEDY
from sagemaker_ssd.scoring.detector import Detector, Weights
from sagemaker_ssd.ssd.bfloat16 import weights_in_bfloat16
from sagemaker_ssd.ssd.detect import VARIANCES
from sagemaker_ssd.ssd.graphs import detection_graph
from sagemaker_ssd.ssd.heads import LARGE_VGG, head_layout
from sagemaker_ssd.ssd.initial_values import Parameters
from sagemaker_ssd.ssd.network import Network, NmsSettings, fit_centred_pixels, network_of
from sagemaker_ssd.ssd.number_formats import can_compute_bfloat16

_log = logging.getLogger(__name__)
# Names of files, or faults, in one message.
_SHOWN: Final = 5
# What MXNet's JSON calls the attributes of a node: today, before version 1.0, and before 0.9.
_ATTRIBUTES: Final = ("attrs", "attr", "param")
# MultiBoxPrior's own, which its JSON leaves out where they were not given.
_PRIOR_DEFAULTS: Final = {"sizes": "(1)", "ratios": "(1)", "steps": "(-1,-1)"}
_FALSE: Final = ("False", "false", "0")
# By how much figures of anchors may differ that are the same but for rounding.
_ROUNDED: Final = 0.001
_EXACT: Final = 0.0001


@dataclass(frozen=True)
class LoadedModel:
    """A network with its values. settings: the job's hyperparameters as far as its hyperparams.json has them.

    precision_dtype: what it detects in, "float32" or "bfloat16", whose weights are rounded already. detections: which
    classes of an anchor, BEST_CLASS or ALL_CLASSES.
    """

    network: Network
    weights: Weights
    settings: Mapping[str, str]
    precision_dtype: str = "float32"
    detections: str = BEST_CLASS

    def used_settings(self) -> dict[str, str]:
        """Return the settings, with what is used in place of what hyperparams.json has, or has not."""
        network = self.network
        used = {
            "base_network": network.base_network,
            "image_shape": network.image_shape,
            "num_classes": network.num_classes,
            "nms_threshold": network.nms.threshold,
            "nms_topk": network.nms.topk,
        }
        return {**self.settings, **{name: str(value) for name, value in used.items()}}

    def overlap_threshold(self) -> float:
        """Return the job's overlap_threshold, or its default; raises UserError where hyperparams.json has a bad one."""
        given = stored_number(self.settings, "overlap_threshold")
        return 0.5 if given is None else given

    def detector(self, batch_size: int) -> Detector:
        """Return a detector for batches of up to `batch_size` images."""
        graph = detection_graph(self.network, self.precision_dtype, all_classes=self.detections == ALL_CLASSES)
        return Detector(graph, [self.weights], batch_size=batch_size, image_shape=self.network.image_shape)


def load_model(
    path: Path,
    scratch: Path,
    image_shape: int | None = None,
    device: mx.Context | None = None,
    precision_dtype: str = "float32",
    *,
    detections: str = BEST_CLASS,
    image_shape_remedy: str = "give it by --image-shape, such as 300 or 512",
) -> LoadedModel:
    """Load a model.tar.gz, a .params file, or a folder with one of them; with both the .params file counts.

    image_shape: in pixels, what --image-shape says; None for that of hyperparams.json, and a warning where that is
    another one. image_shape_remedy: what to do where nothing tells it. What hyperparams.json does not tell of the
    suppression, the symbol beside the parameters does, else a warning. A symbol with other anchors than the network's
    is refused. A warning also tells where that symbol suppresses across classes, and where hyperparams.json has another
    network, or another number of classes, than the parameters. A resnet-50 that reads pixels minus a mean is fitted to
    pixels as they are, with a warning. device: the CPU unless given. precision_dtype: what to detect in; bfloat16 on a
    CPU with AVX512 alone. detections: as in `LoadedModel`. Raises UserError and OSError.
    """
    file = _model_file(path)
    try:
        stored = read_stored_model(file, str(file), scratch)
    except OSError as error:
        if not _is_of_unpacking(error, file, scratch):
            raise
        raise UserError(
            f"{file}: it cannot be unpacked below {scratch} ({error.strerror}). Make room there, "
            f"{TEMPORARY_FOLDER_REMEDY}, or give the model unpacked"
        ) from error
    found = network_of(Parameters(stored.arguments, stored.states))
    if isinstance(found, str):
        raise UserError(f"{file}: {found}")
    given = parse_model_configuration(stored.configuration)
    _warn_of_another_model(given, {"base_network": found.base_network, "num_classes": found.num_classes}, file)
    try:
        side, said = _side(given, image_shape, f"{_why_untold(stored.configuration)}: {image_shape_remedy}", file)
        check_image_shape(side, found.base_network)
        nms = _nms_settings(given, stored.symbol, file)
    except ExplainedError as error:
        raise UserError(f"{file}: {said}, {error}") from None
    except UserError as error:
        raise UserError(f"{file}: {error.sentence}") from None
    network = Network(found.base_network, side, found.num_classes, nms)
    _check_shapes(network, stored, file, said)
    _check_anchors(network, _stored_side(given), stored.symbol, file)
    for changed in fit_centred_pixels(stored.states):
        _log.warning("%s: %s", file, changed)
    device = device or mx.cpu()
    if precision_dtype == "bfloat16" and (device.device_type != "cpu" or not can_compute_bfloat16()):
        raise UserError(
            f"{DETECTION_DTYPE_VARIABLE} is bfloat16, for which MXNet 1.9.1 needs a CPU with AVX512: leave it away here"
        )
    arguments, states = (
        {name: array.as_in_context(device) for name, array in arrays.items()}
        for arrays in (stored.arguments, stored.states)
    )
    if precision_dtype == "bfloat16":
        arguments = weights_in_bfloat16(arguments)
    return LoadedModel(network, Weights(device, arguments, states), given, precision_dtype, detections)


def _is_of_unpacking(error: OSError, file: Path, scratch: Path) -> bool:
    """Say whether an error of reading a model is one of the folder in which an archive is unpacked."""
    # A .params file is read where it is, and may itself lie there, as an archive may.
    if file.suffix.lower() == ".params" or not isinstance(error.filename, str):
        return False
    return Path(error.filename) != file and scratch in Path(error.filename).parents


def _warn_of_another_model(given: Mapping[str, str], found: Mapping[str, object], file: Path) -> None:
    """Warn where hyperparams.json has other values than the parameters show: it may be another model's."""
    others = []
    for name, fact in found.items():
        value: object = None if (text := given.get(name)) is None else unquoted(text)
        if isinstance(value, str):
            # What cannot be parsed is another value as it stands.
            with contextlib.suppress(ValueError):
                value = parse_value(name, value)
        if value not in (None, fact):
            others.append(f"{name} {shown(given[name])} (they have {fact})")
    if others:
        _log.warning(
            "%s: its %s has not what the parameters have: %s. Where it is another model's, its image_shape, "
            "nms_threshold and nms_topk are too: put this model's own beside the parameters",
            *(file, CONFIGURATION, listed(others, "and")),
        )


def _side(given: Mapping[str, str], option: int | None, untold: str, file: Path) -> tuple[int, str]:
    """Return the side in pixels of the model's images, and who says so: --image-shape, else hyperparams.json.

    Raises UserError with `untold` where neither does. The option goes before the file, with a warning where they
    differ.
    """
    if option is None:
        stored = stored_number(given, "image_shape")
        if stored is None:
            raise UserError(untold)
        return int(stored), f"its {CONFIGURATION} has image_shape {shown(given['image_shape'])}"
    if (trained_at := _stored_side(given)) not in (None, option):
        _log.warning(
            "%s: its %s has image_shape %d, and --image-shape %d is used instead: a model detects best at the size "
            "that it was trained at",
            *(file, CONFIGURATION, trained_at, option),
        )
    return option, f"--image-shape is {option}"


def _stored_side(given: Mapping[str, str]) -> int | None:
    """Return the image_shape of hyperparams.json; None without one, and for what is no size."""
    try:
        stored = stored_number(given, "image_shape")
    except UserError:
        return None
    return None if stored is None else int(stored)


def _why_untold(configuration: bytes | None) -> str:
    """Say why the content of hyperparams.json, None without one, does not tell the image_shape."""
    if configuration is None:
        return f"no {CONFIGURATION} tells its image_shape"
    try:
        is_object = isinstance(json.loads(configuration), dict)
    except (ValueError, RecursionError):
        is_object = False
    if is_object:
        return f"its {CONFIGURATION} has no image_shape"
    return f"its {CONFIGURATION} is no JSON object, as where it was cut off, so that nothing tells its image_shape"


def _nms_settings(given: Mapping[str, str], symbol: bytes | None, file: Path) -> NmsSettings:
    """Take nms_threshold and nms_topk from hyperparams.json, else from the symbol, else the defaults with a warning."""
    of_symbol = _nms_of_symbol(symbol)
    values: dict[str, float] = {"nms_threshold": NmsSettings.threshold, "nms_topk": NmsSettings.topk}
    untold = []
    for name, default in values.items():
        told = stored_number(given, name)
        if told is None and name not in of_symbol:
            untold.append(f"{name} ({default} is used)")
        else:
            values[name] = of_symbol[name] if told is None else told
    if untold:
        _log.warning("%s: neither %s nor a symbol beside it tells %s", file, CONFIGURATION, listed(untold, "and"))
    if any(str(of.get("force_suppress", "False")) not in _FALSE for of in _attributes(symbol, "MultiBoxDetection")):
        _log.warning(
            "%s: the symbol beside it suppresses detections of other classes too (force_suppress), as mxnet-ssd's "
            "deploy form does; here each class is suppressed by itself, so that there can be more detections",
            file,
        )
    return NmsSettings(values["nms_threshold"], int(values["nms_topk"]))


def _nms_of_symbol(symbol: bytes | None) -> dict[str, float]:
    """Read what MXNet's JSON has of the suppression; nothing from what is no network with detections.

    MXNet leaves out what was not given, and its own nms_topk for all detections, -1, is none of this program's.
    """
    detections = _attributes(symbol, "MultiBoxDetection")
    if len(detections) != 1:
        return {}
    told = {}
    for name in ("nms_threshold", "nms_topk"):
        with contextlib.suppress(ValueError, LookupError, TypeError, OverflowError):
            told[name] = float(str(parse_value(name, detections[0][name])))
    return told


def _attributes(symbol: bytes | None, operator: str) -> list[Mapping[str, Any]]:
    """Return what MXNet's JSON has of every node of an operator, in the order of the network.

    Empty for what is no network.
    """
    try:
        nodes = [node for node in json.loads(symbol or b"{}")["nodes"] if str(node["op"]).endswith(operator)]
        found: list[Any] = [next((node[key] for key in _ATTRIBUTES if key in node), {}) for node in nodes]
    except (ValueError, LookupError, TypeError, RecursionError):
        return []
    return [attributes if isinstance(attributes, Mapping) else {} for attributes in found]


def _check_anchors(network: Network, trained_at: int | None, symbol: bytes | None, file: Path) -> None:
    """Raise UserError where the symbol beside the parameters has other anchors than the network: its boxes are others.

    trained_at: the image_shape of hyperparams.json, whose anchors are as good where another one is asked for.
    """
    priors, detections = (_attributes(symbol, name) for name in ("MultiBoxPrior", "MultiBoxDetection"))
    sides = [network.image_shape, *([] if trained_at is None else [trained_at])]
    faults = [_other_anchors(network.base_network, side, priors, detections) for side in sides]
    if not priors or not all(faults):
        return
    for _, _, usual in _layouts(network.base_network):
        if not _other_anchors(network.base_network, usual, priors, detections):
            raise UserError(
                f"{file}: its symbol has the anchors of an image_shape of {usual}, not those of {network.image_shape}: "
                "it must be the one that the model was trained at"
            )
    raise UserError(
        f"{file}: the symbol beside it has other anchors than this program's {network.base_network}, so that its boxes "
        f"would be wrong: {faults[0]}. Detect with MXNet itself, by that symbol; or train from these weights, as the "
        "channel pretrained"
    )


def _other_anchors(
    base_network: str, side: int, priors: Sequence[Mapping[str, Any]], detections: Sequence[Mapping[str, Any]]
) -> str:
    """Say how a symbol's anchors, or what their offsets are divided by, differ from a network's; empty if they do not.

    Rounded to three digits, as mxnet-ssd has the sizes, is no difference: it is a tenth of a pixel of 300. Steps are
    not rounded there, and those of two layouts can differ by less.
    """
    heads = head_layout(base_network, side)
    if len(priors) != len(heads):
        return f"they are on {in_words(len(priors), 'feature map', 'feature maps')}, and here on {len(heads)}"
    for number, (prior, head) in enumerate(zip(priors, heads, strict=True), 1):
        # A boolean of MXNet's JSON; the anchors here may reach past the image's border.
        if str(prior.get("clip", "False")) not in _FALSE:
            return f"on feature map {number} they are cut off at the image's border (clip), and here not"
        for name, here in (("sizes", head.sizes), ("ratios", head.ratios), ("steps", f"({head.step},{head.step})")):
            there = str(prior.get(name, _PRIOR_DEFAULTS[name]))
            if not _alike(there, here, _EXACT if name == "steps" else _ROUNDED):
                return f"on feature map {number} the {name} are {shown(there)}, and here {here}"
    for detection in detections:
        if not _alike(there := str(detection.get("variances", VARIANCES)), str(VARIANCES), _ROUNDED):
            return f"the variances are {shown(there)}, and here {VARIANCES}"
    return ""


def _alike(one: str, other: str, most: float) -> bool:
    """Compare two tuples of numbers, as MXNet writes them, whose numbers may differ by `most`."""

    def read(text: str) -> list[float]:
        return [float(value) for value in text.strip("()[] ").split(",") if value.strip()]

    try:
        pairs = list(zip(read(one), read(other), strict=True))
    except ValueError:
        return False
    return all(abs(first - second) <= most for first, second in pairs)


def _model_file(path: Path) -> Path:
    if path.is_file():
        return path
    if path.exists() and not path.is_dir():
        raise UserError(f"{path}: it is a pipe or a device; give a file, or the folder of a model's files")
    if not path.is_dir():
        raise UserError(f"{path}: there is no such file or folder; give a model.tar.gz, or the folder of its files")
    listing = list_unpacked_models(path)
    found = listing.found
    if not found:
        remedy = listing.remedy_for_weights() or "; name the file"
        raise UserError(f"{path}: it holds no model.tar.gz and no .params file{remedy}")
    if len(found) > 1:
        names = ", ".join(str(file.relative_to(path)) for file in found[:_SHOWN])
        raise UserError(f"{path}: it holds several models ({names}); name the file")
    return found[0]


def _check_shapes(network: Network, stored: StoredModel, file: Path, said: str) -> None:
    """Raise UserError unless every parameter is there in its shape; said: who told the network's size."""
    faults = _misfits(network, stored)
    if not faults:
        return
    for smallest, largest, usual in _layouts(network.base_network):
        if not _misfits(replace(network, image_shape=smallest), stored):
            raise UserError(
                f"{file}: {said}, but its parameters are those of {network.base_network} for an image_shape from "
                f"{smallest} to {largest}: it must be the one that the model was trained at, usually {usual}"
            )
    more = [f"and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
    raise UserError(
        f"{file}: its parameters are not those of {network.base_network} with "
        f"{in_words(network.num_classes, 'class', 'classes')}, at whatever image_shape:\n"
        f"{problems([*faults[:_SHOWN], *more])}"
    )


def _layouts(base_network: str) -> list[tuple[int, int, int]]:
    """Return the ranges of image_shape in which a network has the same layers: smallest, largest, and a usual one."""
    largest = LARGEST_IMAGE_SHAPES[base_network]
    if base_network == "vgg-16":
        return [(SMALLEST_IMAGE_SHAPE, LARGE_VGG - 1, 300), (LARGE_VGG, largest, 512)]
    return [(SMALLEST_IMAGE_SHAPE, largest, 300)]


def _misfits(network: Network, stored: StoredModel) -> list[str]:
    """Say which parameters of the network are missing, and which have another shape."""
    graph, size = detection_graph(network), network.image_shape
    shapes, _, state_shapes = graph.infer_shape(data=(1, 3, size, size))
    wanted = dict(zip(graph.list_arguments(), shapes, strict=True))
    wanted |= dict(zip(graph.list_auxiliary_states(), state_shapes, strict=True))
    there = {**stored.arguments, **stored.states}
    faults = [f"{name} is missing" for name in wanted if name not in there and name != "data"]
    return faults + [
        f"{name} has shape {there[name].shape} instead of {shape}"
        for name, shape in wanted.items()
        if name in there and there[name].shape != shape
    ]


def decoded(image: bytes, name: str, *, whole: bool = False, warn: Callable[[str], None] = _log.warning) -> Pixels:
    """Decode an image file to (H, W, 3) RGB, turned as a viewer shows it; raises UserError when it cannot be used.

    whole: whether a JPEG that lacks a part of the picture cannot; else that is a warning, and the part is grey. warn:
    what is called with each warning, the log's unless given.
    """
    facts = examine_image(image)
    if facts.fault:
        raise UserError(f"{name}: {facts.fault}")
    if facts.truncated and whole:
        raise UserError(f"{name}: a JPEG that is cut off: send the whole file")
    if facts.truncated:
        warn(f"{name}: a JPEG that is cut off, used as far as it goes")
    if facts.deep:
        warn(
            f"{name}: 16 bits a colour, of which the upper 8 are read, so that values of 12 bits would be nearly "
            "black: multiply those by 16"
        )
    rgb: Pixels = cv2.cvtColor(decode(facts.content), cv2.COLOR_BGR2RGB)
    return rgb


def decoded_file(path: Path) -> Pixels:
    """Read an image file, unless it is too large to be one, and decode it as `decoded`; raises OSError too."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise UserError(f"{path}: {size:,} bytes; an image has {MAX_BYTES:,} at most")
    return decoded(path.read_bytes(), str(path))


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
