"""The graphs of a network: the saved one, the one that trains, the one that detects, and mxnet-ssd's deploy form.

All have the same parameters. The saved one equals the built-in's artifact node by node; the ones that train and detect
leave out what a training step or a detection does not need.
"""

from collections.abc import Collection

import mxnet as mx
from mxnet.contrib import amp

from sagemaker_ssd.ssd.detect import detection_probabilities, detections
from sagemaker_ssd.ssd.heads import Predictions, head_layout, multibox_anchors
from sagemaker_ssd.ssd.loss import (
    class_probabilities,
    location_losses,
    loss_sums,
    mean_location_loss,
    targets,
    with_negatives_of_empty_images,
)
from sagemaker_ssd.ssd.network import Network


def saved_graph(network: Network) -> mx.sym.Symbol:
    """Build the graph of the artifact: cls_prob, loc_loss, cls_label and det_out over data and label."""
    predictions = network.predictions()
    target = targets(predictions, mx.sym.Variable("label"), saved=True)
    probabilities = class_probabilities(predictions, target[2])
    losses = location_losses(predictions, target)
    found = detections(predictions, probabilities, network.nms)
    return mx.sym.Group(
        [
            probabilities,
            mean_location_loss(losses),
            mx.sym.MakeLoss(target[2], grad_scale=0, name="cls_label"),
            mx.sym.MakeLoss(found, grad_scale=0, name="det_out"),
        ]
    )


def training_graph(
    network: Network,
    *,
    empty_images: bool,
    frozen_batch_norms: Collection[str] = (),
    precision_dtype: str = "float32",
) -> mx.sym.Symbol:
    """Build the graph of a training step: cls_prob, loc_loss, loss_sums.

    data: (B, 3, S, S); label: (B, objects, 5), class_id and box, filled up with -1.
    loss_sums: (3,), the summed cross entropy, the summed smooth L1 and the number of anchors that count, which the
    logged losses are made of.
    empty_images: whether images without objects occur; their negatives cost a sort of the anchors.
    frozen_batch_norms: of `Network.freeze`.
    precision_dtype: what trunk and heads compute in, "float32" or "bfloat16"; parameters and outputs are float32.
    """
    predictions = network.predictions(frozen_batch_norms=frozen_batch_norms, folded_scale=True)
    if precision_dtype == "bfloat16":
        predictions = in_bfloat16(predictions, network)
    label = mx.sym.Variable("label")
    target = targets(predictions, label)
    class_target = with_negatives_of_empty_images(target[2], predictions, label) if empty_images else target[2]
    probabilities = class_probabilities(predictions, class_target)
    losses = location_losses(predictions, target)
    return mx.sym.Group([probabilities, mean_location_loss(losses), loss_sums(probabilities, class_target, losses)])


def detection_graph(network: Network) -> mx.sym.Symbol:
    """Build the graph that detects: detection, prediction_sum.

    detection: (B, A, 6) with class_id (-1: suppressed), score and box, sorted by score.
    prediction_sum: (1,), finite only if every prediction is: detections do not show it when a network gives NaN.
    """
    predictions = network.predictions()
    probabilities = detection_probabilities(predictions)
    total = mx.sym.elemwise_add(mx.sym.sum(probabilities), mx.sym.sum(predictions.locations), name="prediction_sum")
    return mx.sym.Group([detections(predictions, probabilities, network.nms), total])


def deploy_graph(network: Network) -> mx.sym.Symbol:
    """Build the graph that mxnet-ssd's deploy.py makes of a model: detection, as in `detection_graph`.

    With that program's default, of overlapping detections of different classes too only the best one stays.
    """
    predictions = network.predictions()
    return detections(predictions, detection_probabilities(predictions), network.nms, across_classes=True)


def in_bfloat16(predictions: Predictions, network: Network) -> Predictions:
    """Return the same predictions, as float32, of convolutions in bfloat16.

    All else stays in float32: parameters, BatchNorm's statistics, anchors, targets, losses.
    Source: MXNet 1.9.1's `contrib.amp`, which puts casts before convolutions; its lists say what runs in which format.
    """
    converted = amp.convert_symbol(mx.sym.Group([predictions.locations, predictions.classes]), target_dtype="bfloat16")
    locations, classes = (mx.sym.amp_cast(part, dtype="float32") for part in converted)
    size = network.image_shape
    _, shapes, _ = mx.sym.Group(predictions.maps).infer_shape(data=(1, 3, size, size))
    # MultiBoxPrior has no bfloat16. It looks at shapes alone, and on the float32 maps it would have them computed too.
    maps = [mx.sym.zeros((1, 1, *shape[2:])) for shape in shapes]
    names = [feature.name for feature in predictions.maps]
    anchors = multibox_anchors(names, maps, head_layout(network.base_network, size))
    return Predictions(locations, classes, anchors, predictions.maps)
