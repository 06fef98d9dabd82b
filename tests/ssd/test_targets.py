"""Targets of images on which MXNet's own operator would end the process."""

import mxnet as mx
import numpy as np
import pytest

from sagemaker_ssd.ssd.heads import Predictions
from sagemaker_ssd.ssd.loss import targets

# Two anchors are the objects themselves, more than a quarter of all. The third overlaps the first object by exactly
# 0.5, and the fourth none.
ANCHORS = np.array([[[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], [0, 0, 0.5, 0.25], [0, 0.75, 0.25, 1]]], np.float32)
OBJECTS = np.array([[[1, 0, 0, 0.5, 0.5], [0, 0.5, 0.5, 1, 1], [-1, -1, -1, -1, -1]]], np.float32)


def class_targets(*, saved: bool) -> list[float]:
    predictions = Predictions(
        locations=mx.sym.Variable("locations"),
        classes=mx.sym.Variable("classes"),
        anchors=mx.sym.Variable("anchors"),
        maps=(),
    )
    graph = targets(predictions, mx.sym.Variable("label"), saved=saved)[2]
    values = {"anchors": ANCHORS, "label": OBJECTS, "classes": np.zeros((1, 3, 4), np.float32)}
    executor = graph.bind(mx.cpu(), {name: mx.nd.array(value) for name, value in values.items()})
    found: list[float] = executor.forward()[0].asnumpy()[0].tolist()
    return found


def test_an_overlap_of_exactly_a_half_beside_many_positives():
    assert class_targets(saved=False) == [2, 1, 0, 0]


def test_the_saved_graphs_targets_cannot_be_computed_there():
    # Were it otherwise, the difference between the graphs would not be needed any more.
    with pytest.raises(mx.MXNetError, match="num_negative"):
        class_targets(saved=True)
