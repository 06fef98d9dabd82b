"""Images as the network takes them: decoded and resized just as MXNet's reader does it for an evaluation."""

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.data.images import examine_image
from sagemaker_ssd.errors import UserError

_BILINEAR = 1


def decoded(image: bytes, name: str) -> mx.nd.NDArray:
    """Decode an image file to (H, W, 3) RGB, turned as a viewer shows it; raises UserError when it cannot be used."""
    facts = examine_image(image)
    if facts.fault:
        raise UserError(f"{name}: {facts.fault}")
    return mx.image.imdecode(facts.image, flag=1, to_rgb=True)


def network_input(pixels: mx.nd.NDArray, image_shape: int, mean: tuple[float, float, float]) -> NDArray[np.float32]:
    """Resize (H, W, 3) pixels and take off the mean; return (3, image_shape, image_shape)."""
    resized = mx.image.imresize(pixels, image_shape, image_shape, interp=_BILINEAR).asnumpy()
    difference: NDArray[np.float32] = resized.astype(np.float32) - np.array(mean, np.float32)
    return difference.transpose(2, 0, 1)
