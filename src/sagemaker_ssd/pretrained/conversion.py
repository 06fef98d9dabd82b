"""Turns the parameters of a file, whoever wrote it, into values for one of our trunks."""

from collections.abc import Mapping
from dataclasses import dataclass

import mxnet as mx

from sagemaker_ssd.errors import UserError
from sagemaker_ssd.pretrained.gluoncv import USABLE, find_network, from_gluoncv
from sagemaker_ssd.pretrained.mxnet_ssd import from_classic, recognise_classic
from sagemaker_ssd.pretrained.trunk import as_parameters, some
from sagemaker_ssd.ssd.initial_values import Parameters

_ACCEPTED = {
    "vgg-16": "a model of this program or of the built-in algorithm with vgg-16, mxnet-ssd's vgg16_reduced, MXNet's"
    " vgg16, GluonCV's vgg16_atrous or vgg16",
    "resnet-50": "a model of this program or of the built-in algorithm with resnet-50, MXNet's resnet-50, GluonCV's"
    " resnet50_v2",
}


@dataclass(frozen=True)
class Converted:
    """A file's values under our names: `parameters`, the `layout` they were found in, and `notes` on what changed."""

    parameters: Parameters
    layout: str
    notes: tuple[str, ...]


def _plain(name: str) -> str:
    return name.removeprefix("arg:").removeprefix("aux:")


def converted(arrays: Mapping[str, mx.nd.NDArray], base_network: str, shown_as: str) -> Converted:
    """Return values for the trunk of `base_network` ("vgg-16" or "resnet-50") from a file's arrays.

    arrays: as the file names them, with or without `arg:` and `aux:`. shown_as: the file's name in messages.
    Detection heads and extra layers are kept where they have our names. Raises UserError: the file is of another
    network or of none that is known, or a parameter of the trunk is missing or has another shape.
    """
    values = {_plain(name): array for name, array in arrays.items()}
    classic = recognise_classic(values)
    if classic == base_network:
        kept, layout, notes = from_classic(values, base_network, shown_as)
        return Converted(as_parameters(kept), layout, tuple(notes))
    network = None if classic else find_network(values)
    if network and USABLE.get(network.name) == base_network:
        kept, notes = from_gluoncv(values, network, base_network, shown_as)
        return Converted(as_parameters(kept), f"GluonCV {network.name}", tuple(notes))
    seems = classic or (f"GluonCV's {network.name}" if network else None)
    raise UserError(_refusal(seems, sorted(values), base_network, shown_as))


def _refusal(seems: str | None, names: list[str], base_network: str, shown_as: str) -> str:
    accepted = f"Accepted for base_network {base_network}: {_ACCEPTED[base_network]}."
    if not names:
        return f"{shown_as}: holds no parameters with names. {accepted}"
    what = f"seems to be {seems}, not {base_network}" if seems else "is of an unknown layout"
    return f"{shown_as}: {what}. {accepted} First names in the file: {some(names)}."
