"""What every source needs: a trunk's parameters and their shapes, taking them from a file, fitting VGG-16's to ours."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import mxnet as mx
import numpy as np
import numpy.typing as npt

from sagemaker_ssd.artifacts.params_file import arguments_and_states
from sagemaker_ssd.errors import UserError, problems, some
from sagemaker_ssd.ssd.initial_values import Parameters
from sagemaker_ssd.ssd.network import LEAST_PIXEL_VARIANCE, PIXEL_MEAN, largest_pixel_variance, trunk
from sagemaker_ssd.ssd.resnet50 import BATCH_NORM_EPS

Shape = tuple[int, ...]
Values = dict[str, mx.nd.NDArray]
_Numbers = npt.NDArray[np.float64]

# What a source may lack: the dense layers of a classifier, and two constants of GluonCV's vgg16_atrous.
_OPTIONAL: Final = frozenset({"fc6_weight", "fc6_bias", "fc7_weight", "fc7_bias", "relu4_3_scale", "init_scale"})
# The mean of ImageNet's pixels, RGB 0-255, that the VGG authors take off: in Caffe's, Keras's and MXNet's files.
CAFFE_MEAN: Final = (123.68, 116.779, 103.939)
# Networks that read RGB of [0, 1] take off this mean and divide by this deviation: GluonCV's, PyTorch's and the ONNX
# model zoo's "ImageNet" pixels, here in 0-255.
IMAGENET_MEAN: Final = (0.485 * 255, 0.456 * 255, 0.406 * 255)
IMAGENET_DEVIATION: Final = (0.229 * 255, 0.224 * 255, 0.225 * 255)
# The running mean of such pixels is about 0, and their variance far below LEAST_PIXEL_VARIANCE. The mean of pixels of
# 0-255 is in the tens.
_NORMALISED_MEAN: Final = 10.0
# What the fully connected layers of VGG-16 can look like: as dense layers or as convolutions.
FULL_SHAPES: Final[dict[str, tuple[Shape, ...]]] = {
    "fc6_weight": ((4096, 25088), (4096, 512, 7, 7)),
    "fc6_bias": ((4096,),),
    "fc7_weight": ((4096, 4096), (4096, 4096, 1, 1)),
    "fc7_bias": ((4096,),),
}
SUB_SAMPLED_NOTE: Final = (
    "fc6 and fc7 sub-sampled: every 4th output, every 3rd row and column of fc6, every 4th input of fc7"
)


def trunk_shapes(base_network: str) -> dict[str, Shape]:
    """Return name -> shape of every parameter of a trunk ("vgg-16" or "resnet-50"), running statistics included."""
    graph = mx.sym.Group(list(trunk(base_network).values()))
    shapes, _, state_shapes = graph.infer_shape(data=(1, 3, 64, 64))
    names = [*graph.list_arguments(), *graph.list_auxiliary_states()]
    named = dict(zip(names, [*shapes, *state_shapes], strict=True))
    del named["data"]
    return named


def common_prefix(names: Collection[str], own: Collection[str]) -> str:
    """Return what stands in front of most of a network's own names: `resnetv20_`, `features.`, `module.` or nothing."""
    longest = max(map(len, own))
    prefixes: Counter[str] = Counter()
    for name in names:
        starts = range(max(0, len(name) - longest), len(name))
        prefixes.update(
            name[:start] for start in starts if (start == 0 or name[start - 1] in "._") and name[start:] in own
        )
    return prefixes.most_common(1)[0][0] if prefixes else ""


def take(
    arrays: Mapping[str, mx.nd.NDArray],
    file_names: Mapping[str, str],
    shapes: Mapping[str, Collection[Shape]],
    shown_as: str,
) -> Values:
    """Return the arrays under our names.

    file_names: our name -> the file's. shapes: our name -> the shapes that it may have there.
    fc6, fc7, relu4_3_scale and init_scale may be missing. Raises UserError, which names what else is missing or has
    another shape.
    """
    values = {ours: arrays[name] for ours, name in file_names.items() if name in arrays}
    missing = [name for ours, name in file_names.items() if ours not in values and ours not in _OPTIONAL]
    faults = [f"{shown_as}: missing: {some(missing)}"] if missing else []
    misshapen = [
        f"{file_names[ours]} is {array.shape}, must be {' or '.join(map(str, shapes[ours]))}"
        for ours, array in values.items()
        if array.shape not in shapes[ours]
    ]
    if misshapen:
        faults.append(f"{shown_as}: of another shape: {some(misshapen)}")
    if faults:
        raise UserError(problems(faults))
    return values


def fit_pixels(values: Values, mean: Sequence[float], deviation: Sequence[float] = (1.0, 1.0, 1.0)) -> None:
    """Change conv1_1 in `values`, which reads (pixel - mean) / deviation of RGB 0-255, to read pixel - (123, 117, 104).

    Weight (64, 3, 3, 3), bias (64,). Exact but for the image's outermost pixels: the zeros that the convolution puts
    around the image stand for the mean, so for a colour that differs from the source's by less than 1 of 255 steps.
    """
    weight, bias = values["conv1_1_weight"].asnumpy().astype(np.float64), values["conv1_1_bias"].asnumpy()
    scaled = weight / np.asarray(deviation).reshape(1, 3, 1, 1)
    shifted = bias + scaled.sum(axis=(2, 3)) @ (np.asarray(PIXEL_MEAN) - np.asarray(mean))
    values["conv1_1_weight"] = mx.nd.array(scaled, dtype="float32")
    values["conv1_1_bias"] = mx.nd.array(shifted, dtype="float32")


