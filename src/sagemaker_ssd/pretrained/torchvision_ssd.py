"""torchvision's ssd300_vgg16, which is this program's vgg-16 below 448 pixels but for the anchors' sizes.

Source: torchvision/models/detection/ssd.py. It reads RGB 0-255 minus (123, 117, 104), as ours does (its mean is
0.48235, 0.45882, 0.40784 of [0, 1], its deviation 1/255). Anchors stand in the same order (size, next size, then each
ratio and its inverse), and offsets are scaled alike: by 10, 10, 5, 5, the inverse of the variances 0.1 and 0.2.
"""

import re
from collections.abc import Collection, Mapping
from typing import Final

import mxnet as mx

from sagemaker_ssd.errors import listed
from sagemaker_ssd.pretrained.trunk import Shape, Values, common_prefix, take
from sagemaker_ssd.ssd.graphs import saved_graph
from sagemaker_ssd.ssd.network import Network

# The first ten convolutions, and their places in `features`, where each has a ReLU behind it and pools lie between.
_FEATURES: Final = ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "4_1", "4_2", "4_3")
_PLACES: Final = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21)
_LAYERS: Final = {
    **{f"conv{layer}": f"backbone.features.{place}" for layer, place in zip(_FEATURES, _PLACES, strict=True)},
    **{f"conv5_{number}": f"backbone.extra.0.{2 * number - 1}" for number in (1, 2, 3)},
    "fc6": "backbone.extra.0.7.1",
    "fc7": "backbone.extra.0.7.3",
    **{f"multi_feat_{k}_conv_1x1_conv": f"backbone.extra.{k - 1}.0" for k in range(2, 6)},
    **{f"multi_feat_{k}_conv_3x3_conv": f"backbone.extra.{k - 1}.2" for k in range(2, 6)},
}
_MAPS: Final = ("relu4_3", "relu7", *(f"multi_feat_{k}_conv_3x3_relu" for k in range(2, 6)))
_SCALE: Final = "backbone.scale_weight"
_CLASS_HEAD: Final = re.compile(r"head\.classification_head\.module_list\.\d+\.(weight|bias)")
_FILE_NAMES: Final = {
    f"{ours}_{kind}": f"{theirs}.{kind}"
    for ours, theirs in (
        *_LAYERS.items(),
        *((f"{name}_loc_pred_conv", f"head.regression_head.module_list.{k}") for k, name in enumerate(_MAPS)),
    )
    for kind in ("weight", "bias")
} | {"relu4_3_scale": _SCALE}
# Those by which the network is known, in a file that lacks some others.
_TELLING: Final = 0.85


def recognise_torchvision_ssd(names: Collection[str]) -> str | None:
    """Return what stands in front of every name where a state dictionary is of ssd300_vgg16, whatever its classes.

    That is nothing, or what a wrapper of PyTorch puts there, such as `module.` of DataParallel. None: of another.
    """
    wanted = set(_FILE_NAMES.values())
    prefix = common_prefix(names, wanted)
    bare = {name.removeprefix(prefix) for name in names}
    given = {name for name in bare if not _CLASS_HEAD.fullmatch(name)}
    return prefix if len(given & wanted) > _TELLING * len(given | wanted) else None


def from_torchvision_ssd(
    arrays: Mapping[str, mx.nd.NDArray], prefix: str, shown_as: str
) -> tuple[Values, list[str], list[str]]:
    """Return the values under our names, what was changed, and the names of the values that were left out.

    prefix: of the file's names, as `recognise_torchvision_ssd` found it. The heads for COCO's classes are left out.
    Raises UserError.
    """
    file_names = {ours: prefix + name for ours, name in _FILE_NAMES.items()}
    graph = saved_graph(Network("vgg-16", image_shape=300, num_classes=1))
    shapes, _, _ = graph.infer_shape(data=(1, 3, 300, 300), label=(1, 1, 5))
    ours: dict[str, tuple[Shape, ...]] = {
        name: (shape,) for name, shape in zip(graph.list_arguments(), shapes, strict=True)
    }
    given = dict(arrays)
    notes = []
    scale = prefix + _SCALE
    if scale in given and given[scale].shape == (512,):
        given[scale] = given[scale].reshape((1, 512, 1, 1))
    values = take(given, file_names, ours, shown_as)
    left_out = sorted(set(arrays) - set(file_names.values()))
    heads = [name for name in left_out if _CLASS_HEAD.fullmatch(name.removeprefix(prefix))]
    biases = sorted({int(arrays[name].size) for name in heads if name.endswith("bias")})
    if biases:
        counts = listed([str(size) for size in biases], "and")
        notes.append(f"the heads for its own classes, {counts} scores at each place, are not used")
    return values, notes, left_out
