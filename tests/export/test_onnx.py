"""The ONNX model in onnxruntime beside MXNet's own detection, on drawn pictures."""

import json
import re
from pathlib import Path

import cv2
import mxnet as mx
import numpy as np
import onnx
import onnxruntime
import pytest

from plain_detection import CASES, assert_same_detections, detect_all_classes, drawn_predictions
from sagemaker_ssd.contract.environment import ALL_CLASSES, BEST_CLASS
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.export.onnx import SCORE_THRESHOLD, Nodes, add_detection, file_bytes, write_onnx
from sagemaker_ssd.scoring.detector import Detector, Weights
from sagemaker_ssd.ssd.graphs import detection_graph, saved_graph
from sagemaker_ssd.ssd.initial_values import Parameters, initial_parameters
from sagemaker_ssd.ssd.network import Network, NmsSettings

NAMES = ["cat", "dog", "übel"]


def parameters(network: Network, heads: float = 0.003) -> Parameters:
    """Starting values with heads that say more than a guess, so that there is much to suppress.

    heads: the deviation of their weights; of a tenth of it no score is all but 1, and few are equal.
    """
    values = initial_parameters(saved_graph(network), network.image_shape, seed=1)
    random = np.random.RandomState(2)
    for name, array in values.arguments.items():
        if name.endswith("_pred_conv_weight"):
            array[:] = random.normal(0, heads, array.shape)
        # A scale that the graph fixes at 1 can have any value in a file.
        if name == "bn_data_gamma":
            array[:] = 0.5
        if name.endswith("cls_pred_conv_bias"):
            array[:] = random.normal(0, 1, array.shape)
    return values


