"""What the network runs on."""

import logging
import os

import mxnet as mx

_log = logging.getLogger(__name__)


def training_devices(gpus: int, mini_batch_size: int) -> list[mx.Context]:
    """Return the GPUs, at most one an image of the batch, or the CPU where there is none."""
    if gpus == 0:
        return [mx.cpu()]
    if not mx.runtime.Features().is_enabled("CUDA"):
        _log.warning("the machine has %d GPU(s), but this is the CPU image: training on the CPU", gpus)
        return [mx.cpu()]
    used = min(gpus, mini_batch_size)
    if used < gpus:
        _log.warning("%d of %d GPUs are used: mini_batch_size is %d", used, gpus, mini_batch_size)
    return [mx.gpu(number) for number in range(used)]


def decode_threads() -> int:
    """Return the threads that decode images: all CPUs but one, as MXNet's reader allows at most."""
    return max(1, len(os.sched_getaffinity(0)) - 1)
