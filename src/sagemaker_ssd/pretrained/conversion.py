"""From a file of parameters, whoever wrote it, to values for one of our networks: recognises and converts them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import mxnet as mx
import onnx

from sagemaker_ssd.artifacts.model_archive import read_archive, starts_like_archive
from sagemaker_ssd.artifacts.onnx_file import read_onnx_file
from sagemaker_ssd.artifacts.params_file import (
    SAFETENSORS,
    read_parameter_file,
    starts_like_onnx,
    starts_like_safetensors,
)
from sagemaker_ssd.artifacts.torch_file import read_torch_file, starts_like_torch
from sagemaker_ssd.errors import UserError, some
from sagemaker_ssd.pretrained.gluoncv import USABLE, from_gluoncv, recognise_gluoncv
from sagemaker_ssd.pretrained.mxnet_ssd import from_mxnet_ssd, recognise_mxnet_ssd
from sagemaker_ssd.pretrained.onnx_networks import ZOO_NAMES, OtherStructureError, find_trunk, from_onnx
from sagemaker_ssd.pretrained.torchvision_ssd import from_torchvision_ssd, recognise_torchvision_ssd
from sagemaker_ssd.pretrained.trunk import Values, as_parameters
from sagemaker_ssd.ssd.initial_values import Parameters

_ACCEPTED: Final = {
    "vgg-16": "a model of this program or of the built-in algorithm with vgg-16, mxnet-ssd's vgg16_reduced, MXNet's"
    " vgg16, GluonCV's vgg16_atrous or vgg16, its vgg16 in ONNX, torchvision's ssd300_vgg16",
    "resnet-50": "a model of this program or of the built-in algorithm with resnet-50, MXNet's resnet-50, GluonCV's"
    " resnet50_v2, the same in ONNX",
}
_KINDS: Final = (
    "the file must be a .params file of MXNet, an ONNX file, a state dictionary of PyTorch, by "
    "`torch.save(model.state_dict(), 'weights.pth')`, or the model.tar.gz of a job"
)
_DETECTOR: Final = "torchvision ssd300_vgg16"
# As many bytes as tell a tar archive.
_HEAD: Final = 512


@dataclass(frozen=True)
class Converted:
    """A file's values under our names: `parameters`, the `layout` they were found in, and `notes` on what changed.

    left_out: the file's names of the values that are not used.
    """

    parameters: Parameters
    layout: str
    notes: tuple[str, ...]
    left_out: tuple[str, ...]


def converted_file(file: Path, base_network: str, shown_as: str, scratch: Path) -> Converted:
    """Return values for the network of `base_network` ("vgg-16" or "resnet-50") from a file, told by its content.

    The file: .params, ONNX, a state dictionary of PyTorch, or the archive of a model. shown_as: its name in messages.
    scratch: folder for temporary files. Raises UserError as `converted` does and for damaged files, and OSError.
    """
    with file.open("rb") as opened:
        head = opened.read(_HEAD)
    must_be = f"{_KINDS}. {_accepted(base_network)}"
    # First of all: the length with which such a file begins can look like the begin of any other kind.
    if starts_like_safetensors(head):
        raise UserError(f"{shown_as}: {SAFETENSORS}; {must_be}")
    if starts_like_onnx(head):
        return _converted_onnx(read_onnx_file(file, shown_as), base_network, shown_as)
    if starts_like_torch(head):
        tensors = read_torch_file(file, shown_as, must_be)
        # Numbers of other kinds, such as counters, are no parameters.
        arrays = {name: mx.nd.array(array) for name, array in tensors.items() if array.dtype.kind == "f"}
        return converted(arrays, base_network, shown_as, others=[name for name in tensors if name not in arrays])
    if starts_like_archive(head):
        stored = read_archive(file, shown_as, scratch, must_be)
        return converted({**stored.arguments, **stored.states}, base_network, shown_as)
    return converted(read_parameter_file(file, shown_as, must_be), base_network, shown_as)


def converted(
    arrays: Mapping[str, mx.nd.NDArray], base_network: str, shown_as: str, others: Sequence[str] = ()
) -> Converted:
    """Return values for the trunk of `base_network` ("vgg-16" or "resnet-50") from a file's arrays.

    arrays: as the file names them, with or without `arg:` and `aux:`. shown_as: the file's name in messages. others:
    what else is in the file. Detection heads and extra layers are kept where they have our names, or are those of
    torchvision's SSD300. Raises UserError: the file is of another network or of none that is known, or a parameter is
    missing or has another shape.
    """
    bare = {name.removeprefix("arg:").removeprefix("aux:"): array for name, array in arrays.items()}
    if (prefix := recognise_torchvision_ssd(bare)) is not None:
        if base_network == "vgg-16":
            values, notes, left_out = from_torchvision_ssd(bare, prefix, shown_as)
            return _result(values, _DETECTOR, notes, [*left_out, *others])
        raise UserError(_refusal(_DETECTOR, sorted(bare), base_network, shown_as))
    under_our_names = recognise_mxnet_ssd(bare)
    if under_our_names == base_network:
        values, layout, notes, left_out = from_mxnet_ssd(bare, base_network, shown_as)
        return _result(values, layout, notes, [*left_out, *others])
    of_zoo = None if under_our_names else recognise_gluoncv(bare)
    if of_zoo and USABLE.get(of_zoo.name) == base_network:
        values, notes, left_out = from_gluoncv(bare, of_zoo, base_network, shown_as)
        return _result(values, f"GluonCV {of_zoo.name}", notes, [*left_out, *others])
    seems = under_our_names or (f"GluonCV's {of_zoo.name}" if of_zoo else None)
    raise UserError(_refusal(seems, sorted(bare), base_network, shown_as))


def _converted_onnx(model: onnx.ModelProto, base_network: str, shown_as: str) -> Converted:
    try:
        values, notes, left_out = from_onnx(model, base_network, shown_as)
    except OtherStructureError as error:
        accepted = _accepted(base_network)
        if model.producer_name == "sagemaker-ssd":
            raise UserError(
                f"{shown_as}: is the ONNX model of a job of this program, in which the layers are joined: give that "
                f"job's model.tar.gz, or the .params file in it. {accepted}"
            ) from error
        for other in ZOO_NAMES.keys() - {base_network}:
            if _is_of(model, other):
                raise UserError(f"{shown_as}: seems to be {other} in ONNX, not {base_network}. {accepted}") from error
        raise UserError(f"{shown_as}: is no {ZOO_NAMES[base_network]} in ONNX: {error}. {accepted}") from error
    return _result(values, f"ONNX {ZOO_NAMES[base_network]}", notes, left_out)


def _is_of(model: onnx.ModelProto, base_network: str) -> bool:
    try:
        find_trunk(model, base_network)
    except OtherStructureError:
        return False
    return True


def _result(values: Values, layout: str, notes: list[str], left_out: list[str]) -> Converted:
    told = [f"left out: {some(left_out)}"] if left_out else []
    return Converted(as_parameters(values), layout, (*notes, *told), tuple(left_out))


def _accepted(base_network: str) -> str:
    return f"Accepted for base_network {base_network}: {_ACCEPTED[base_network]}."


def _refusal(seems: str | None, names: list[str], base_network: str, shown_as: str) -> str:
    accepted = _accepted(base_network)
    if not names:
        return f"{shown_as}: holds no parameters with names. {accepted}"
    what = f"seems to be {seems}, not {base_network}" if seems else "is of an unknown layout"
    return f"{shown_as}: {what}. {accepted} First names in the file: {some(names)}."
