"""VGG-16 with fc6 and fc7 as convolutions (VGG16-reduced), as the built-in's ancestor mxnet-ssd has it."""

import mxnet as mx

_FILTERS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def _convolution(data: mx.sym.Symbol, name: str, relu: str, filters: int, **kernel: tuple[int, int]) -> mx.sym.Symbol:
    body = mx.sym.Convolution(data, num_filter=filters, name=name, **kernel)
    return mx.sym.Activation(body, act_type="relu", name=relu)


def _pool(data: mx.sym.Symbol, group: int) -> mx.sym.Symbol:
    if group == 5:  # keeps the resolution: fc6 is dilated instead
        return mx.sym.Pooling(data, pool_type="max", kernel=(3, 3), stride=(1, 1), pad=(1, 1), name="pool5")
    # pool3 rounds up, so that a 300-pixel image gives the 38x38 map of the SSD paper.
    rounding = {"pooling_convention": "full"} if group == 3 else {}
    return mx.sym.Pooling(data, pool_type="max", kernel=(2, 2), stride=(2, 2), name=f"pool{group}", **rounding)


def vgg16(data: mx.sym.Symbol) -> dict[str, mx.sym.Symbol]:
    """Build the trunk and return the feature maps that the detection heads read.

    data: (B, 3, S, S), RGB 0-255 minus (123, 117, 104).
    Returns {"relu4_3": (B, 512, ~S/8, ~S/8), "relu7": (B, 1024, ~S/16, ~S/16)}.
    """
    body, features = data, {}
    for group, group_filters in enumerate(_FILTERS, start=1):
        for number, filters in enumerate(group_filters, start=1):
            name = f"{group}_{number}"
            body = _convolution(body, f"conv{name}", f"relu{name}", filters, kernel=(3, 3), pad=(1, 1))
            features[body.name] = body
        body = _pool(body, group)
    body = _convolution(body, "fc6", "relu6", 1024, kernel=(3, 3), pad=(6, 6), dilate=(6, 6))
    body = _convolution(body, "fc7", "relu7", 1024, kernel=(1, 1), pad=(0, 0))
    return {"relu4_3": features["relu4_3"], "relu7": body}
