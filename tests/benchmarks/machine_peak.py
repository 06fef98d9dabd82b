"""The most that this machine multiplies, and how many images a second a training step could make of it.

`python tests/benchmarks/machine_peak.py [--rounds 7]`: a chain of 3x3 convolutions, forward alone, in MXNet and in
PyTorch, in float32 and bfloat16, against the multiply-adds of a step: those of the forward pass, three times.
"""

import argparse
import sys

import numpy as np
from peak_sides import GFLOP
from turns import HERE, TORCH, Side, table, take_turns

from sagemaker_ssd.ssd.graphs import saved_graph
from sagemaker_ssd.ssd.network import Network
from sagemaker_ssd.ssd.number_formats import can_compute_bfloat16


def step_gflop(network: str, size: int) -> float:
    """Return the floating-point operations of a training step for one image, in GFLOP."""
    graph = saved_graph(Network(network, size, 3)).get_internals()
    outputs, total = graph.list_outputs(), 0.0
    shapes = dict(zip(outputs, graph.infer_shape(data=(1, 3, size, size), label=(1, 2, 5))[1], strict=True))
    for name, shape in shapes.items():
        weight = shapes.get(f"{name.removesuffix('_output')}_weight")
        if weight is not None and len(shape) == 4:
            total += 2 * float(np.prod(shape)) * float(np.prod(weight[1:]))
    return 3 * total / 1e9


def main() -> None:
    """Print the peaks and what the networks need."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    dtypes = ("float32", "bfloat16") if can_compute_bfloat16() else ("float32",)
    programs = {"mxnet": sys.executable, "torch": TORCH}
    sides = [
        Side(f"{library}, {dtype}", [program, HERE / "peak_sides.py", library, dtype])
        for dtype in dtypes
        for library, program in programs.items()
    ]
    take_turns(sides, options.rounds)
    table("Convolutions alone", sides, GFLOP, "GFLOP")
    peaks = {side.name: GFLOP / min(side.seconds) for side in sides}
    for size in (300, 512):
        for network in ("vgg-16", "resnet-50"):
            need = step_gflop(network, size)
            most = ", ".join(f"{peak / need:.2f} ({name})" for name, peak in peaks.items())
            print(f"{network} at {size} px: {need:,.0f} GFLOP an image, at the most {most} images/s")


if __name__ == "__main__":
    main()
