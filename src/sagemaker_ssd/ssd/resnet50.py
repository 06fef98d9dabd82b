"""ResNet-50 with pre-activation, cut behind its last residual sum, as in the built-in's artifact."""

from collections.abc import Collection

import mxnet as mx

# The residual units of each stage, and the channels that they give.
_UNITS = (3, 4, 6, 3)
_FILTERS = (256, 512, 1024, 2048)
BATCH_NORM_EPS = 2e-5


class _Builder:
    """Adds layers under the genuine artifact's names, and counts its residual sums: _plus0 to _plus15."""

    def __init__(self, frozen_batch_norms: Collection[str]) -> None:
        self._frozen_batch_norms = frozen_batch_norms
        self._sums = 0

    def batch_norm(self, data: mx.sym.Symbol, name: str, *, fix_gamma: bool = False) -> mx.sym.Symbol:
        # The attribute is set only where it is wanted: the saved graph must not carry it.
        frozen = {"use_global_stats": True} if name in self._frozen_batch_norms else {}
        return mx.sym.BatchNorm(data, fix_gamma=fix_gamma, eps=BATCH_NORM_EPS, momentum=0.9, name=name, **frozen)

    def convolution(
        self, data: mx.sym.Symbol, name: str, filters: int, kernel: int, stride: int, pad: int | None = None
    ) -> mx.sym.Symbol:
        # The shortcuts of the genuine graph carry no pad attribute.
        padding = {} if pad is None else {"pad": (pad, pad)}
        return mx.sym.Convolution(
            data,
            num_filter=filters,
            kernel=(kernel, kernel),
            stride=(stride, stride),
            no_bias=True,
            workspace=256,
            name=name,
            **padding,
        )

    def activated(self, data: mx.sym.Symbol, unit: str, number: int) -> mx.sym.Symbol:
        normed = self.batch_norm(data, f"{unit}_bn{number}")
        return mx.sym.Activation(normed, act_type="relu", name=f"{unit}_relu{number}")

    def unit(self, data: mx.sym.Symbol, name: str, filters: int, stride: int, *, first: bool) -> mx.sym.Symbol:
        active = self.activated(data, name, 1)
        body = self.convolution(active, f"{name}_conv1", filters // 4, kernel=1, stride=1, pad=0)
        body = self.activated(body, name, 2)
        body = self.convolution(body, f"{name}_conv2", filters // 4, kernel=3, stride=stride, pad=1)
        body = self.activated(body, name, 3)
        body = self.convolution(body, f"{name}_conv3", filters, kernel=1, stride=1, pad=0)
        shortcut = data
        if first:
            shortcut = self.convolution(active, f"{name}_sc", filters, kernel=1, stride=stride)
        total = mx.sym.elemwise_add(body, shortcut, name=f"_plus{self._sums}")
        self._sums += 1
        return total


def resnet50(data: mx.sym.Symbol, frozen_batch_norms: Collection[str] = ()) -> dict[str, mx.sym.Symbol]:
    """Build the trunk and return the feature maps that the detection heads read.

    data: (B, 3, S, S), RGB 0-255; `bn_data` normalises it.
    frozen_batch_norms: names of BatchNorm layers that use their stored mean and variance while training.
    Returns {"_plus12": (B, 1024, ~S/16, ~S/16), "_plus15": (B, 2048, ~S/32, ~S/32)}.
    """
    build = _Builder(frozen_batch_norms)
    body = mx.sym.identity(data, name="id")
    body = build.batch_norm(body, "bn_data", fix_gamma=True)
    body = build.convolution(body, "conv0", 64, kernel=7, stride=2, pad=3)
    body = build.batch_norm(body, "bn0")
    body = mx.sym.Activation(body, act_type="relu", name="relu0")
    body = mx.sym.Pooling(body, kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max", name="pooling0")
    features = {}
    for stage, (units, filters) in enumerate(zip(_UNITS, _FILTERS, strict=True), start=1):
        for unit in range(1, units + 1):
            stride = 2 if unit == 1 and stage > 1 else 1
            body = build.unit(body, f"stage{stage}_unit{unit}", filters, stride, first=unit == 1)
            features[body.name] = body
    return {name: features[name] for name in ("_plus12", "_plus15")}
