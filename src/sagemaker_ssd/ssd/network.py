"""Class Network, the architecture; what a pattern freezes of it; which network a file is of, and its pixels."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

import mxnet as mx
import numpy as np
import numpy.typing as npt

from sagemaker_ssd.ssd.heads import Predictions, head_layout, multibox_heads
from sagemaker_ssd.ssd.initial_values import Parameters
from sagemaker_ssd.ssd.resnet50 import resnet50
from sagemaker_ssd.ssd.vgg16 import vgg16

# One layer of each trunk by which its parameters are known.
_TRUNKS: Final = {"vgg-16": "conv1_1_weight", "resnet-50": "stage1_unit1_conv1_weight"}
_CLASS_BIAS, _LOCATION_BIAS = "_cls_pred_conv_bias", "_loc_pred_conv_bias"
_OFFSETS_PER_ANCHOR: Final = 4
_RESIDUAL_UNIT: Final = re.compile(r"stage\d+_unit\d+_")
_PARAMETER: Final = re.compile(r"_(weight|bias|gamma|beta|moving_mean|moving_var)$")
# What is taken off RGB of 0-255 before vgg-16, and by mxnet-ssd before every network (its train.py's --mean-r, -g, -b).
PIXEL_MEAN: Final = (123.0, 117.0, 104.0)
# A fresh BatchNorm has a running variance of 1, and one of normalised pixels about as much. That of pixels of 0-255,
# minus a mean or not, is in the thousands for photos (ImageNet's channels have 3,300), in the hundreds for pale ones.
LEAST_PIXEL_VARIANCE: Final = 100.0
# Pixels of black and white alone have the largest variance: so much more is allowed for what float16 rounds off and for
# cuDNN's variance, which divides by n - 1; and the variance of 1 with which a training begins.
_ROUNDED: Final = 1.05
_FRESH_VARIANCE: Final = 1.0


@dataclass(frozen=True)
class NmsSettings:
    """Non-maximum suppression: the IoU from which the lower score goes, and the most detections that it looks at.

    topk: of an image; where all classes of an anchor are detected, of each class, and as many of an image are left.
    """

    threshold: float = 0.45
    topk: int = 400


@dataclass(frozen=True)
class Frozen:
    """What training leaves as it is: `arguments` get no gradient, `batch_norms` use their stored mean and variance."""

    arguments: frozenset[str]
    batch_norms: frozenset[str]


NOTHING_FROZEN: Final = Frozen(frozenset(), frozenset())


@dataclass(frozen=True)
class Network:
    """The architecture: base_network "vgg-16" or "resnet-50", image_shape in pixels, num_classes without background.

    nms: no part of it, but of the graphs that detect.
    """

    base_network: str
    image_shape: int
    num_classes: int
    nms: NmsSettings = NmsSettings()

    @property
    def mean(self) -> tuple[float, float, float]:
        """The RGB values taken off every pixel before the network (resnet-50 normalises in its first layer)."""
        return (0.0, 0.0, 0.0) if self.base_network == "resnet-50" else PIXEL_MEAN

    def predictions(self, *, frozen_batch_norms: Collection[str] = (), folded_scale: bool = False) -> Predictions:
        """Build trunk and heads; frozen_batch_norms as in `Frozen`, folded_scale as in `multibox_heads`."""
        return multibox_heads(
            trunk(self.base_network, frozen_batch_norms),
            head_layout(self.base_network, self.image_shape),
            self.num_classes,
            folded_scale=folded_scale,
        )

    def arguments(self) -> frozenset[str]:
        """Return the names of all parameters that can be trained."""
        predictions = self.predictions()
        every = mx.sym.Group([predictions.locations, predictions.classes]).list_arguments()
        return frozenset(every) - {"data"}

    def freeze(self, pattern: str | None) -> Frozen:
        """Freeze the arguments whose names `pattern` matches from their start (re.match, as in mxnet-ssd).

        A BatchNorm whose gamma and beta are both frozen keeps its mean and variance too. None freezes nothing.
        """
        if pattern is None:
            return NOTHING_FROZEN
        arguments = frozenset(filter(re.compile(pattern).match, self.arguments()))
        scaled = {name.removesuffix("_gamma") for name in arguments if name.endswith("_gamma")}
        return Frozen(arguments, frozenset(layer for layer in scaled if f"{layer}_beta" in arguments))


def trunk(base_network: str, frozen_batch_norms: Collection[str] = ()) -> dict[str, mx.sym.Symbol]:
    """Build the trunk of "vgg-16" or "resnet-50" over `data`; return the feature maps that the heads read, by name."""
    data = mx.sym.Variable("data")
    return resnet50(data, frozen_batch_norms) if base_network == "resnet-50" else vgg16(data)


@dataclass(frozen=True)
class SavedNetwork:
    """base_network "vgg-16" or "resnet-50"; num_classes without background."""

    base_network: str
    num_classes: int


def network_of(parameters: Parameters) -> SavedNetwork | str:
    """Return the network whose parameters these are; what is wrong when they are of none.

    The classes are counted from the sizes of the heads: A anchors have A x (num_classes + 1) scores and 4A offsets.
    """
    names = parameters.arguments
    trunks = [base_network for base_network, name in _TRUNKS.items() if name in names]
    if len(trunks) != 1:
        some = ", ".join(list(names)[:3])
        return f"its parameters, such as {some}, are not those of vgg-16 or resnet-50 under this algorithm's names"
    counts = set()
    for name in names:
        location = name.removesuffix(_CLASS_BIAS) + _LOCATION_BIAS
        if name.endswith(_CLASS_BIAS) and location in names:
            scores, offsets = names[name].size, names[location].size
            counts.add(_OFFSETS_PER_ANCHOR * scores / offsets - 1)
    if not counts:
        return f"it holds {trunks[0]} without detection heads; for ImageNet weights name the channel pretrained"
    (count, *others) = sorted(counts)
    if others or count < 1 or not count.is_integer():
        return "the sizes of its detection heads do not fit together"
    return SavedNetwork(trunks[0], int(count))


def largest_pixel_variance(mean: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the largest running variance that pixels of 0-255 can have beside their running mean, of any shape.

    Numbers from 0 to 255 of a mean m have a variance of m (255 - m) at most (Bhatia and Davis 2000). So have their
    running averages: an average of batches' variances is less than the variance of all batches together.
    """
    bound: npt.NDArray[np.float64] = _ROUNDED * mean * (255 - mean) + _FRESH_VARIANCE
    return bound


