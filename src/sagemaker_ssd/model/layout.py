"""Which feature maps carry detection heads, and the anchors of each.

Source: the anchors of genuine resnet-50 artifacts; for vgg-16 the open ancestor mxnet-ssd, where the larger layout
begins at 448 pixels.
"""

from dataclasses import dataclass

_LARGE_VGG = 448
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


@dataclass(frozen=True)
class ExtraLayer:
    """A 1x1 and a 3x3 convolution behind the trunk; `filters` is the 3x3's number."""

    filters: int
    stride: int
    pad: int


@dataclass(frozen=True)
class Head:
    """One feature map's predictions: its layer, the anchors' sizes, ratios and step as fractions of the image.

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
    def anchors(self) -> int:
        """The number of anchors at each place of the map."""
        return self.sizes.count(",") + self.ratios.count(",") + 1


def _resnet50() -> tuple[Head, ...]:
    extras = [ExtraLayer(filters, stride=2, pad=1) for filters in (512, 256, 256, 128)]
    ratios = (_THREE_RATIOS, *[_FIVE_RATIOS] * 3, _THREE_RATIOS, _THREE_RATIOS)
    layers = ("_plus12", "_plus15")
    return tuple(
        Head(sizes, ratios[k], layer=layers[k]) if k < 2 else Head(sizes, ratios[k], extra=extras[k - 2])
        for k, sizes in enumerate(_SIX_SIZES)
    )


def _vgg16(image_shape: int) -> tuple[Head, ...]:
    sizes: tuple[str, ...]
    pixels: tuple[int, ...]
    if image_shape >= _LARGE_VGG:
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


def heads(base_network: str, image_shape: int) -> tuple[Head, ...]:
    """Return the heads of a base network ("vgg-16" or "resnet-50") at an image size in pixels, shallow to deep."""
    return _resnet50() if base_network == "resnet-50" else _vgg16(image_shape)
