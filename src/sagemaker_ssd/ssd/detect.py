"""From predictions to detections: class probabilities, the decoding of boxes, non-maximum suppression; the anchors.

An anchor's best class alone is detected by MXNet's MultiBoxDetection, all its classes by a graph of smaller operators;
the ONNX model has standard operators for both. All go by the constants here.
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
# On a GPU box_nms suppresses a list with blocks of so many threads, and those beyond a list's end write their results
# into the next one (ReduceNMSResultTriangleKernel in bounding_box.cu of MXNet 1.9.1): lists are filled up to whole
# blocks.
_NMS_BLOCK: Final = 512


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


def detections_of_all_classes(
    predictions: Predictions, probabilities: mx.sym.Symbol, nms: NmsSettings, *, num_classes: int, num_anchors: int
) -> mx.sym.Symbol:
    """Return (B, K, 6) as `detections` does, of every class of an anchor whose score reaches the threshold.

    K = min(nms.topk, num_anchors): so many of each class with the highest scores are looked at, each class is
    suppressed by itself, and of what all classes keep so many of an image are left. The form is that of torchvision's
    SSD (postprocess_detections of models/detection/ssd.py, where they are topk_candidates and detections_per_img) and
    of the paper (arXiv 1512.02325, section 3.7). What equals a threshold reaches it, as in MultiBoxDetection.
    """
    most = min(nms.topk, num_anchors)
    scores = mx.sym.slice_axis(probabilities, axis=1, begin=1, end=None)
    # Not numbers become 0 here too: the sort below may not meet them.
    scores = mx.sym.where(scores >= SCORE_THRESHOLD, scores, mx.sym.zeros_like(scores))
    best, chosen = mx.sym.topk(scores, axis=2, k=most, ret_typ="both", dtype="int32")
    boxes = _chosen_boxes(_decoded(predictions), chosen, num_classes)
    rows = mx.sym.concat(mx.sym.expand_dims(best, axis=3), boxes, dim=3)
    whole = -(-most // _NMS_BLOCK) * _NMS_BLOCK
    # With scores of 0, which do not count.
    rows = mx.sym.pad(rows, mode="constant", pad_width=(0, 0, 0, 0, 0, whole - most, 0, 0), constant_value=0)
    # (B, num_classes, whole, 5) of score and box, each class by itself; what is not kept becomes -1.
    rows = mx.sym.contrib.box_nms(
        rows,
        overlap_thresh=float(np.nextafter(np.float32(nms.threshold), np.float32(0))),
        valid_thresh=0,
        score_index=0,
        coord_start=1,
    )
    class_ids = mx.sym.reshape(mx.sym.arange(num_classes), shape=(1, num_classes, 1, 1))
    class_ids = mx.sym.broadcast_like(class_ids, mx.sym.slice_axis(rows, axis=3, begin=0, end=1))
    rows = mx.sym.reshape(mx.sym.concat(class_ids, rows, dim=3), shape=(0, -3, 0))
    # With a threshold that no overlap exceeds nothing is suppressed: it sorts all classes, and drops what is -1.
    rows = mx.sym.contrib.box_nms(rows, overlap_thresh=2, valid_thresh=0, topk=whole, score_index=1, coord_start=2)
    return mx.sym.slice_axis(rows, axis=1, begin=0, end=most, name="detection")


def _decoded(predictions: Predictions) -> mx.sym.Symbol:
    """Return the boxes (B, A, 4), xmin, ymin, xmax, ymax from 0 to 1."""
    offsets = mx.sym.reshape(predictions.locations, shape=(0, -1, 4))
    deviations = {f"std{number}": variance for number, variance in enumerate(VARIANCES)}
    boxes = mx.sym.contrib.box_decode(offsets, predictions.anchors, **deviations, format="corner")
    return mx.sym.clip(boxes, 0, 1)


def _chosen_boxes(boxes: mx.sym.Symbol, chosen: mx.sym.Symbol, num_classes: int) -> mx.sym.Symbol:
    """Return (B, num_classes, K, 4) of the boxes (B, A, 4), those whose numbers `chosen` (B, num_classes, K) has."""
    numbers = mx.sym.expand_dims(mx.sym.flatten(chosen), axis=0)
    images = mx.sym.reshape(mx.sym.contrib.arange_like(boxes, axis=0), shape=(1, -1, 1))
    images = mx.sym.broadcast_like(mx.sym.cast(images, "int32"), numbers)
    places = mx.sym.concat(images, numbers, dim=0)
    return mx.sym.reshape(mx.sym.gather_nd(boxes, places), shape=(0, num_classes, -1, 4))


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
