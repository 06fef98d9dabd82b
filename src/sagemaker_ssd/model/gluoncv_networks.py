"""Finds the network of GluonCV's model zoo, or of MXNet's own, that a file's parameter names belong to."""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True)
class Found:
    """A network of the zoo: its `name`, the `block`, and parameter -> its name in the file."""

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


def _prefix(names: Collection[str], own: Collection[str]) -> str:
    """Return what stands in front of most of a network's own names: `resnetv20_`, `features.`, or nothing."""
    prefixes: Counter[str] = Counter()
    for name in names:
        ends = [0, *(place + 1 for place, letter in enumerate(name) if letter in "._")]
        prefixes.update(name[:end] for end in ends if name[end:] in own)
    return prefixes.most_common(1)[0][0] if prefixes else ""


def find_network(names: Collection[str]) -> Found | None:
    """Return the network whose parameter names are most like these, or None if none has most of them in common.

    A part of a larger network is found too: the trunk of a detector.
    """
    best, most = None, _LEAST_OVERLAP
    for network, block in _networks():
        for own in _namings(block):
            prefix = _prefix(names, own)
            there = {name.removeprefix(prefix) for name in names if name.startswith(prefix)}
            overlap = len(there & own.keys()) / len(there | own.keys())
            if overlap > most:
                file_names = {parameter: prefix + name for name, parameter in own.items()}
                best, most = Found(network, block, file_names), overlap
        if most == 1:
            break
    return best