def fit_vgg(values: Values, mean: Sequence[float], deviation: Sequence[float]) -> list[str]:
    """Change conv1_1 in `values` as `fit_pixels` does; return what was changed.

    The weights do not tell which pixels they read, so what is returned says which ones are taken for granted.
    """
    fit_pixels(values, mean, deviation)
    read = f"RGB of 0-255 minus {_rounded(mean)}"
    read += "" if np.allclose(deviation, 1) else f" over {_rounded(deviation)}"
    return [f"conv1_1 fitted to pixels minus (123, 117, 104), on the assumption that the file reads {read}"]


def _rounded(numbers: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(float(number), 3) for number in numbers)


def _pixels_read(centre: _Numbers, spread: _Numbers) -> tuple[Sequence[float], Sequence[float], str]:
    """Tell from bn_data's running mean and variance, (3,) each, which pixels a resnet-50 reads.

    Returns the mean and the deviation that are taken off RGB of 0-255, and what becomes of bn_data in words.
    """
    fitted = "bn_data's mean and variance fitted to pixels of 0-255"
    if np.abs(centre).max() <= _NORMALISED_MEAN and spread.max() <= LEAST_PIXEL_VARIANCE:
        read = f"RGB of 0-255 minus {_rounded(IMAGENET_MEAN)} over {_rounded(IMAGENET_DEVIATION)}"
        return IMAGENET_MEAN, IMAGENET_DEVIATION, f"{fitted}, on the assumption that the file reads {read}"
    if (spread <= largest_pixel_variance(centre)).all():
        return (0.0,) * 3, (1.0,) * 3, "bn_data's mean and variance show that the file reads pixels of 0-255"
    read = f"they show that the file reads these minus a mean, which is assumed to be {_rounded(IMAGENET_MEAN)}"
    return IMAGENET_MEAN, (1.0,) * 3, f"{fitted}: {read}"


def fit_resnet(
    values: Values, eps: float | Mapping[str, float], file_names: Mapping[str, str], shown_as: str
) -> list[str]:
    """Change `values` of resnet-50 to RGB of 0-255 and to the eps of our graph; return what was changed.

    eps: of every BatchNorm, or of each by its name. gamma / sqrt(variance + eps) stays what it was. bn_data has no
    gamma in our graph: there the variance takes it up, so it must be above 0. file_names: our name -> the file's, for
    faults. Raises UserError: for such a gamma, or where a variance or an eps gives no finite scale.
    """
    layers = [name.removesuffix("_gamma") for name in values if name.endswith("_gamma")]
    every = eps if isinstance(eps, Mapping) else dict.fromkeys(layers, eps)

    def stored(name: str) -> _Numbers:
        numbers: _Numbers = values[name].asnumpy().astype(np.float64)
        return numbers

    scale, centre = stored("bn_data_gamma"), stored("bn_data_moving_mean")
    if (scale <= 0).any():
        raise UserError(
            f"{shown_as}: {file_names['bn_data_gamma']} has values of 0 or less, which this program's resnet-50 "
            "cannot have there"
        )
    mean, deviation, note = _pixels_read(centre, stored("bn_data_moving_var"))
    values["bn_data_gamma"] = mx.nd.ones(scale.shape)
    values["bn_data_moving_mean"] = mx.nd.array(np.asarray(mean) + np.asarray(deviation) * centre)
    for layer in layers:
        spread = stored(f"{layer}_moving_var")
        # What cannot be computed, or is too large for float32, is looked for below.
        with np.errstate(all="ignore"):
            if layer == "bn_data":
                changed = f"{layer}_moving_var"
                fitted = np.square(np.asarray(deviation) / scale) * (spread + every[layer]) - BATCH_NORM_EPS
            else:
                changed = f"{layer}_gamma"
                fitted = stored(changed) * np.sqrt((spread + BATCH_NORM_EPS) / (spread + every[layer]))
            values[changed] = mx.nd.array(fitted)
        usable = (spread >= 0).all() and (spread + every[layer] > 0).all() and np.isfinite(every[layer])
        if not usable or not np.isfinite(values[changed].asnumpy()).all():
            raise UserError(
                f"{shown_as}: {file_names[f'{layer}_moving_var']} has variances that with an epsilon of "
                f"{every[layer]:g} give no finite scale; they must be 0 or more, and more with the epsilon: copy the "
                "file again, or take an earlier checkpoint"
            )
    others = {name: value for name, value in every.items() if name != "bn_data" and round(value, 9) != BATCH_NORM_EPS}
    if not others:
        return [note]
    theirs = " or ".join(f"{value:g}" for value in sorted({round(value, 9) for value in others.values()}))
    return [note, f"every other BatchNorm's gamma fitted to eps {BATCH_NORM_EPS:g} instead of {theirs}"]


def sub_sampled(values: Mapping[str, mx.nd.NDArray]) -> Values:
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


def as_parameters(values: Mapping[str, mx.nd.NDArray]) -> Parameters:
    """Part float32 copies of the values into arguments and running statistics."""
    return Parameters(*arguments_and_states({name: array.astype("float32") for name, array in values.items()}))
