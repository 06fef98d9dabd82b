"""The extra layers behind a trunk and the detection heads on all feature maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mxnet as mx

from sagemaker_ssd.model.layout import ExtraLayer, Head

# Of conv4_3, the one map that is normalised.
_SCALED_CHANNELS = 512


@dataclass(frozen=True)
class Predictions:
    """What the heads give for A anchors: locations (B, 4A), classes (B, num_classes + 1, A), anchors (1, A, 4).

    Class 0 is the background. Anchors are xmin, ymin, xmax, ymax as fractions of the image. maps: what each head reads.
    """

    locations: mx.sym.Symbol
    classes: mx.sym.Symbol
    anchors: mx.sym.Symbol
    maps: tuple[mx.sym.Symbol, ...]


def _bias(convolution: str) -> mx.sym.Symbol:
    return mx.sym.Variable(f"{convolution}_bias", init=mx.init.Constant(0.0), attr={"__lr_mult__": "2.0"})


def _convolution(
    data: mx.sym.Symbol, name: str, filters: int, kernel: int, stride: int, pad: int, **more: mx.sym.Symbol
) -> mx.sym.Symbol:
    return mx.sym.Convolution(
        data,
        bias=_bias(name),
        num_filter=filters,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        pad=(pad, pad),
        name=name,
        **more,
    )


def _extra_layer(data: mx.sym.Symbol, extra: ExtraLayer, number: int) -> mx.sym.Symbol:
    reduced = max(128, extra.filters // 2)
    name = f"multi_feat_{number}_conv_1x1"
    body = _convolution(data, f"{name}_conv", reduced, kernel=1, stride=1, pad=0)
    body = mx.sym.Activation(body, act_type="relu", name=f"{name}_relu")
    name = f"multi_feat_{number}_conv_3x3"
    body = _convolution(body, f"{name}_conv", extra.filters, kernel=3, stride=extra.stride, pad=extra.pad)
    return mx.sym.Activation(body, act_type="relu", name=f"{name}_relu")


def _scale(name: str, scale: float) -> mx.sym.Symbol:
    return mx.sym.Variable(
        f"{name}_scale",
        shape=(1, _SCALED_CHANNELS, 1, 1),
        init=mx.init.Constant(scale),
        attr={"__wd_mult__": "0.1"},
    )


def _scaled_weight(convolution: str, outputs: int, factor: mx.sym.Symbol) -> mx.sym.Symbol:
    # With its shape, which MXNet cannot tell backwards through a multiplication.
    weight = mx.sym.Variable(f"{convolution}_weight", shape=(outputs, _SCALED_CHANNELS, 3, 3))
    return mx.sym.broadcast_mul(factor, weight, name=f"{convolution}_scaled")


def _flat(
    feature: mx.sym.Symbol, name: str, outputs: int, factor: mx.sym.Symbol | None, *, transpose: int, flatten: int
) -> mx.sym.Symbol:
    scaled = {} if factor is None else {"weight": _scaled_weight(name, outputs, factor)}
    body = _convolution(feature, name, outputs, kernel=3, stride=1, pad=1, **scaled)
    body = mx.sym.transpose(body, axes=(0, 2, 3, 1), name=f"transpose{transpose}")
    return mx.sym.Flatten(body, name=f"flatten{flatten}")


def predictions(
    trunk: Mapping[str, mx.sym.Symbol], heads: Sequence[Head], num_classes: int, *, folded_scale: bool = False
) -> Predictions:
    """Put the extra layers and the heads on a trunk's feature maps.

    folded_scale: a normalised map's scale multiplies the weights that read it instead of the map, which is the same
    but for rounding: its gradient is then a sum over weights, which is quick, not over all places of all images.
    The numbers in transposeN and flattenN are those of the genuine artifact.
    """
    locations, classes, names, maps = [], [], [], []
    feature = None
    for k, head in enumerate(heads):
        feature = _extra_layer(feature, head.extra, k) if head.extra else trunk[str(head.layer)]
        name, source, factor = feature.name, feature, None
        if head.scale is not None:
            factor = _scale(name, head.scale)
            source = mx.sym.L2Normalization(feature, mode="channel", name=f"{name}_norm")
            if not folded_scale:
                source, factor = mx.sym.broadcast_mul(factor, source, name="broadcast_mul0"), None
        place = {"transpose": 2 * k, "flatten": 3 * k + 1}
        locations.append(_flat(source, f"{name}_loc_pred_conv", 4 * head.anchors, factor, **place))
        place = {"transpose": 2 * k + 1, "flatten": 3 * k + 2}
        classes.append(_flat(source, f"{name}_cls_pred_conv", (num_classes + 1) * head.anchors, factor, **place))
        names.append(name)
        maps.append(source)
    every_class = mx.sym.Concat(*classes, dim=1, name="concat0")
    every_class = mx.sym.Reshape(every_class, shape=(0, -1, num_classes + 1), name="reshape0")
    return Predictions(
        locations=mx.sym.Concat(*locations, dim=1, name="multibox_loc_pred"),
        classes=mx.sym.transpose(every_class, axes=(0, 2, 1), name="multibox_cls_pred"),
        anchors=anchors(names, maps, heads),
        maps=tuple(maps),
    )


def anchors(names: Sequence[str], maps: Sequence[mx.sym.Symbol], heads: Sequence[Head]) -> mx.sym.Symbol:
    """Return the anchors (1, A, 4) on the feature maps (B, C, H, W), of which only the shapes count."""
    of_maps = []
    for k, (name, source, head) in enumerate(zip(names, maps, heads, strict=True)):
        boxes = mx.sym.contrib.MultiBoxPrior(
            source,
            sizes=head.sizes,
            ratios=head.ratios,
            clip=False,
            steps=(head.step, head.step),
            name=f"{name}_anchors",
        )
        of_maps.append(mx.sym.Flatten(boxes, name=f"flatten{3 * k + 3}"))
    joined = mx.sym.Concat(*of_maps, dim=1, name="concat1")
    return mx.sym.Reshape(joined, shape=(0, -1, 4), name="multibox_anchors")
