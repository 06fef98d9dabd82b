"""What a trunk's parameters are called and shaped, and taking them from a file's arrays.

Fits VGG-16's values to VGG16-reduced: the pixels that conv1_1 reads, and fc6 and fc7 as convolutions.
"""

from collections.abc import Collection, Mapping, Sequence

import mxnet as mx
import numpy as np

from sagemaker_ssd.errors import UserError, problems
from sagemaker_ssd.ssd.initial_values import Parameters
from sagemaker_ssd.ssd.network import Network
from sagemaker_ssd.ssd.resnet50 import resnet50
from sagemaker_ssd.ssd.vgg16 import vgg16

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


# The mean of ImageNet's pixels, RGB 0-255, that the VGG authors take off: in Caffe's, Keras's and MXNet's files.
CAFFE_MEAN = (123.68, 116.779, 103.939)
# What the fully connected layers of VGG-16 can look like: as dense layers or as convolutions.
FULL_SHAPES: dict[str, tuple[Shape, ...]] = {
    "fc6_weight": ((4096, 25088), (4096, 512, 7, 7)),
    "fc6_bias": ((4096,),),
    "fc7_weight": ((4096, 4096), (4096, 4096, 1, 1)),
    "fc7_bias": ((4096,),),
}
SUB_SAMPLED_NOTE = "fc6 and fc7 sub-sampled: every 4th output, every 3rd row and column of fc6, every 4th input of fc7"


def with_our_pixels(
    weight: mx.nd.NDArray,
    bias: mx.nd.NDArray,
    mean: Sequence[float],
    deviation: Sequence[float] = (1.0, 1.0, 1.0),
) -> tuple[mx.nd.NDArray, mx.nd.NDArray]:
    """Change conv1_1, which reads (pixel - mean) / deviation of RGB 0-255, to read pixel - (123, 117, 104).

    weight: (64, 3, 3, 3); bias: (64,). Exact but for the image's outermost pixels: the zeros that the convolution puts
    around the image stand for the mean, so for a colour that differs from the source's by less than 1 of 255 steps.
    """
    ours = np.array(Network("vgg-16", image_shape=300, num_classes=1).mean)
    scaled = weight.asnumpy().astype(np.float64) / np.asarray(deviation).reshape(1, 3, 1, 1)
    shifted = bias.asnumpy() + scaled.sum(axis=(2, 3)) @ (ours - np.asarray(mean))
    return mx.nd.array(scaled, dtype="float32"), mx.nd.array(shifted, dtype="float32")


def sub_sampled(values: Mapping[str, mx.nd.NDArray]) -> dict[str, mx.nd.NDArray]:
    """Return those of fc6 and fc7 that are in `values`, in the shapes of FULL_SHAPES, as VGG16-reduced's layers.

    fc6 becomes a 3x3 kernel of dilation 6 in place of 7x7: Chen et al. 2015 (DeepLab, section 3.1), Liu et al. 2016
    (SSD, section 3.1).
    """
    reduced = {}
    if "fc6_weight" in values:
        reduced["fc6_weight"] = values["fc6_weight"].reshape((4096, 512, 7, 7))[::4, :, ::3, ::3]
    if "fc7_weight" in values:
        reduced["fc7_weight"] = values["fc7_weight"].reshape((4096, 4096, 1, 1))[::4, ::4]
    return reduced | {name: values[name][::4] for name in ("fc6_bias", "fc7_bias") if name in values}
