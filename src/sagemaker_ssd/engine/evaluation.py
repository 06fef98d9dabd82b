"""The figures of a network on a channel."""

from collections.abc import Iterable, Sequence

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.engine.average_precision import AveragePrecision, Scores
from sagemaker_ssd.engine.detector import Detector
from sagemaker_ssd.engine.divergence import diverged

Labels = Sequence[NDArray[np.float32]]


def evaluate(
    detector: Detector,
    batches: Iterable[tuple[mx.nd.NDArray, Labels]],
    *,
    num_classes: int,
    overlap_threshold: float,
    epoch: int,
    learning_rate: float,
) -> Scores:
    """Detect on every image and score the detections.

    epoch, learning_rate: of the training before, for the UserError that is raised when the network has diverged.

    batches: (n, 3, S, S) images with n labels (objects, 5 or 6): class_id, xmin, ymin, xmax, ymax[, difficult].
    """
    precision = AveragePrecision(num_classes, overlap_threshold)
    for data, labels in batches:
        for detections, truth in zip(detector.detect(data), labels, strict=True):
            precision.add(detections, truth)
    if not detector.finite:
        raise diverged(f"the network's predictions are not finite numbers after epoch {epoch}", learning_rate)
    return precision.result()
