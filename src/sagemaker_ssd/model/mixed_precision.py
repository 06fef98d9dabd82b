"""Trunk and heads in bfloat16, all else in float32: parameters, BatchNorm's statistics, anchors, targets, losses.

Source: MXNet 1.9.1's `contrib.amp`, which puts casts before convolutions; its lists say what runs in which format.
"""

from collections.abc import Sequence

import mxnet as mx
from mxnet.contrib import amp

from sagemaker_ssd.model.layout import Head
from sagemaker_ssd.model.multibox import Predictions, anchors


def in_bfloat16(found: Predictions, heads: Sequence[Head], image_shape: int) -> Predictions:
    """Return the same predictions, as float32, of convolutions in bfloat16."""
    converted = amp.convert_symbol(mx.sym.Group([found.locations, found.classes]), target_dtype="bfloat16")
    locations, classes = (mx.sym.amp_cast(part, dtype="float32") for part in converted)
    _, shapes, _ = mx.sym.Group(found.maps).infer_shape(data=(1, 3, image_shape, image_shape))
    # MultiBoxPrior has no bfloat16. It looks at shapes alone, and on the float32 maps it would have them computed too.
    maps = [mx.sym.zeros((1, 1, *shape[2:])) for shape in shapes]
    names = [feature.name for feature in found.maps]
    return Predictions(locations, classes, anchors(names, maps, heads), found.maps)
