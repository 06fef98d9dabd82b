"""The three graphs of a network: the one that is saved, the one that trains, and the one that detects.

All have the same parameters. The saved one equals the built-in's artifact node by node; the other two leave out what
a training step or a detection does not need.

Trunk and heads in bfloat16, all else in float32: parameters, BatchNorm's statistics, anchors, targets, losses.

Source: MXNet 1.9.1's `contrib.amp`, which puts casts before convolutions; its lists say what runs in which format.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import mxnet as mx
from mxnet.contrib import amp

from sagemaker_ssd.ssd.heads import Head, Predictions, anchors, heads, predictions
from sagemaker_ssd.ssd.resnet50 import resnet50
from sagemaker_ssd.ssd.vgg16 import vgg16

_VARIANCES = (0.1, 0.1, 0.2, 0.2)
_IGNORED = -1
# The background anchors that an image without objects is trained on: as many as an image with ten matched anchors
# gets from hard negative mining at three to one.
_NEGATIVES_OF_AN_EMPTY_IMAGE = 30
# Keeps the logarithm of the reported cross entropy finite (mxnet-ssd's metric).
_SMALLEST_PROBABILITY = 1e-8


@dataclass(frozen=True)
class Network:
    """Which network: base_network "vgg-16" or "resnet-50", image_shape in pixels, num_classes without background."""

    base_network: str
    image_shape: int
    num_classes: int
    nms_threshold: float = 0.45
    nms_topk: int = 400

    @property
    def mean(self) -> tuple[float, float, float]:
        """The RGB values taken off every pixel before the network (resnet-50 normalises in its first layer)."""
        return (0.0, 0.0, 0.0) if self.base_network == "resnet-50" else (123.0, 117.0, 104.0)


def _predictions(
    network: Network, stored_statistics: Collection[str] = (), *, folded_scale: bool = False
) -> Predictions:
    data = mx.sym.Variable("data")
    trunk = resnet50(data, stored_statistics) if network.base_network == "resnet-50" else vgg16(data)
    layers = heads(network.base_network, network.image_shape)
    return predictions(trunk, layers, network.num_classes, folded_scale=folded_scale)


def _targets(found: Predictions, label: mx.sym.Symbol) -> mx.sym.Symbol:
    return mx.sym.contrib.MultiBoxTarget(
        found.anchors,
        label,
        found.classes,
        overlap_threshold=0.5,
        ignore_label=_IGNORED,
        negative_mining_ratio=3,
        minimum_negative_samples=0,
        negative_mining_thresh=0.5,
        variances=_VARIANCES,
        name="multibox_target",
    )


def _class_probabilities(found: Predictions, target: mx.sym.Symbol) -> mx.sym.Symbol:
    return mx.sym.SoftmaxOutput(
        found.classes,
        target,
        ignore_label=_IGNORED,
        use_ignore=True,
        grad_scale=1.0,
        multi_output=True,
        normalization="valid",
        name="cls_prob",
    )


def _location_losses(found: Predictions, target: mx.sym.Symbol) -> mx.sym.Symbol:
    difference = mx.sym.elemwise_sub(found.locations, target[0], name="_minus0")
    masked = mx.sym.elemwise_mul(target[1], difference, name="_mul0")
    return mx.sym.smooth_l1(masked, scalar=1.0, name="loc_loss_")


def _detections(
    network: Network, found: Predictions, probabilities: mx.sym.Symbol, *, across_classes: bool = False
) -> mx.sym.Symbol:
    return mx.sym.contrib.MultiBoxDetection(
        probabilities,
        found.locations,
        found.anchors,
        name="detection",
        nms_threshold=network.nms_threshold,
        force_suppress=across_classes,
        variances=_VARIANCES,
        nms_topk=network.nms_topk,
    )


def saved_graph(network: Network) -> mx.sym.Symbol:
    """Build the graph of the artifact: cls_prob, loc_loss, cls_label and det_out over data and label."""
    found = _predictions(network)
    target = _targets(found, mx.sym.Variable("label"))
    probabilities = _class_probabilities(found, target[2])
    losses = _location_losses(found, target)
    detections = _detections(network, found, probabilities)
    return mx.sym.Group(
        [
            probabilities,
            mx.sym.MakeLoss(losses, grad_scale=1.0, normalization="valid", name="loc_loss"),
            mx.sym.MakeLoss(target[2], grad_scale=0, name="cls_label"),
            mx.sym.MakeLoss(detections, grad_scale=0, name="det_out"),
        ]
    )


def _with_empty_images(target: mx.sym.Symbol, found: Predictions, label: mx.sym.Symbol) -> mx.sym.Symbol:
    """Give images without objects their hardest background anchors as targets, which MultiBoxTarget leaves out."""
    background = mx.sym.slice_axis(mx.sym.softmax(mx.sym.BlockGrad(found.classes), axis=1), axis=1, begin=0, end=1)
    hardest = mx.sym.topk(
        mx.sym.Flatten(background), axis=1, k=_NEGATIVES_OF_AN_EMPTY_IMAGE, ret_typ="mask", is_ascend=True
    )
    class_ids = mx.sym.Flatten(mx.sym.slice_axis(label, axis=2, begin=0, end=1))
    empty = mx.sym.max(class_ids, axis=1, keepdims=True) < 0
    return mx.sym.where(mx.sym.broadcast_mul(hardest, empty), mx.sym.zeros_like(target), target)


def _loss_sums(probabilities: mx.sym.Symbol, target: mx.sym.Symbol, losses: mx.sym.Symbol) -> mx.sym.Symbol:
    counted = target != _IGNORED
    probability = mx.sym.pick(probabilities, mx.sym.relu(target), axis=1)
    entropy = -mx.sym.log(probability + _SMALLEST_PROBABILITY) * counted
    sums = [mx.sym.sum(values).reshape((1,)) for values in (entropy, losses, counted)]
    return mx.sym.BlockGrad(mx.sym.Concat(*sums, dim=0), name="loss_sums")


def training_graph(
    network: Network,
    *,
    empty_images: bool,
    stored_statistics: Collection[str] = (),
    precision_dtype: str = "float32",
) -> mx.sym.Symbol:
    """Build the graph of a training step: cls_prob, loc_loss, loss_sums.

    data: (B, 3, S, S); label: (B, objects, 5), class_id and box, filled up with -1.
    loss_sums: (3,), the summed cross entropy, the summed smooth L1 and the number of anchors that count, which the
    logged losses are made of.
    empty_images: whether images without objects occur; their negatives cost a sort of the anchors.
    precision_dtype: what trunk and heads compute in, "float32" or "bfloat16"; parameters and outputs are float32.
    """
    found = _predictions(network, stored_statistics, folded_scale=True)
    if precision_dtype == "bfloat16":
        found = in_bfloat16(found, heads(network.base_network, network.image_shape), network.image_shape)
    label = mx.sym.Variable("label")
    target = _targets(found, label)
    class_target = _with_empty_images(target[2], found, label) if empty_images else target[2]
    probabilities = _class_probabilities(found, class_target)
    losses = _location_losses(found, target)
    return mx.sym.Group(
        [
            probabilities,
            mx.sym.MakeLoss(losses, grad_scale=1.0, normalization="valid", name="loc_loss"),
            _loss_sums(probabilities, class_target, losses),
        ]
    )


def feature_maps(network: Network) -> tuple[mx.sym.Symbol, ...]:
    """Return what the heads read, whose shapes the anchors follow."""
    return _predictions(network).maps


def detection_graph(network: Network) -> mx.sym.Symbol:
    """Build the graph that detects: detection, prediction_sum.

    detection: (B, A, 6) with class_id (-1: suppressed), score and box, sorted by score.
    prediction_sum: (1,), finite only if every prediction is: detections do not show it when a network gives NaN.
    """
    found = _predictions(network)
    probabilities = mx.sym.SoftmaxActivation(found.classes, mode="channel", name="cls_prob")
    total = mx.sym.elemwise_add(mx.sym.sum(probabilities), mx.sym.sum(found.locations), name="prediction_sum")
    return mx.sym.Group([_detections(network, found, probabilities), total])


def deploy_graph(network: Network) -> mx.sym.Symbol:
    """Build the graph that mxnet-ssd's deploy.py makes of a model: detection, as in `detection_graph`.

    With that program's default, of overlapping detections of different classes too only the best one stays.
    """
    found = _predictions(network)
    probabilities = mx.sym.SoftmaxActivation(found.classes, mode="channel", name="cls_prob")
    return _detections(network, found, probabilities, across_classes=True)


def in_bfloat16(found: Predictions, heads: Sequence[Head], image_shape: int) -> Predictions:
    """Return the same predictions, as float32, of convolutions in bfloat16."""
    converted = amp.convert_symbol(mx.sym.Group([found.locations, found.classes]), target_dtype="bfloat16")
    locations, classes = (mx.sym.amp_cast(part, dtype="float32") for part in converted)
    _, shapes, _ = mx.sym.Group(found.maps).infer_shape(data=(1, 3, image_shape, image_shape))
    # MultiBoxPrior has no bfloat16. It looks at shapes alone, and on the float32 maps it would have them computed too.
    maps = [mx.sym.zeros((1, 1, *shape[2:])) for shape in shapes]
    names = [feature.name for feature in found.maps]
    return Predictions(locations, classes, anchors(names, maps, heads), found.maps)
