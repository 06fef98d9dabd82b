"""The multibox heads: which feature maps carry them at which anchors, the extra layers behind a trunk, the predictions.

Source: the anchors of genuine resnet-50 artifacts; for vgg-16 the open ancestor mxnet-ssd, where the larger layout
begins at 448 pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import mxnet as mx

# The size in pixels from which vgg-16 has the larger layout.
LARGE_VGG: Final = 448
_THREE_RATIOS = "(1,2,0.5)"
_FIVE_RATIOS = "(1,2,0.5,3,0.333333333333)"
_SIX_SIZES = (
    "(0.1,0.141421)",
    "(0.2,0.272029)",
    "(0.37,0.44699)",
    "(0.54,0.619193)",
    "(0.71,0.790443)",
    "(0.88,0.961249)",
)
_SEVEN_SIZES = (
    "(0.07,0.1024695)",
    "(0.15,0.212132)",
    "(0.3,0.367423)",
    "(0.45,0.519615)",
    "(0.6,0.67082)",
    "(0.75,0.821584)",
    "(0.9,0.972111)",
)
# Of conv4_3, the one map that is normalised.
_NORMALISED_CHANNELS = 512


@dataclass(frozen=True)
class ExtraLayer:
    """A 1x1 and a 3x3 convolution behind the trunk; `filters` is the 3x3's number."""

    filters: int
    stride: int
    pad: int


@dataclass(frozen=True)
class Head:
    """What predicts on one feature map: its layer, the anchors' sizes, ratios and step as fractions of the image.

    `layer` is a trunk layer's name, or None for the next extra layer; a step of -1 means one over the map's size;
    `scale` is the starting scale of an L2 normalisation before the head, None for no normalisation.
    """

    sizes: str
    ratios: str
    layer: str | None = None
    extra: ExtraLayer | None = None
    step: float = -1.0
    scale: float | None = None

    @property
    def anchors_per_location(self) -> int:
        """The number of anchors at each place of the map."""
        return self.sizes.count(",") + self.ratios.count(",") + 1


def head_layout(base_network: str, image_shape: int) -> tuple[Head, ...]:
    """Return the heads of a base network ("vgg-16" or "resnet-50") at an image size in pixels, shallow to deep."""
    return _resnet50_layout() if base_network == "resnet-50" else _vgg16_layout(image_shape)


def _resnet50_layout() -> tuple[Head, ...]:
    extras = [ExtraLayer(filters, stride=2, pad=1) for filters in (512, 256, 256, 128)]
    ratios = (_THREE_RATIOS, *[_FIVE_RATIOS] * 3, _THREE_RATIOS, _THREE_RATIOS)
    layers = ("_plus12", "_plus15")
    return tuple(
        Head(sizes, ratios[k], layer=layers[k]) if k < 2 else Head(sizes, ratios[k], extra=extras[k - 2])
        for k, sizes in enumerate(_SIX_SIZES)
    )


def _vgg16_layout(image_shape: int) -> tuple[Head, ...]:
    sizes: tuple[str, ...]
    pixels: tuple[int, ...]
    if image_shape >= LARGE_VGG:
        sizes, fives, pixels, at = _SEVEN_SIZES, 4, (8, 16, 32, 64, 128, 256, 512), 512
        extras = [ExtraLayer(filters, 2, 1) for filters in (512, 256, 256, 256)] + [ExtraLayer(256, 1, 1)]
    else:
        sizes, fives, pixels, at = _SIX_SIZES, 3, (8, 16, 32, 64, 100, 300), 300
        extras = [ExtraLayer(512, 2, 1), ExtraLayer(256, 2, 1), ExtraLayer(256, 1, 0), ExtraLayer(256, 1, 0)]
    ratios = (_THREE_RATIOS, *[_FIVE_RATIOS] * fives, _THREE_RATIOS, _THREE_RATIOS)
    # The steps of the paper belong to one image size each; elsewhere the map's own size gives them.
    steps = [size / at for size in pixels] if image_shape == at else [-1.0] * len(sizes)
    trunk = [
        Head(sizes[0], ratios[0], layer="relu4_3", step=steps[0], scale=20),
        Head(sizes[1], ratios[1], layer="relu7", step=steps[1]),
    ]
    return (
        *trunk,
        *(Head(sizes[k], ratios[k], extra=extras[k - 2], step=steps[k]) for k in range(2, len(sizes))),
    )


@dataclass(frozen=True)
class Predictions:
    """What the heads give for A anchors: locations (B, 4A), classes (B, num_classes + 1, A), anchors (1, A, 4).

    Class 0 is the background. Anchors are xmin, ymin, xmax, ymax as fractions of the image. maps: what each head reads.
    """

    locations: mx.sym.Symbol
    classes: mx.sym.Symbol
    anchors: mx.sym.Symbol
    maps: tuple[mx.sym.Symbol, ...]