def fit_centred_pixels(states: dict[str, mx.nd.NDArray]) -> list[str]:
    """Change bn_data's running mean in `states`, of a resnet-50 that reads RGB of 0-255 minus PIXEL_MEAN, to read RGB.

    That it reads such pixels is told by mean and variance, (3,) each: pixels of 0-255 cannot have them, and minus
    PIXEL_MEAN they can. Returns what was changed: nothing of other networks, and nothing a second time. Exact, for
    BatchNorm takes the mean off. Bright images minus the mean may have the statistics of dark ones: they are left.
    """
    if "bn_data_moving_mean" not in states:
        return []
    mean, variance = (states[f"bn_data_moving_{kind}"].asnumpy().astype(np.float64) for kind in ("mean", "var"))
    fitted = mean + PIXEL_MEAN
    impossible = (variance > largest_pixel_variance(mean)) & (variance >= LEAST_PIXEL_VARIANCE)
    if not impossible.any() or not (variance <= largest_pixel_variance(fitted)).all():
        return []
    states["bn_data_moving_mean"] = mx.nd.array(fitted)
    return [
        "bn_data's mean fitted to pixels of 0-255: with its variance it shows that the file reads these minus a mean, "
        "which is assumed to be mxnet-ssd's, (123, 117, 104)"
    ]


def behind_trunk(name: str) -> bool:
    """Say whether a parameter belongs to the layers behind the trunk, which depend on image_shape."""
    return name.startswith("multi_feat_") or "_pred_conv_" in name or name.endswith("_scale")


def deeper_units(unused: Iterable[str]) -> list[str]:
    """Return the residual units among the names that a network does not have: they are of a deeper ResNet."""
    return [name for name in unused if _RESIDUAL_UNIT.match(name)]


def layer(name: str) -> str:
    """Return the layer of a parameter."""
    return _PARAMETER.sub("", name)


def layers(names: Iterable[str]) -> tuple[str, ...]:
    """Return the layers of parameters, each once, in order."""
    return tuple(dict.fromkeys(map(layer, names)))
