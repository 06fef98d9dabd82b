"""float32 and bfloat16 compared by the time of a network's typical convolutions on this machine."""

import time
from dataclasses import dataclass
from typing import Any, Final

import mxnet as mx
from mxnet.contrib.amp.amp import bfloat16

# Below this the rounding is not worth it.
_WORTHWHILE: Final = 1.1
_REPETITIONS: Final = 3
_BATCH: Final = 2
# Channels, kernel and pad of convolutions that follow one another on a map of a quarter of the image's sides: those of
# VGG-16's third group, and a residual unit of ResNet-50's first stage.
_LAYERS: Final = {
    "vgg-16": (256, ((256, 3, 1), (256, 3, 1))),
    "resnet-50": (256, ((64, 1, 0), (64, 3, 1), (256, 1, 0))),
}


@dataclass(frozen=True)
class ConvolutionTimes:
    """Seconds of the same convolutions, forwards and backwards; bfloat16 is None where MXNet has no kernels for it."""

    float32: float
    bfloat16: float | None

    @property
    def worthwhile(self) -> bool:
        """Whether bfloat16 is enough faster."""
        return self.bfloat16 is not None and self.float32 / self.bfloat16 >= _WORTHWHILE


def time_convolutions(base_network: str, image_shape: int) -> ConvolutionTimes:
    """Time the convolutions of a network in both formats, by turns, the fastest of a few; about a second."""
    formats = {"float32": _bound(base_network, image_shape // 4, "float32")}
    if can_compute_bfloat16():
        formats["bfloat16"] = _bound(base_network, image_shape // 4, bfloat16)
    seconds: dict[str, list[float]] = {name: [] for name in formats}
    # The first round of each, which prepares the kernels, does not count.
    for repetition in range(_REPETITIONS + 1):
        for name, executor in formats.items():
            begin = time.perf_counter()
            _pass(executor)
            if repetition:
                seconds[name].append(time.perf_counter() - begin)
    fastest = {name: min(taken) for name, taken in seconds.items()}
    return ConvolutionTimes(fastest["float32"], fastest.get("bfloat16"))


def can_compute_bfloat16() -> bool:
    """Say whether MXNet has kernels for bfloat16 on this CPU; it needs AVX512."""
    try:
        try_bfloat16()
    except mx.MXNetError:
        return False
    return True


def try_bfloat16() -> None:
    """Compute convolutions in bfloat16; raises MXNetError where there are no kernels."""
    _pass(_bound("resnet-50", 8, bfloat16))


def _bound(base_network: str, side: int, dtype: Any) -> mx.executor.Executor:
    channels, layers = _LAYERS[base_network]
    body = mx.sym.amp_cast(mx.sym.Variable("data"), dtype=dtype)
    for number, (filters, kernel, pad) in enumerate(layers):
        weight = mx.sym.amp_cast(mx.sym.Variable(f"weight{number}"), dtype=dtype)
        body = mx.sym.Convolution(
            body, weight, num_filter=filters, kernel=(kernel, kernel), pad=(pad, pad), no_bias=True
        )
        body = mx.sym.Activation(body, act_type="relu")
    loss = mx.sym.MakeLoss(mx.sym.sum(mx.sym.amp_cast(body, dtype="float32")))
    executor = loss.simple_bind(mx.cpu(), data=(_BATCH, channels, side, side))
    for array in executor.arg_arrays:
        array[:] = 0.01
    return executor


def _pass(executor: mx.executor.Executor) -> None:
    executor.forward(is_train=True)
    executor.backward()
    mx.nd.waitall()
