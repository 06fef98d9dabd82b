"""The anchors of a network as numbers."""

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.ssd.graphs import Network, feature_maps
from sagemaker_ssd.ssd.heads import heads


def anchor_boxes(network: Network) -> NDArray[np.float32]:
    """Return the anchors (A, 4) as xmin, ymin, xmax, ymax in fractions of the image; they may reach past its border."""
    maps = feature_maps(network)
    _, shapes, _ = mx.sym.Group(maps).infer_shape(data=(1, 3, network.image_shape, network.image_shape))
    boxes = [
        mx.nd.contrib.MultiBoxPrior(
            mx.nd.zeros((1, 1, *shape[2:])),
            sizes=head.sizes,
            ratios=head.ratios,
            clip=False,
            steps=(head.step, head.step),
        )
        for shape, head in zip(shapes, heads(network.base_network, network.image_shape), strict=True)
    ]
    joined: NDArray[np.float32] = mx.nd.concat(*boxes, dim=1)[0].asnumpy()
    return joined