def assert_same_rows(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Each row is in the other array: scores that are nearly equal may change places."""
    if not len(expected):
        return
    distances = np.abs(found[:, None] - expected[None]).max(2)
    # Of two that overlap and score the same but for the last bit, either may be the one that stays.
    assert (distances.min(0) < tolerance).mean() > 0.98
    assert (distances.min(1) < tolerance).mean() > 0.98


def session(model: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    ("base_network", "detections"),
    [
        ("vgg-16", BEST_CLASS),
        ("resnet-50", BEST_CLASS),
        pytest.param("vgg-16", ALL_CLASSES, marks=pytest.mark.long),
        pytest.param("resnet-50", ALL_CLASSES, marks=pytest.mark.long),
    ],
)
def test_detections_are_those_of_mxnet(base_network: str, detections: str, tmp_path: Path) -> None:
    network = Network(base_network, 300, num_classes=3)
    values = parameters(network, 0.003 if detections == BEST_CLASS else 0.0003)
    path = tmp_path / "model.onnx"
    write_onnx(path, network, values.arguments, values.states, NAMES, detections)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    counted = file_bytes(network, values.arguments, values.states, NAMES)
    assert counted - (1 << 18) < path.stat().st_size <= counted
    running = session(path.read_bytes())
    graph = detection_graph(network, all_classes=detections == ALL_CLASSES)
    detector = Detector(graph, [Weights(mx.cpu(), values.arguments, values.states)], batch_size=1, image_shape=300)
    blots = [np.random.RandomState(seed).randint(0, 256, (9, 9, 3)).astype(np.uint8) for seed in range(3)]
    images = np.stack([cv2.resize(one, (300, 300)).transpose(2, 0, 1) for one in blots]).astype(np.float32)
    # The same image twice, whose detections score the same.
    images = np.concatenate([images, images[:1]])
    alone = []
    for image in images:
        found, numbers = running.run(["detections", "image_numbers"], {"image": image[None]})
        (expected,) = detector.detect(mx.nd.array(image[None] - np.reshape(network.mean, (1, 3, 1, 1))))
        assert len(expected) > 20
        assert found.shape == expected.shape
        assert_same_rows(found, expected, 1e-4)
        assert numbers.tolist() == [0] * len(found)
        alone.append(found)
    found, numbers = running.run(None, {"image": images})
    assert numbers.tolist() == [number for number, rows in enumerate(alone) for _ in rows]
    for number, rows in enumerate(alone):
        assert_same_rows(found[numbers == number], rows, 1e-4)
        assert (np.diff(found[numbers == number, 1]) <= 0).all()


def test_the_metadata_tell_how_to_use_it(tmp_path: Path) -> None:
    network = Network("resnet-50", 300, num_classes=3, nms=NmsSettings(0.3, 50))
    values = parameters(network)
    write_onnx(tmp_path / "model.onnx", network, values.arguments, values.states, NAMES)
    facts = {entry.key: json.loads(entry.value) for entry in onnx.load(str(tmp_path / "model.onnx")).metadata_props}
    assert facts["classes"] == NAMES
    assert (facts["image_shape"], facts["mean"]) == (300, [0.0, 0.0, 0.0])
    assert (facts["nms_threshold"], facts["nms_topk"], facts["score_threshold"]) == (0.3, 50, SCORE_THRESHOLD)
    assert facts["detections"] == BEST_CLASS


def tail(anchors: np.ndarray, classes: int, *, nms_threshold: float, nms_topk: int, all_classes: bool = False) -> bytes:
    graph = onnx.helper.make_graph(
        [],
        "tail",
        [
            onnx.helper.make_tensor_value_info("classes", onnx.TensorProto.FLOAT, ("N", classes + 1, len(anchors))),
            onnx.helper.make_tensor_value_info("locations", onnx.TensorProto.FLOAT, ("N", 4 * len(anchors))),
        ],
        [
            onnx.helper.make_tensor_value_info("found", onnx.TensorProto.FLOAT, ("D", 6)),
            onnx.helper.make_tensor_value_info("numbers", onnx.TensorProto.INT64, ("D",)),
        ],
    )
    add_detection(
        Nodes(graph),
        classes="classes",
        locations="locations",
        anchors=anchors,
        nms_threshold=nms_threshold,
        nms_topk=nms_topk,
        all_classes=all_classes,
        output="found",
        image_output="numbers",
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=7)
    onnx.checker.check_model(model)
    return model.SerializeToString()


@pytest.mark.parametrize("nms_threshold", [0.1, 0.45, 1.0])
@pytest.mark.parametrize(("anchors", "nms_topk"), [(1, 400), (300, 400), (300, 40), (300, 1)])
@pytest.mark.parametrize("spread", [0.0, 1.0, 6.0])
@pytest.mark.parametrize("images", [1, 3])
def test_the_detection_is_that_of_multiboxdetection(
    images: int, nms_threshold: float, anchors: int, nms_topk: int, spread: float
) -> None:
    """Scores around the threshold, boxes past the border, more of them than are looked at, none at all."""
    random = np.random.RandomState(anchors + nms_topk)
    corners = random.uniform(-0.1, 0.8, (anchors, 2))
    boxes = np.hstack([corners, corners + random.uniform(0.05, 0.5, (anchors, 2))]).astype(np.float32)
    scores = random.normal(0, 1, (images, 5, anchors)).astype(np.float32) * spread
    # Of the second image nothing is found.
    scores[:, 0] += 4 + 10 * (np.arange(images) == 1)[:, None]
    offsets = random.normal(0, 0.7, (images, 4 * anchors)).astype(np.float32)
    probabilities = mx.nd.softmax(mx.nd.array(scores), axis=1)
    expected = mx.nd.contrib.MultiBoxDetection(
        probabilities,
        mx.nd.array(offsets),
        mx.nd.array(boxes[None]),
        nms_threshold=nms_threshold,
        nms_topk=nms_topk,
        variances=(0.1, 0.1, 0.2, 0.2),
    ).asnumpy()
    model = tail(boxes, 4, nms_threshold=nms_threshold, nms_topk=nms_topk)
    found, numbers = session(model).run(None, {"classes": scores, "locations": offsets})
    assert (np.diff(numbers) >= 0).all()
    for number, rows in enumerate(expected):
        rows = rows[rows[:, 0] >= 0]
        of_image = found[numbers == number]
        assert of_image.shape == rows.shape
        assert_same_rows(of_image, rows, 1e-5)
        assert (np.diff(of_image[:, 1]) <= 1e-6).all()


@pytest.mark.parametrize(("images", "classes", "anchors", "nms_topk", "nms_threshold", "spread"), CASES)
def test_all_classes_of_an_anchor_are_detected_as_in_plain_loops(
    images: int, classes: int, anchors: int, nms_topk: int, nms_threshold: float, spread: float
) -> None:
    scores, offsets, boxes = drawn_predictions(images, classes, anchors, spread)
    probabilities = mx.nd.softmax(mx.nd.array(scores), axis=1).asnumpy()
    model = tail(boxes, classes, nms_threshold=nms_threshold, nms_topk=nms_topk, all_classes=True)
    found, numbers = session(model).run(None, {"classes": scores, "locations": offsets})
    assert (np.diff(numbers) >= 0).all()
    for number in range(images):
        expected = detect_all_classes(
            probabilities[number], offsets[number], boxes, nms_threshold=nms_threshold, nms_topk=nms_topk
        )
        assert_same_detections(found[numbers == number], expected, 1e-5)


@pytest.mark.parametrize(("base_network", "classes"), [("vgg-16", 4000), ("resnet-50", 2600)])
def test_more_classes_than_a_file_can_hold_are_told(base_network: str, classes: int, tmp_path: Path) -> None:
    """Of gigabytes that are never touched, so that they take no memory."""
    network = Network(base_network, 300, classes)
    graph = detection_graph(network)
    shapes, _, state_shapes = graph.infer_shape(data=(1, 3, 300, 300))
    arguments = {name: mx.nd.empty(shape) for name, shape in zip(graph.list_arguments(), shapes, strict=True)}
    states = {name: mx.nd.empty(shape) for name, shape in zip(graph.list_auxiliary_states(), state_shapes, strict=True)}
    del arguments["data"]
    with pytest.raises(UserError) as caught:
        write_onnx(tmp_path / "model.onnx", network, arguments, states, ["x"] * classes)
    assert re.fullmatch(
        rf"a model of {base_network} with {classes:,} classes is about 2,[\d,]{{11}} bytes as ONNX, and an ONNX file "
        r"holds 2,147,483,647 at most: train with fewer classes, or use the model's own files \(predict, serve, the "
        r"deploy form\)",
        caught.value.sentence,
    )
    assert list(tmp_path.iterdir()) == []
