"""Detections of all classes of an anchor: MXNet's graph beside plain loops."""

import json

import mxnet as mx
import numpy as np
import pytest

from plain_detection import CASES, assert_same_detections, detect_all_classes, drawn_predictions
from sagemaker_ssd.ssd.detect import detections_of_all_classes
from sagemaker_ssd.ssd.graphs import detection_graph
from sagemaker_ssd.ssd.heads import Predictions
from sagemaker_ssd.ssd.network import Network, NmsSettings


def detect(
    probabilities: np.ndarray, offsets: np.ndarray, anchors: np.ndarray, nms_topk: int, nms_threshold: float
) -> np.ndarray:
    """Return (B, K, 6) of probabilities (B, num_classes + 1, A)."""
    variables = {name: mx.sym.Variable(name) for name in ("locations", "classes", "anchors")}
    graph = detections_of_all_classes(
        Predictions(**variables, maps=()),
        variables["classes"],
        NmsSettings(nms_threshold, nms_topk),
        num_classes=probabilities.shape[1] - 1,
        num_anchors=len(anchors),
    )
    values = {"locations": offsets, "classes": probabilities, "anchors": anchors[None]}
    arrays = {name: mx.nd.array(value) for name, value in values.items()}
    (found,) = graph.bind(mx.cpu(), arrays, grad_req="null").forward(is_train=False)
    return found.asnumpy()


@pytest.mark.parametrize(("images", "classes", "anchors", "nms_topk", "nms_threshold", "spread"), CASES)
def test_detections_are_those_of_plain_loops(
    images: int, classes: int, anchors: int, nms_topk: int, nms_threshold: float, spread: float
) -> None:
    scores, offsets, boxes = drawn_predictions(images, classes, anchors, spread)
    probabilities = mx.nd.softmax(mx.nd.array(scores), axis=1).asnumpy()
    found = detect(probabilities, offsets, boxes, nms_topk, nms_threshold)
    assert found.shape == (images, min(nms_topk, anchors), 6)
    of_images = [rows[rows[:, 0] >= 0] for rows in found]
    for number, rows in enumerate(of_images):
        expected = detect_all_classes(
            probabilities[number], offsets[number], boxes, nms_threshold=nms_threshold, nms_topk=nms_topk
        )
        assert_same_detections(rows, expected, 1e-5)
        # What is left empty comes last.
        assert (found[number, len(rows) :] == -1).all()
    assert [len(rows) > 0 for rows in of_images] == [number != 1 for number in range(images)]


def test_an_anchor_is_detected_as_several_classes() -> None:
    """Of two anchors, one upon the other, each class keeps its better one; a third has only what just counts."""
    anchors = np.array([[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.25], [0.75, 0.75, 1, 1]], np.float32)
    probabilities = np.array([[[0.1, 0.295, 0.9801], [0.6, 0.3, 0], [0.295, 0.4, 0.0099], [0.005, 0.005, 0.01]]])
    offsets = np.zeros((1, 12), np.float32)
    (found,) = detect(probabilities, offsets, anchors, 400, 0.5)
    first, second, third = anchors
    # Both IoU, 0.5, and score, 0.01, are reached where they are equalled.
    np.testing.assert_allclose(found, [[0, 0.6, *first], [1, 0.4, *second], [2, 0.01, *third]], atol=1e-6)
    # Above that IoU all five stay, of which as many are left as there are anchors.
    (found,) = detect(probabilities, offsets, anchors, 400, 0.51)
    np.testing.assert_allclose(found, [[0, 0.6, *first], [1, 0.4, *second], [0, 0.3, *second]], atol=1e-6)


def test_lists_that_a_gpu_suppresses_are_whole_blocks() -> None:
    """The threads beyond the end of one would write into the next; on a CPU nothing shows it."""
    network = Network("resnet-50", 300, 20, NmsSettings(0.45, 400))
    graph = detection_graph(network, all_classes=True)
    described = json.loads(graph.tojson())["nodes"]
    _, shapes, _ = graph.get_internals().infer_shape(data=(2, 3, 300, 300))
    shape_of = dict(zip(graph.get_internals().list_outputs(), shapes, strict=True))
    lists = []
    for node in described:
        if node["op"] == "_contrib_box_nms":
            (source, *_), *_ = node["inputs"]
            length = shape_of[f"{described[source]['name']}_output"][-2]
            lists.append(int(node["attrs"].get("topk", length)))
    assert lists == [512, 512]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_predictions_that_are_no_numbers_are_no_detections(value: float) -> None:
    """As a diverged network gives them; MXNet's sort would read beyond its memory."""
    scores, offsets, boxes = drawn_predictions(1, 4, 300, 1.0)
    probabilities = mx.nd.softmax(mx.nd.array(scores), axis=1).asnumpy()
    probabilities[:, :, ::2] = np.nan
    offsets[:] = value
    (found,) = detect(probabilities, offsets, boxes, 400, 0.45)
    probabilities[:, :, ::2] = 0
    scores = np.sort(probabilities[0, 1:][probabilities[0, 1:] >= 0.01])[::-1]
    assert len(found) == 300
    np.testing.assert_array_equal(np.isin(found[:, 1], [*scores, -1]), True)
