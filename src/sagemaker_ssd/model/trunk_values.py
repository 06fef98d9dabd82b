"""What a trunk's parameters are called and shaped, and taking them from a file's arrays."""

from collections.abc import Collection, Mapping, Sequence

import mxnet as mx

from sagemaker_ssd.errors import UserError, problems
from sagemaker_ssd.model.parameters import Parameters
from sagemaker_ssd.model.resnet import resnet50
from sagemaker_ssd.model.vgg import vgg16

Shape = tuple[int, ...]
# What a source may lack: the dense layers of a classifier, and two constants of GluonCV's vgg16_atrous.
_OPTIONAL = frozenset({"fc6_weight", "fc6_bias", "fc7_weight", "fc7_bias", "relu4_3_scale", "init_scale"})
_STATES = ("_moving_mean", "_moving_var")
_NAMED = 5


def trunk_shapes(base_network: str) -> dict[str, Shape]:
    """Return name -> shape of every parameter of a trunk ("vgg-16" or "resnet-50"), running statistics included."""
    data = mx.sym.Variable("data")
    trunk = mx.sym.Group(list((resnet50(data) if base_network == "resnet-50" else vgg16(data)).values()))
    shapes, _, state_shapes = trunk.infer_shape(data=(1, 3, 64, 64))
    names = [*trunk.list_arguments(), *trunk.list_auxiliary_states()]
    found = dict(zip(names, [*shapes, *state_shapes], strict=True))
    del found["data"]
    return found


def some(names: Sequence[str]) -> str:
    """Write the first few names, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def taken(
    arrays: Mapping[str, mx.nd.NDArray],
    file_names: Mapping[str, str],
    shapes: Mapping[str, Collection[Shape]],
    shown_as: str,
) -> dict[str, mx.nd.NDArray]:
    """Return the arrays under our names.

    file_names: our name -> the file's. shapes: our name -> the shapes that it may have there.
    fc6, fc7, relu4_3_scale and init_scale may be missing. Raises UserError, which names what else is missing or has
    another shape.
    """
    found = {ours: arrays[name] for ours, name in file_names.items() if name in arrays}
    missing = [name for ours, name in file_names.items() if ours not in found and ours not in _OPTIONAL]
    faults = [f"{shown_as}: missing: {some(missing)}"] if missing else []
    misshapen = [
        f"{file_names[ours]} is {array.shape}, must be {' or '.join(map(str, shapes[ours]))}"
        for ours, array in found.items()
        if array.shape not in shapes[ours]
    ]
    if misshapen:
        faults.append(f"{shown_as}: of another shape: {some(misshapen)}")
    if faults:
        raise UserError(problems(faults))
    return found


def as_parameters(values: Mapping[str, mx.nd.NDArray]) -> Parameters:
    """Sort float32 copies of the values into arguments and running statistics."""
    whole = {name: array.astype("float32") for name, array in values.items()}
    return Parameters(
        arguments={name: array for name, array in whole.items() if not name.endswith(_STATES)},
        states={name: array for name, array in whole.items() if name.endswith(_STATES)},
    )
