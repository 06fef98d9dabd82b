"""The figures of a network on a channel."""

from collections.abc import Iterable, Sequence

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.engine.average_precision import AveragePrecision, Scores
from sagemaker_ssd.engine.detector import Detector

Labels = Sequence[NDArray[np.float32]]


def evaluate(
    detector: Detector,
    batches: Iterable[tuple[mx.nd.NDArray, Labels]],
    *,
    num_classes: int,
    overlap_threshold: float,
) -> Scores:
    """Detect on every image and score the detections.

    batches: (n, 3, S, S) images with n labels (objects, 5 or 6): class_id, xmin, ymin, xmax, ymax[, difficult].
    """
    precision = AveragePrecision(num_classes, overlap_threshold)
    for data, labels in batches:
        for detections, truth in zip(detector.detect(data), labels, strict=True):
            precision.add(detections, truth)
    return precision.result()
