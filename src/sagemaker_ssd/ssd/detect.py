"""From predictions to detections: class probabilities, the decoding of boxes, non-maximum suppression; the anchors.

MXNet's MultiBoxDetection does it in a graph, standard operators in the ONNX model; both by the constants here.
"""

from typing import Final

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.ssd.heads import Predictions, head_layout
from sagemaker_ssd.ssd.network import Network, NmsSettings

# What an anchor's offsets are divided by: centre x and y, log of width and height. Targets are encoded by them and
# detections decoded.
VARIANCES: Final = (0.1, 0.1, 0.2, 0.2)
# The least score of a detection. MultiBoxDetection's default, which no hyperparameter changes: the genuine artifact
# does not carry the attribute, so the graphs must not name it.
SCORE_THRESHOLD: Final = 0.01


def detection_probabilities(predictions: Predictions) -> mx.sym.Symbol:
    """Return the class probabilities (B, num_classes + 1, A) of a graph without targets."""
    return mx.sym.SoftmaxActivation(predictions.classes, mode="channel", name="cls_prob")


def detections(
    predictions: Predictions, probabilities: mx.sym.Symbol, nms: NmsSettings, *, across_classes: bool = False
) -> mx.sym.Symbol:
    """Return (B, A, 6): class_id (-1: suppressed), score, xmin, ymin, xmax, ymax, sorted by score.

    across_classes: a detection suppresses those of other classes too.
    """
    return mx.sym.contrib.MultiBoxDetection(
        probabilities,
        predictions.locations,
        predictions.anchors,
        name="detection",
        nms_threshold=nms.threshold,
        force_suppress=across_classes,
        variances=VARIANCES,
        nms_topk=nms.topk,
    )


def anchor_boxes(network: Network) -> NDArray[np.float32]:
    """Return the anchors (A, 4) as xmin, ymin, xmax, ymax in fractions of the image; they may reach past its border."""
    maps = network.predictions().maps
    _, shapes, _ = mx.sym.Group(maps).infer_shape(data=(1, 3, network.image_shape, network.image_shape))
    boxes = [
        mx.nd.contrib.MultiBoxPrior(
            mx.nd.zeros((1, 1, *shape[2:])),
            sizes=head.sizes,
            ratios=head.ratios,
            clip=False,
            steps=(head.step, head.step),
        )
        for shape, head in zip(shapes, head_layout(network.base_network, network.image_shape), strict=True)
    ]
    joined: NDArray[np.float32] = mx.nd.concat(*boxes, dim=1)[0].asnumpy()
    return joined
