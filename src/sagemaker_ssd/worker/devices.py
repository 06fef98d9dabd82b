"""What the network runs on."""

import logging

import mxnet as mx

from sagemaker_ssd.errors import PlatformError

_log = logging.getLogger(__name__)


def training_devices(gpus: int, mini_batch_size: int) -> list[mx.Context]:
    """Return the GPUs, at most one an image of the batch, or the CPU where the machine has no GPU.

    gpus: how many the driver lists. Raises PlatformError when MXNet can use none of them.
    """
    if gpus == 0:
        return [mx.cpu()]
    if not mx.runtime.Features().is_enabled("CUDA"):
        _log.warning("the machine has %d GPU(s), but this is the CPU image: training on the CPU", gpus)
        return [mx.cpu()]
    # CUDA_VISIBLE_DEVICES hides GPUs from MXNet that the driver lists.
    visible = min(gpus, mx.context.num_gpus())
    if visible == 0:
        raise PlatformError(
            f"the driver lists {gpus} GPU(s), but MXNet can use none of them: look at CUDA_VISIBLE_DEVICES, or start "
            "the job again on another instance"
        )
    used = min(visible, mini_batch_size)
    if used < gpus:
        _log.warning(
            "%d of %d GPUs are used: mini_batch_size is %d, %d can be used", used, gpus, mini_batch_size, visible
        )
    return [mx.gpu(number) for number in range(used)]
