"""GluonCV's model zoo, and MXNet's own: finds the network that a file is of, and converts the trunks in USABLE."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import mxnet as mx
import numpy as np

from sagemaker_ssd.pretrained.trunk import (
    FULL_SHAPES,
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    SUB_SAMPLED_NOTE,
    Shape,
    Values,
    common_prefix,
    fit_resnet,
    fit_vgg,
    sub_sampled,
    take,
    trunk_shapes,
)

# The networks that can be converted, and whose trunk each of them is.
USABLE = {"vgg16_atrous": "vgg-16", "vgg16": "vgg-16", "resnet50_v2": "resnet-50"}
# Networks that can be told by their names, the usable ones first.
_ZOO = (
    *("vgg16", "resnet50_v2"),
    *("vgg11", "vgg13", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"),
    *("resnet18_v2", "resnet34_v2", "resnet101_v2", "resnet152_v2"),
    *("resnet18_v1", "resnet34_v1", "resnet50_v1", "resnet101_v1", "resnet152_v1"),
    *("resnet50_v1b", "resnet50_v1c", "se_resnet50_v1", "se_resnet50_v2"),  # v1d and v1s have v1c's names
    *("alexnet", "mobilenet1.0", "mobilenetv2_1.0", "densenet121", "squeezenet1.0"),
)
# A file may lack a few parameters. The convolutions alone must not do: in the naming without a prefix, vgg16 and
# vgg16_atrous share those 26 of 32 names and read other pixels.
_LEAST_OVERLAP = 0.85
# Of gluon's BatchNorm.
_THEIR_EPS = 1e-5


@dataclass(frozen=True)
class ZooNetwork:
    """A network of the zoo: its `name`, the gluon `block`, and parameter -> its name in the file."""

    name: str
    block: Any
    file_names: dict[Any, str]


def _networks() -> Iterator[tuple[str, Any]]:
    """Build each network without values; nothing is fetched."""
    from gluoncv import model_zoo
    from gluoncv.model_zoo.ssd.vgg_atrous import VGGAtrousExtractor, extra_spec, vgg_spec

    # The zoo's own file has no extra layers; a detector's are those of 300 or 512 pixels.
    none: list[Any] = []
    for extra_layers in (none, extra_spec[300], extra_spec[512]):
        yield "vgg16_atrous", VGGAtrousExtractor(*vgg_spec[16], extra_layers)
    for name in _ZOO:
        yield name, model_zoo.get_model(name, pretrained=False)
    yield "vgg19_atrous", VGGAtrousExtractor(*vgg_spec[19], extra_spec[300])
    yield "vgg16_atrous_bn", VGGAtrousExtractor(*vgg_spec[16], extra_spec[300], batch_norm=True)


def _namings(block: Any) -> list[dict[str, Any]]:
    """Return name -> parameter as `save_parameters` writes them, and as `collect_params().save` does."""
    prefixed = block.collect_params()
    return [
        block._collect_params_with_prefix(),
        {name.removeprefix(block.prefix): parameter for name, parameter in prefixed.items()},
    ]


def recognise_gluoncv(names: Collection[str]) -> ZooNetwork | None:
    """Return the network whose parameter names are most like these, or None if none has most of them in common.

    A part of a larger network is found too: the trunk of a detector.
    """
    best, most = None, _LEAST_OVERLAP
    for network, block in _networks():
        for own in _namings(block):
            prefix = common_prefix(names, own)
            there = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
            overlap = len(there & own.keys()) / len(there | own.keys())
            if overlap > most:
                file_names = {parameter: prefix + name for name, parameter in own.items()}
                best, most = ZooNetwork(network, block, file_names), overlap
        if most == 1:
            break
    return best


def _layers(container: Any, kind: type) -> list[Any]:
    return [layer for layer in container if isinstance(layer, kind)]


def _vgg_parameters(network: ZooNetwork) -> dict[str, Any]:
    """Return our name -> gluon's parameter, of either VGG-16."""
    block = network.block
    if network.name == "vgg16":
        layers = _layers(block.features, mx.gluon.nn.Conv2D) + _layers(block.features, mx.gluon.nn.Dense)
        named = {}
    else:
        layers = [layer for stage in block.stages for layer in _layers(stage, mx.gluon.nn.Conv2D)]
        named = {"relu4_3_scale": block.norm4.scale, "init_scale": block.init_scale}
    ours = [name.removesuffix("_weight") for name in trunk_shapes("vgg-16") if name.endswith("_weight")]
    for name, layer in zip(ours, layers, strict=True):
        named |= {f"{name}_weight": layer.weight, f"{name}_bias": layer.bias}
    return named


def _batch_norm(name: str, layer: Any) -> dict[str, Any]:
    return {
        f"{name}_gamma": layer.gamma,
        f"{name}_beta": layer.beta,
        f"{name}_moving_mean": layer.running_mean,
        f"{name}_moving_var": layer.running_var,
    }


def _resnet_parameters(network: ZooNetwork) -> dict[str, Any]:
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


def from_gluoncv(
    arrays: Mapping[str, mx.nd.NDArray], network: ZooNetwork, base_network: str, shown_as: str
) -> tuple[Values, list[str], list[str]]:
    """Return the trunk's values under our names, what was changed, and the names that were left out.

    network: one of USABLE. relu4_3_scale comes along from vgg16_atrous. Raises UserError.
    """
    parameters = _resnet_parameters(network) if base_network == "resnet-50" else _vgg_parameters(network)
    file_names = {ours: network.file_names[parameter] for ours, parameter in parameters.items()}
    shapes: dict[str, tuple[Shape, ...]] = {name: (shape,) for name, shape in trunk_shapes(base_network).items()}
    shapes |= {"relu4_3_scale": ((1, 512, 1, 1),), "init_scale": ((1, 3, 1, 1),)}
    if network.name == "vgg16":
        shapes |= FULL_SHAPES
    values = take(arrays, file_names, shapes, shown_as)
    if network.name == "resnet50_v2":
        # The network computes with 1 there, whatever is stored.
        values["bn_data_gamma"] = mx.nd.ones_like(values["bn_data_gamma"])
        notes = fit_resnet(values, _THEIR_EPS, file_names, shown_as)
    elif network.name == "vgg16":
        notes = fit_vgg(values, IMAGENET_MEAN, IMAGENET_DEVIATION)
        if reduced := sub_sampled(values):
            values |= reduced
            notes.append(SUB_SAMPLED_NOTE)
    else:
        # The network multiplies its input by a constant that undoes the deviation.
        scale = values.pop("init_scale", mx.nd.array(IMAGENET_DEVIATION)).asnumpy().reshape(3)
        notes = fit_vgg(values, IMAGENET_MEAN, np.asarray(IMAGENET_DEVIATION) / scale)
    return values, notes, sorted(set(arrays) - set(file_names.values()))
