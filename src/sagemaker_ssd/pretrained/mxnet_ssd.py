"""Parameters under this program's own names: those of mxnet-ssd, which MXNet's model files have too."""

import re
from collections.abc import Collection, Iterable, Mapping

import mxnet as mx

from sagemaker_ssd.pretrained.trunk import (
    CAFFE_MEAN,
    FULL_SHAPES,
    SUB_SAMPLED_NOTE,
    Values,
    fit_pixels,
    sub_sampled,
    take,
    trunk_shapes,
)
from sagemaker_ssd.ssd.network import fit_centred_pixels

OUR_NAMES = "this program's names"
MODEL_FILES = "MXNet's model files"
_VGG_LAYER = re.compile(r"conv([1-5])_(\d+)_weight")
_RESNET_LAYER = re.compile(r"stage([1-4])_unit(\d+)_conv\d_weight")
_DETECTOR = re.compile(r"(multi_feat_\d+_conv_\dx\d_conv|.+_(cls|loc)_pred_conv)_(weight|bias)|relu4_3_scale")
# The layers, or units, of each group -> the depth in the network's name.
_Layers = tuple[int, ...]
_VGG_DEPTHS: dict[_Layers, int] = {(1, 1, 2, 2, 2): 11, (2, 2, 2, 2, 2): 13, (2, 2, 3, 3, 3): 16, (2, 2, 4, 4, 4): 19}
_RESNET_DEPTHS: dict[_Layers, int] = {(2, 2, 2, 2): 18, (3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}


def recognise_mxnet_ssd(names: Collection[str]) -> str | None:
    """Return which network has these names: "vgg-16", "resnet-50", one that we have no use for, or None."""
    if vgg := [match for name in names if (match := _VGG_LAYER.fullmatch(name))]:
        depth = _depth(_layers(vgg, 5), _VGG_DEPTHS, ours=16)
        normalised = any(name.endswith("_gamma") for name in names)
        return f"vgg-{depth or '?'}" + (" with BatchNorm" if normalised else "")
    if resnet := [match for name in names if (match := _RESNET_LAYER.fullmatch(name))]:
        depth = _depth(_layers(resnet, 4), _RESNET_DEPTHS, ours=50)
        if depth == 50 and not any("_conv3_" in name for name in names):
            depth = 34
        return f"resnet-{depth or '?'}"
    return None


def _layers(matches: Iterable[re.Match[str]], groups: int) -> _Layers:
    numbers = [(int(match[1]), int(match[2])) for match in matches]
    return tuple(max((n for group, n in numbers if group == g), default=0) for g in range(1, groups + 1))


def _depth(layers: _Layers, depths: Mapping[_Layers, int], ours: int) -> int | None:
    if layers in depths:
        return depths[layers]
    # Our depth with layers missing is ours, so that the missing ones can be told; more layers than ours are not.
    most = next(layers for layers, depth in depths.items() if depth == ours)
    return ours if all(n <= limit for n, limit in zip(layers, most, strict=True)) else None


def from_mxnet_ssd(
    arrays: Mapping[str, mx.nd.NDArray], base_network: str, shown_as: str
) -> tuple[Values, str, list[str], list[str]]:
    """Return the values under our names, the layout's name, what was changed, and the names that were left out.

    What a detector has beside its trunk is kept, a classifier's last layers are left out. Raises UserError.
    A VGG-16 whose fc6 has all its 4,096 outputs read pixels minus CAFFE_MEAN; one whose fc6 is reduced already is
    mxnet-ssd's, which reads them as we do. Of a ResNet-50 the statistics tell, as far as they can.
    """
    trunk = {name: (shape,) for name, shape in trunk_shapes(base_network).items()}
    full = any(name in arrays and arrays[name].shape[:1] == (4096,) for name in FULL_SHAPES)
    shapes = trunk | FULL_SHAPES if full and base_network == "vgg-16" else trunk
    values = take(arrays, {name: name for name in trunk}, shapes, shown_as)
    notes = fit_centred_pixels(values)
    if shapes is not trunk:
        fit_pixels(values, CAFFE_MEAN)
        values |= sub_sampled(values)
        notes += [f"conv1_1's bias fitted to pixels minus (123, 117, 104) instead of {CAFFE_MEAN}", SUB_SAMPLED_NOTE]
    values |= {name: array for name, array in arrays.items() if _DETECTOR.fullmatch(name)}
    left_out = sorted(set(arrays) - set(values))
    return values, MODEL_FILES if left_out or full else OUR_NAMES, notes, left_out
