"""Tells from the parameters of a saved model which network it is."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sagemaker_ssd.ssd.initial_values import Parameters

# One layer of each trunk by which its parameters are known.
_TRUNKS: Final = {"vgg-16": "conv1_1_weight", "resnet-50": "stage1_unit1_conv1_weight"}
_CLASS_BIAS, _LOCATION_BIAS = "_cls_pred_conv_bias", "_loc_pred_conv_bias"
_RESIDUAL_UNIT: Final = re.compile(r"stage\d+_unit\d+_")
_NUMBERS_OF_A_BOX: Final = 4
_PARAMETER: Final = re.compile(r"_(weight|bias|gamma|beta|moving_mean|moving_var)$")


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
            counts.add(_NUMBERS_OF_A_BOX * scores / offsets - 1)
    if not counts:
        return f"it holds {trunks[0]} without detection heads; for ImageNet weights name the channel pretrained"
    (count, *others) = sorted(counts)
    if others or count < 1 or not count.is_integer():
        return "the sizes of its detection heads do not fit together"
    return SavedNetwork(trunks[0], int(count))


def behind_trunk(name: str) -> bool:
    """Say whether a parameter belongs to the layers behind the trunk, which depend on image_shape."""
    return name.startswith("multi_feat_") or "_pred_conv_" in name or name.endswith("_scale")


def deeper_units(unused: Iterable[str]) -> list[str]:
    """Return the residual units among the names that a network does not have: they are of a deeper ResNet."""
    return [name for name in unused if _RESIDUAL_UNIT.match(name)]


def layers(names: Iterable[str]) -> tuple[str, ...]:
    """Return the layers of parameters, each once, in order."""
    return tuple(dict.fromkeys(_PARAMETER.sub("", name) for name in names))
