"""How objects fit the anchors: by hand, and on the anchors of the real networks."""

import numpy as np
import pytest

from sagemaker_ssd.scoring.evaluate import anchor_fit
from sagemaker_ssd.ssd.detect import anchor_boxes
from sagemaker_ssd.ssd.graphs import saved_graph
from sagemaker_ssd.ssd.network import Network


def test_by_hand():
    anchors = np.array([[0, 0, 0.2, 0.2], [0.5, 0.5, 1.1, 1.1]], np.float32)
    labels = [
        np.array([[0, 0, 0, 0.2, 0.11], [1, 0.3, 0.3, 0.4, 0.4]], np.float32),  # overlaps 0.55 and 0
        np.zeros((0, 5), np.float32),
        np.array([[0, 0.5, 0.5, 1, 1, 0], [0, 0, 0, 0.2, 0.09, 1]], np.float32),  # 0.25 / 0.36, and 0.45
    ]
    assert anchor_fit(labels, anchors, 100) == {
        "boxes": 4,
        "unmatched": 2,
        "smallest": 20.0,
        "below_smallest": 3,
        "overlap": 0.5,
    }


def test_without_objects():
    fit = anchor_fit([np.zeros((0, 5), np.float32)], np.array([[0, 0, 0.5, 0.5]], np.float32), 300)
    assert (fit["boxes"], fit["unmatched"], fit["below_smallest"]) == (0, 0, 0)


def test_of_many_objects_some_stand_for_all():
    anchors = np.array([[0, 0, 0.5, 0.5]], np.float32)
    fits = np.array([[0, 0, 0, 0.5, 0.5], [0, 0.6, 0.6, 0.9, 0.9]], np.float32)
    fit = anchor_fit([np.repeat(fits, 15_000, axis=0)], anchors, 300)
    assert (fit["boxes"], fit["unmatched"]) == (10_000, 5_000)


@pytest.mark.parametrize(("base_network", "shape", "smallest"), [("vgg-16", 300, 30.0), ("resnet-50", 320, 32.0)])
def test_the_anchors_are_those_of_the_graph(base_network: str, shape: int, smallest: float):
    network = Network(base_network, shape, 2)
    anchors = anchor_boxes(network)
    graph = saved_graph(network).get_internals()["multibox_anchors_output"]
    _, ((_, count, _),), _ = graph.infer_shape(data=(1, 3, shape, shape))
    assert anchors.shape == (count, 4)
    assert anchor_fit([np.zeros((0, 5), np.float32)], anchors, shape)["smallest"] == smallest
