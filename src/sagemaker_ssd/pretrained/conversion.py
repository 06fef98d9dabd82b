"""From the parameters of a file, whoever wrote it, to values for one of our trunks: recognises and converts them."""

from collections.abc import Mapping
from dataclasses import dataclass

import mxnet as mx

from sagemaker_ssd.errors import UserError
from sagemaker_ssd.pretrained.gluoncv import USABLE, from_gluoncv, recognise_gluoncv
from sagemaker_ssd.pretrained.mxnet_ssd import from_mxnet_ssd, recognise_mxnet_ssd
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


def converted(arrays: Mapping[str, mx.nd.NDArray], base_network: str, shown_as: str) -> Converted:
    """Return values for the trunk of `base_network` ("vgg-16" or "resnet-50") from a file's arrays.

    arrays: as the file names them, with or without `arg:` and `aux:`. shown_as: the file's name in messages.
    Detection heads and extra layers are kept where they have our names. Raises UserError: the file is of another
    network or of none that is known, or a parameter of the trunk is missing or has another shape.
    """
    bare = {name.removeprefix("arg:").removeprefix("aux:"): array for name, array in arrays.items()}
    under_our_names = recognise_mxnet_ssd(bare)
    if under_our_names == base_network:
        values, layout, notes = from_mxnet_ssd(bare, base_network, shown_as)
        return Converted(as_parameters(values), layout, tuple(notes))
    of_zoo = None if under_our_names else recognise_gluoncv(bare)
    if of_zoo and USABLE.get(of_zoo.name) == base_network:
        values, notes = from_gluoncv(bare, of_zoo, base_network, shown_as)
        return Converted(as_parameters(values), f"GluonCV {of_zoo.name}", tuple(notes))
    seems = under_our_names or (f"GluonCV's {of_zoo.name}" if of_zoo else None)
    raise UserError(_refusal(seems, sorted(bare), base_network, shown_as))


def _refusal(seems: str | None, names: list[str], base_network: str, shown_as: str) -> str:
    accepted = f"Accepted for base_network {base_network}: {_ACCEPTED[base_network]}."
    if not names:
        return f"{shown_as}: holds no parameters with names. {accepted}"
    what = f"seems to be {seems}, not {base_network}" if seems else "is of an unknown layout"
    return f"{shown_as}: {what}. {accepted} First names in the file: {some(names)}."
