"""The multibox loss: targets of every anchor, hard negatives, softmax cross entropy and smooth L1."""

from typing import Final

import mxnet as mx

from sagemaker_ssd.ssd.detect import VARIANCES
from sagemaker_ssd.ssd.heads import Predictions

# The IoU from which an anchor is matched to an object that is not its best one.
MATCHING_OVERLAP: Final = 0.5
# The IoU below which an anchor can be a negative, as the saved graph has it. An anchor at exactly 0.5 is then neither
# positive nor negative, and MultiBoxTarget on CPUs ends the process (`Check failed: temp.size() >= num_negative`) where
# all anchors that are not positive are wanted as negatives. The next number above leaves no such anchor.
NEGATIVE_OVERLAP: Final = 0.5
_NEGATIVE_OVERLAP_IN_TRAINING: Final = 0.5000001
NEGATIVES_PER_POSITIVE: Final = 3
# The background anchors that an image without objects is trained on: as many as an image with ten matched anchors
# gets from hard negative mining at three to one.
NEGATIVES_OF_AN_EMPTY_IMAGE: Final = 30
# The class target of an anchor that has no loss.
_IGNORED: Final = -1
# Keeps the logarithm of the reported cross entropy finite (mxnet-ssd's metric).
_SMALLEST_PROBABILITY: Final = 1e-8


def targets(predictions: Predictions, label: mx.sym.Symbol, *, saved: bool = False) -> mx.sym.Symbol:
    """Match anchors with objects and choose negatives.

    label: (B, objects, 5), class_id and box, filled up with -1. saved: as the saved graph has it, which MXNet cannot
    compute on a CPU for every image.
    Returns offsets (B, 4A), their mask (B, 4A), and classes (B, A): 0 background, else class_id + 1, -1 no loss.
    """
    return mx.sym.contrib.MultiBoxTarget(
        predictions.anchors,
        label,
        predictions.classes,
        overlap_threshold=MATCHING_OVERLAP,
        ignore_label=_IGNORED,
        negative_mining_ratio=NEGATIVES_PER_POSITIVE,
        minimum_negative_samples=0,
        negative_mining_thresh=NEGATIVE_OVERLAP if saved else _NEGATIVE_OVERLAP_IN_TRAINING,
        variances=VARIANCES,
        name="multibox_target",
    )


def matching_bytes(images: int, anchors: int, objects: int) -> int:
    """Return the bytes that `targets` takes on a device for labels (images, objects, 5) while a step lasts.

    MultiBoxTarget's temporary space is 11 numbers of float32 for each image, anchor and place of the label, whether an
    object is in it or not (multibox_target-inl.h, Forward). A graph's plan of its memory leaves it out.
    """
    return 4 * 11 * images * anchors * objects


def with_negatives_of_empty_images(
    class_target: mx.sym.Symbol, predictions: Predictions, label: mx.sym.Symbol
) -> mx.sym.Symbol:
    """Give images without objects, which MultiBoxTarget leaves out, their hardest background anchors as targets."""
    background = mx.sym.slice_axis(
        mx.sym.softmax(mx.sym.BlockGrad(predictions.classes), axis=1), axis=1, begin=0, end=1
    )
    hardest = mx.sym.topk(
        mx.sym.Flatten(background), axis=1, k=NEGATIVES_OF_AN_EMPTY_IMAGE, ret_typ="mask", is_ascend=True
    )
    class_ids = mx.sym.Flatten(mx.sym.slice_axis(label, axis=2, begin=0, end=1))
    empty = mx.sym.max(class_ids, axis=1, keepdims=True) < 0
    return mx.sym.where(mx.sym.broadcast_mul(hardest, empty), mx.sym.zeros_like(class_target), class_target)


def class_probabilities(predictions: Predictions, class_target: mx.sym.Symbol) -> mx.sym.Symbol:
    """Return the class probabilities (B, num_classes + 1, A), whose gradient is that of the mean cross entropy."""
    return mx.sym.SoftmaxOutput(
        predictions.classes,
        class_target,
        ignore_label=_IGNORED,
        use_ignore=True,
        grad_scale=1.0,
        multi_output=True,
        normalization="valid",
        name="cls_prob",
    )


def location_losses(predictions: Predictions, target: mx.sym.Symbol) -> mx.sym.Symbol:
    """Return the smooth L1 (B, 4A) of the offsets; target: of `targets`."""
    difference = mx.sym.elemwise_sub(predictions.locations, target[0], name="_minus0")
    masked = mx.sym.elemwise_mul(target[1], difference, name="_mul0")
    return mx.sym.smooth_l1(masked, scalar=1.0, name="loc_loss_")


def mean_location_loss(losses: mx.sym.Symbol) -> mx.sym.Symbol:
    """Make the smooth L1 an output with a gradient: that of its sum over the number of its entries above 0."""
    return mx.sym.MakeLoss(losses, grad_scale=1.0, normalization="valid", name="loc_loss")


def loss_sums(probabilities: mx.sym.Symbol, class_target: mx.sym.Symbol, losses: mx.sym.Symbol) -> mx.sym.Symbol:
    """Return (3,): the summed cross entropy, the summed smooth L1, the number of anchors with a class target."""
    counted = class_target != _IGNORED
    probability = mx.sym.pick(probabilities, mx.sym.relu(class_target), axis=1)
    entropy = -mx.sym.log(probability + _SMALLEST_PROBABILITY) * counted
    sums = [mx.sym.sum(values).reshape((1,)) for values in (entropy, losses, counted)]
    return mx.sym.BlockGrad(mx.sym.Concat(*sums, dim=0), name="loss_sums")
