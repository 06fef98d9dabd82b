"""The most that this machine multiplies, and the share of it that a training step reaches.

`python tests/benchmarks/machine_peak.py`: the best of a matrix product and two convolutions in MXNet (oneDNN), in
float32 and bfloat16, against the multiply-adds of a step: those of the forward pass, three times.
"""

import os
import time

from sagemaker_ssd.cores import usable_cores

# By itself MXNet takes one thread for every two processors.
os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))

import mxnet as mx
import numpy as np
from mxnet.contrib.amp.amp import bfloat16

from sagemaker_ssd.model.graph import Network, saved_graph

ROUNDS = 5


def best(work: object, flops: float) -> float:
    """Return the best rate in GFLOP/s of a few runs."""
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work().wait_to_read()  # type: ignore[operator]
        seconds.append(time.perf_counter() - start)
    return flops / min(seconds) / 1e9


def product(side: int = 3072) -> float:
    """Multiply square matrices."""
    a, b = (mx.nd.random.normal(shape=(side, side)) for _ in range(2))
    return best(lambda: mx.nd.dot(a, b), 2 * side**3)


def convolution(channels: int, side: int, kernel: int, dtype: object) -> float:
    """Convolve a batch of 8."""
    data = mx.nd.random.normal(shape=(8, channels, side, side)).astype(dtype)
    weight = mx.nd.random.normal(shape=(channels, channels, kernel, kernel)).astype(dtype)
    pad = (kernel // 2,) * 2

    def work() -> mx.nd.NDArray:
        return mx.nd.Convolution(data, weight, no_bias=True, num_filter=channels, kernel=(kernel, kernel), pad=pad)

    return best(work, 2 * 8 * channels**2 * side**2 * kernel**2)


def step_flops(network: str, size: int) -> float:
    """Return the floating-point operations of a training step for one image."""
    graph = saved_graph(Network(network, size, 3)).get_internals()
    outputs, total = graph.list_outputs(), 0.0
    shapes = dict(zip(outputs, graph.infer_shape(data=(1, 3, size, size), label=(1, 2, 5))[1], strict=True))
    for name, shape in shapes.items():
        weight = shapes.get(f"{name.removesuffix('_output')}_weight")
        if weight is not None and len(shape) == 4:
            total += 2 * float(np.prod(shape)) * float(np.prod(weight[1:]))
    return 3 * total


def main() -> None:
    """Print the peak and what the networks need."""
    rates = {"matrix product": product(), "3x3 convolution": convolution(256, 75, 3, "float32")}
    rates["1x1 convolution"] = convolution(1024, 19, 1, "float32")
    rates["3x3 convolution, bfloat16"] = convolution(256, 75, 3, bfloat16)
    for name, rate in rates.items():
        print(f"{name}: {rate:,.0f} GFLOP/s")
    peak = max(rate for name, rate in rates.items() if "bfloat16" not in name)
    for network in ("vgg-16", "resnet-50"):
        need = step_flops(network, 300)
        most = peak * 1e9 / need
        print(f"{network} at 300 px: {need / 1e9:,.0f} GFLOP an image; {most:.2f} images/s at the float32 peak")


if __name__ == "__main__":
    main()
