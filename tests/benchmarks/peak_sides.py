"""What machine_peak.py's sides do: a chain of convolutions, in MXNet or in PyTorch, in float32 or bfloat16."""

import argparse
import os
from collections.abc import Callable

from serving import serve

# The shape of vgg-16's third group, where its convolutions are fastest.
BATCH, CHANNELS, SIDE, LENGTH = 8, 256, 75, 4
GFLOP = 2 * BATCH * CHANNELS**2 * 9 * SIDE**2 * LENGTH / 1e9


def mxnet_chain(dtype: str) -> Callable[[], object]:
    """The forward pass as in training, whose weights are not kept in a layout of their own."""
    import mxnet as mx
    from mxnet.contrib import amp

    body = mx.sym.Variable("data")
    for number in range(LENGTH):
        body = mx.sym.Convolution(body, num_filter=CHANNELS, kernel=(3, 3), pad=(1, 1), name=f"conv{number}")
    if dtype == "bfloat16":
        body = mx.sym.amp_cast(amp.convert_symbol(body, target_dtype="bfloat16"), dtype="float32")
    executor = body.simple_bind(mx.cpu(), grad_req="write", data=(BATCH, CHANNELS, SIDE, SIDE))
    for array in executor.arg_arrays:
        array[:] = mx.nd.random.normal(0, 0.02, shape=array.shape)

    def work() -> None:
        executor.forward(is_train=True)
        mx.nd.waitall()

    return work


def torch_chain(dtype: str) -> Callable[[], object]:
    """The same, channels last."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    layers = [torch.nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(LENGTH)]
    chain = torch.nn.Sequential(*layers).to(memory_format=torch.channels_last)
    data = torch.randn(BATCH, CHANNELS, SIDE, SIDE).to(memory_format=torch.channels_last)

    def work() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            chain(data)

    return work


def main() -> None:
    """Serve one side's work."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", choices=("mxnet", "torch"))
    parser.add_argument("dtype", choices=("float32", "bfloat16"))
    options = parser.parse_args()
    serve({"mxnet": mxnet_chain, "torch": torch_chain}[options.library](options.dtype), warm=2)


if __name__ == "__main__":
    main()
