"""The graphs of a network: the saved one, the one that trains, the one that detects, and mxnet-ssd's deploy form.

All have the same parameters. The saved one equals the built-in's artifact node by node; the ones that train and detect
leave out what a training step or a detection does not need.
"""

import mxnet as mx

from sagemaker_ssd.ssd.bfloat16 import predictions_in_bfloat16
from sagemaker_ssd.ssd.detect import (
    anchor_boxes,
    detection_probabilities,
    detections,
    detections_of_all_classes,
)
from sagemaker_ssd.ssd.loss import (
    class_probabilities,
    location_losses,
    loss_sums,
    mean_location_loss,
    targets,
    with_negatives_of_empty_images,
)
from sagemaker_ssd.ssd.network import NOTHING_FROZEN, Frozen, Network


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
    frozen: Frozen = NOTHING_FROZEN,
    precision_dtype: str = "float32",
) -> mx.sym.Symbol:
    """Build the graph of a training step: cls_prob, loc_loss, loss_sums.

    data: (B, 3, S, S); label: (B, objects, 5), class_id and box, filled up with -1.
    loss_sums: (3,), the summed cross entropy, the summed smooth L1 and the number of anchors that count, which the
    logged losses are made of.
    empty_images: whether images without objects occur; their negatives cost a sort of the anchors.
    frozen: of `Network.freeze`.
    precision_dtype: what trunk and heads compute in, "float32" or "bfloat16"; parameters and outputs are float32.
    """
    predictions = network.predictions(frozen_batch_norms=frozen.batch_norms, folded_scale=True)
    if precision_dtype == "bfloat16":
        predictions = predictions_in_bfloat16(predictions, network, trained=network.arguments() - frozen.arguments)
    label = mx.sym.Variable("label")
    target = targets(predictions, label)
    class_target = with_negatives_of_empty_images(target[2], predictions, label) if empty_images else target[2]
    probabilities = class_probabilities(predictions, class_target)
    losses = location_losses(predictions, target)
    return mx.sym.Group([probabilities, mean_location_loss(losses), loss_sums(probabilities, class_target, losses)])


def detection_graph(network: Network, precision_dtype: str = "float32", *, all_classes: bool = False) -> mx.sym.Symbol:
    """Build the graph that detects: detection, prediction_sum.

    precision_dtype: what trunk and heads compute in; with "bfloat16" it takes the arguments of `weights_in_bfloat16`.
    all_classes: whether every class of an anchor is detected, as in `detections_of_all_classes`, or its best one alone.

    detection: (B, A or K, 6) with class_id (-1: suppressed), score and box, sorted by score.
    prediction_sum: (1,), finite only if every prediction is: detections do not show it when a network gives NaN.
    """
    predictions = network.predictions()
    if precision_dtype == "bfloat16":
        predictions = predictions_in_bfloat16(predictions, network, cast_weights=False)
    probabilities = detection_probabilities(predictions)
    total = mx.sym.elemwise_add(mx.sym.sum(probabilities), mx.sym.sum(predictions.locations), name="prediction_sum")
    if all_classes:
        found = detections_of_all_classes(
            predictions,
            probabilities,
            network.nms,
            num_classes=network.num_classes,
            num_anchors=len(anchor_boxes(network)),
        )
    else:
        found = detections(predictions, probabilities, network.nms)
    return mx.sym.Group([found, total])


def deploy_graph(network: Network) -> mx.sym.Symbol:
    """Build the graph that mxnet-ssd's deploy.py makes of a model: detection, as in `detection_graph`.

    With that program's default, of overlapping detections of different classes too only the best one stays.
    """
    predictions = network.predictions()
    return detections(predictions, detection_probabilities(predictions), network.nms, across_classes=True)