def multibox_heads(
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
        name, source, scale = feature.name, feature, None
        if head.scale is not None:
            scale = mx.sym.Variable(
                f"{name}_scale",
                shape=(1, _NORMALISED_CHANNELS, 1, 1),
                init=mx.init.Constant(head.scale),
                attr={"__wd_mult__": "0.1"},
            )
            source = mx.sym.L2Normalization(feature, mode="channel", name=f"{name}_norm")
            if not folded_scale:
                source, scale = mx.sym.broadcast_mul(scale, source, name="broadcast_mul0"), None
        anchors = head.anchors_per_location
        convolved = _head_convolution(source, f"{name}_loc_pred_conv", 4 * anchors, scale)
        locations.append(_flattened(convolved, transpose=2 * k, flatten=3 * k + 1))
        convolved = _head_convolution(source, f"{name}_cls_pred_conv", (num_classes + 1) * anchors, scale)
        classes.append(_flattened(convolved, transpose=2 * k + 1, flatten=3 * k + 2))
        names.append(name)
        maps.append(source)
    every_class = mx.sym.Concat(*classes, dim=1, name="concat0")
    every_class = mx.sym.Reshape(every_class, shape=(0, -1, num_classes + 1), name="reshape0")
    return Predictions(
        locations=mx.sym.Concat(*locations, dim=1, name="multibox_loc_pred"),
        classes=mx.sym.transpose(every_class, axes=(0, 2, 1), name="multibox_cls_pred"),
        anchors=multibox_anchors(names, maps, heads),
        maps=tuple(maps),
    )


def multibox_anchors(names: Sequence[str], maps: Sequence[mx.sym.Symbol], heads: Sequence[Head]) -> mx.sym.Symbol:
    """Return the anchors (1, A, 4) on the feature maps (B, C, H, W), of which only the shapes count."""
    anchors = []
    for k, (name, source, head) in enumerate(zip(names, maps, heads, strict=True)):
        boxes = mx.sym.contrib.MultiBoxPrior(
            source,
            sizes=head.sizes,
            ratios=head.ratios,
            clip=False,
            steps=(head.step, head.step),
            name=f"{name}_anchors",
        )
        anchors.append(mx.sym.Flatten(boxes, name=f"flatten{3 * k + 3}"))
    joined = mx.sym.Concat(*anchors, dim=1, name="concat1")
    return mx.sym.Reshape(joined, shape=(0, -1, 4), name="multibox_anchors")


def _extra_layer(data: mx.sym.Symbol, extra: ExtraLayer, number: int) -> mx.sym.Symbol:
    reduced = max(128, extra.filters // 2)
    name = f"multi_feat_{number}_conv_1x1"
    body = _convolution(data, f"{name}_conv", reduced, kernel=1, stride=1, pad=0)
    body = mx.sym.Activation(body, act_type="relu", name=f"{name}_relu")
    name = f"multi_feat_{number}_conv_3x3"
    body = _convolution(body, f"{name}_conv", extra.filters, kernel=3, stride=extra.stride, pad=extra.pad)
    return mx.sym.Activation(body, act_type="relu", name=f"{name}_relu")


def _head_convolution(feature: mx.sym.Symbol, name: str, outputs: int, scale: mx.sym.Symbol | None) -> mx.sym.Symbol:
    weight = None
    if scale is not None:
        # With its shape, which MXNet cannot tell backwards through a multiplication.
        weight = mx.sym.Variable(f"{name}_weight", shape=(outputs, _NORMALISED_CHANNELS, 3, 3))
        weight = mx.sym.broadcast_mul(scale, weight, name=f"{name}_scaled")
    return _convolution(feature, name, outputs, kernel=3, stride=1, pad=1, weight=weight)


def _convolution(
    data: mx.sym.Symbol,
    name: str,
    filters: int,
    *,
    kernel: int,
    stride: int,
    pad: int,
    weight: mx.sym.Symbol | None = None,
) -> mx.sym.Symbol:
    return mx.sym.Convolution(
        data,
        weight=weight,
        bias=mx.sym.Variable(f"{name}_bias", init=mx.init.Constant(0.0), attr={"__lr_mult__": "2.0"}),
        num_filter=filters,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        pad=(pad, pad),
        name=name,
    )


def _flattened(data: mx.sym.Symbol, *, transpose: int, flatten: int) -> mx.sym.Symbol:
    body = mx.sym.transpose(data, axes=(0, 2, 3, 1), name=f"transpose{transpose}")
    return mx.sym.Flatten(body, name=f"flatten{flatten}")
