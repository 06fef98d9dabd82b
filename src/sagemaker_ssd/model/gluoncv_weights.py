"""Converts the trunks of GluonCV's model zoo: vgg16_atrous, vgg16 and resnet50_v2."""

from collections.abc import Mapping
from typing import Any

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.model.gluoncv_networks import Found
from sagemaker_ssd.model.trunk_values import Shape, some, taken, trunk_shapes
from sagemaker_ssd.model.vgg_reduction import FULL_SHAPES, SUB_SAMPLED_NOTE, sub_sampled, with_our_pixels

Values = dict[str, mx.nd.NDArray]
USABLE = {"vgg16_atrous": "vgg-16", "vgg16": "vgg-16", "resnet50_v2": "resnet-50"}
# GluonCV's networks read RGB minus this mean, over this deviation (its ImageNet transform, in 0-255).
_MEAN = np.multiply([0.485, 0.456, 0.406], 255, dtype=np.float64)
_DEVIATION = np.multiply([0.229, 0.224, 0.225], 255, dtype=np.float64)
# The eps of gluon's BatchNorm, and of our graph's.
_THEIR_EPS, _OUR_EPS = 1e-5, 2e-5
_VGG_CONVOLUTIONS = [
    f"conv{group}_{number}" for group, count in enumerate((2, 2, 3, 3, 3), 1) for number in range(1, count + 1)
]


def _layers(container: Any, kind: type) -> list[Any]:
    return [layer for layer in container if isinstance(layer, kind)]


def _vgg_parameters(network: Found) -> dict[str, Any]:
    """Return our name -> gluon's parameter."""
    block = network.block
    if network.name == "vgg16":
        layers = _layers(block.features, mx.gluon.nn.Conv2D) + _layers(block.features, mx.gluon.nn.Dense)
        named = {}
    else:
        layers = [layer for stage in block.stages for layer in _layers(stage, mx.gluon.nn.Conv2D)]
        named = {"relu4_3_scale": block.norm4.scale, "init_scale": block.init_scale}
    for name, layer in zip([*_VGG_CONVOLUTIONS, "fc6", "fc7"], layers, strict=True):
        named |= {f"{name}_weight": layer.weight, f"{name}_bias": layer.bias}
    return named


def _batch_norm(name: str, layer: Any) -> dict[str, Any]:
    return {
        f"{name}_gamma": layer.gamma,
        f"{name}_beta": layer.beta,
        f"{name}_moving_mean": layer.running_mean,
        f"{name}_moving_var": layer.running_var,
    }


def _resnet_parameters(network: Found) -> dict[str, Any]:
    """Return our name -> gluon's parameter."""
    first, convolution, normed, _, _, *stages = network.block.features
    named = _batch_norm("bn_data", first) | {"conv0_weight": convolution.weight} | _batch_norm("bn0", normed)
    for number, stage in enumerate(stages[:4], 1):
        for place, unit in enumerate(stage, 1):
            name = f"stage{number}_unit{place}"
            for k in (1, 2, 3):
                named |= _batch_norm(f"{name}_bn{k}", getattr(unit, f"bn{k}"))
                named[f"{name}_conv{k}_weight"] = getattr(unit, f"conv{k}").weight
            if unit.downsample is not None:
                named[f"{name}_sc_weight"] = unit.downsample.weight
    return named


def _fit_vgg(values: Values, deviation: NDArray[np.float64]) -> list[str]:
    """Change `values` in place to our pixels and layers."""
    notes = [f"conv1_1 fitted to pixels minus (123, 117, 104) instead of {tuple(_MEAN.round(3))}"]
    if not np.allclose(deviation, 1):
        notes = [f"{notes[0]} over {tuple(deviation.round(3))}"]
    pixels = with_our_pixels(values["conv1_1_weight"], values["conv1_1_bias"], tuple(_MEAN), tuple(deviation))
    values |= dict(zip(("conv1_1_weight", "conv1_1_bias"), pixels, strict=True))
    return notes


def _fit_resnet(values: Values) -> list[str]:
    """Change `values` in place to our pixels and to our graph's eps.

    gamma / sqrt(variance + eps) stays what it was. bn_data has no gamma in our graph; there the variance takes it up.
    """
    mean, variance = (values[f"bn_data_moving_{kind}"].asnumpy().astype(np.float64) for kind in ("mean", "var"))
    values["bn_data_gamma"] = mx.nd.ones((3,))
    values["bn_data_moving_mean"] = mx.nd.array(_MEAN + _DEVIATION * mean)
    values["bn_data_moving_var"] = mx.nd.array(_DEVIATION**2 * (variance + _THEIR_EPS) - _OUR_EPS)
    for name in [name for name in values if name.endswith("_gamma") and name != "bn_data_gamma"]:
        spread = values[f"{name.removesuffix('_gamma')}_moving_var"].asnumpy().astype(np.float64)
        ratio = np.sqrt((spread + _OUR_EPS) / (spread + _THEIR_EPS))
        values[name] = mx.nd.array(values[name].asnumpy() * ratio)
    return [
        "bn_data's mean and variance fitted to pixels of 0-255",
        f"every other BatchNorm's gamma fitted to eps {_OUR_EPS:g} instead of {_THEIR_EPS:g}",
    ]


def from_gluoncv(
    arrays: Mapping[str, mx.nd.NDArray], network: Found, base_network: str, shown_as: str
) -> tuple[Values, list[str]]:
    """Return the trunk's values under our names, and what was changed.

    network: one of USABLE. relu4_3_scale comes along from vgg16_atrous. Raises UserError.
    """
    parameters = _resnet_parameters(network) if base_network == "resnet-50" else _vgg_parameters(network)
    file_names = {ours: network.file_names[parameter] for ours, parameter in parameters.items()}
    shapes: dict[str, tuple[Shape, ...]] = {name: (shape,) for name, shape in trunk_shapes(base_network).items()}
    shapes |= {"relu4_3_scale": ((1, 512, 1, 1),), "init_scale": ((1, 3, 1, 1),)}
    if network.name == "vgg16":
        shapes |= FULL_SHAPES
    values = taken(arrays, file_names, shapes, shown_as)
    if network.name == "resnet50_v2":
        notes = _fit_resnet(values)
    elif network.name == "vgg16":
        notes = _fit_vgg(values, _DEVIATION)
        if reduced := sub_sampled(values):
            values |= reduced
            notes.append(SUB_SAMPLED_NOTE)
    else:
        # The network multiplies its input by a constant that undoes the deviation.
        scale = values.pop("init_scale", mx.nd.array(_DEVIATION)).asnumpy().reshape(3)
        notes = _fit_vgg(values, _DEVIATION / scale)
    if left := sorted(set(arrays) - set(file_names.values())):
        notes.append(f"left out: {some(left)}")
    return values, notes
