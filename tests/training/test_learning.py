"""That training learns: heads and extra layers find the objects of 16 drawn images on features of a random trunk.

The trunk's features are computed once, so that a network takes less than a minute. What is trained and scored is built
by the graphs, the optimizer and the metric of a job; only the trunk is cut out of the graphs.
"""

import json
from collections.abc import Callable

import cv2
import mxnet as mx
import numpy as np
import pytest

from plain_detection import assert_same_detections, detect_all_classes
from sagemaker_ssd.scoring.average_precision import AveragePrecision
from sagemaker_ssd.ssd.detect import anchor_boxes
from sagemaker_ssd.ssd.graphs import detection_graph, saved_graph, training_graph
from sagemaker_ssd.ssd.initial_values import initial_parameters
from sagemaker_ssd.ssd.network import Network, trunk
from sagemaker_ssd.training.optimizer import Optimizer, OptimizerSettings

SIZE, IMAGES, BATCH, CLASSES = 300, 16, 8, 3
# The maps on which the trunks are cut.
MAPS = {"vgg-16": ("relu4_3", "relu7"), "resnet-50": ("_plus12", "_plus15")}
COLOURS = ((220, 40, 40), (40, 200, 60), (50, 60, 230))
STEPS = {"vgg-16": 80, "resnet-50": 120}
# adam, which needs fewer steps than sgd.
RATE = {"vgg-16": 0.0005, "resnet-50": 0.001}
LEARNED = 0.8
Labels = np.ndarray


def drawn() -> tuple[np.ndarray, Labels]:
    """Draw images (n, 3, S, S), RGB, with one rectangle of each of two classes; their labels (n, 2, 5)."""
    random = np.random.default_rng(5)
    images, labels = [], []
    for _ in range(IMAGES):
        picture = random.integers(90, 160, (SIZE, SIZE, 3), np.uint8)
        rows = []
        for half, class_id in enumerate(random.permutation(CLASSES)[:2].tolist()):
            width, height = random.integers(60, 130, 2).tolist()
            left, top = 150 * half + int(random.integers(0, 150 - width)), int(random.integers(0, SIZE - height))
            cv2.rectangle(picture, (left, top), (left + width - 1, top + height - 1), COLOURS[class_id], -1)
            rows.append([class_id, left / SIZE, top / SIZE, (left + width) / SIZE, (top + height) / SIZE])
        images.append(picture.transpose(2, 0, 1))
        labels.append(rows)
    return np.array(images, np.float32), np.array(labels, np.float32)


def cut(graph: mx.sym.Symbol, maps: tuple[str, ...]) -> mx.sym.Symbol:
    """Return a graph in which the maps are inputs."""
    content = json.loads(graph.tojson())
    for node in content["nodes"]:
        if node["name"] in maps:
            node.update(op="null", inputs=[])
            node.pop("attrs", None)
    return mx.sym.load_json(json.dumps(content))


def with_a_broken_sign(graph: mx.sym.Symbol) -> mx.sym.Symbol:
    """Return a training graph whose box targets have the wrong sign: added where they are to be taken off."""
    content = json.loads(graph.tojson())
    (node,) = (node for node in content["nodes"] if node["name"] == "_minus0")
    node["op"] = "elemwise_add"
    return mx.sym.load_json(json.dumps(content))


def as_they_are(labels: Labels) -> Labels:
    return labels


def with_swapped_classes(labels: Labels) -> Labels:
    swapped = labels.copy()
    swapped[..., 0] = (labels[..., 0] + 1) % CLASSES
    return swapped


def average_precision_after_training(
    base_network: str,
    change_graph: Callable[[mx.sym.Symbol], mx.sym.Symbol] = lambda graph: graph,
    change_labels: Callable[[Labels], Labels] = as_they_are,
) -> float:
    network, maps = Network(base_network, SIZE, CLASSES), MAPS[base_network]
    values = initial_parameters(saved_graph(network), SIZE, seed=1)
    pixels, labels = drawn()
    pixels -= np.reshape(network.mean, (1, 3, 1, 1))
    features_by_name = trunk(base_network)
    layers = mx.sym.Group([features_by_name[name] for name in maps])
    given = {name: values.arguments[name] for name in layers.list_arguments() if name != "data"}
    states = {name: values.states[name] for name in layers.list_auxiliary_states()}
    bound = layers.bind(mx.cpu(), {**given, "data": mx.nd.zeros((BATCH, 3, SIZE, SIZE))}, aux_states=states)
    # With BatchNorm's statistics of these images: nothing has been learned of others.
    outputs = [
        [output.asnumpy() for output in bound.forward(is_train=True, data=mx.nd.array(pixels[begin : begin + BATCH]))]
        for begin in range(0, IMAGES, BATCH)
    ]
    features = {name: np.concatenate([of[k] for of in outputs]) for k, name in enumerate(maps)}

    graph = cut(change_graph(training_graph(network, empty_images=False)), maps)
    shapes = {name: (BATCH, *feature.shape[1:]) for name, feature in features.items()}
    inputs = {*maps, "label"}
    requests = {name: "null" if name in inputs else "write" for name in graph.list_arguments()}
    executor = graph.simple_bind(mx.cpu(), grad_req=requests, label=(BATCH, *labels.shape[1:]), **shapes)
    executor.copy_params_from(values.arguments, values.states, allow_extra_params=True)
    names = [name for name in graph.list_arguments() if name not in inputs]
    rate = RATE[base_network]
    optimizer = Optimizer(OptimizerSettings("adam", rate, momentum=0.0, weight_decay=0.0), graph, names, 1)
    taught = change_labels(labels)
    for step in range(STEPS[base_network]):
        chosen = slice(step * BATCH % IMAGES, step * BATCH % IMAGES + BATCH)
        for name, feature in features.items():
            executor.arg_dict[name][:] = feature[chosen]
        executor.arg_dict["label"][:] = taught[chosen]
        executor.forward(is_train=True)
        executor.backward()
        optimizer.step(
            [[executor.grad_dict[name]] for name in names], [[executor.arg_dict[name]] for name in names], rate
        )

    detecting = cut(detection_graph(network), maps)
    found = detecting.simple_bind(mx.cpu(), grad_req="null", **shapes)
    found.copy_params_from(executor.arg_dict, executor.aux_dict, allow_extra_params=True)
    assert_all_classes_are_those_of_plain_loops(network, executor, features)
    precision = AveragePrecision(CLASSES, 0.5)
    for begin in range(0, IMAGES, BATCH):
        chosen = slice(begin, begin + BATCH)
        detections, _ = found.forward(
            is_train=False, **{name: mx.nd.array(feature[chosen]) for name, feature in features.items()}
        )
        for rows, objects in zip(detections.asnumpy(), labels[chosen], strict=True):
            precision.add(rows[rows[:, 0] >= 0], objects)
    return precision.result().mean


def assert_all_classes_are_those_of_plain_loops(
    network: Network, trained: mx.executor.Executor, features: dict[str, np.ndarray]
) -> None:
    """Compare the detections of all classes of an anchor of one batch, with learned scores near 0 and 1."""
    graph = detection_graph(network, all_classes=True)
    internals = graph.get_internals()
    outputs = [graph[0], internals["cls_prob_output"], internals["multibox_loc_pred_output"]]
    detecting = cut(mx.sym.Group(outputs), MAPS[network.base_network])
    of_batch = {name: mx.nd.array(feature[:BATCH]) for name, feature in features.items()}
    shapes = {name: array.shape for name, array in of_batch.items()}
    bound = detecting.simple_bind(mx.cpu(), grad_req="null", **shapes)
    bound.copy_params_from(trained.arg_dict, trained.aux_dict, allow_extra_params=True)
    found, probabilities, locations = (output.asnumpy() for output in bound.forward(is_train=False, **of_batch))
    anchors = anchor_boxes(network)
    for rows, scores, offsets in zip(found, probabilities, locations, strict=True):
        expected = detect_all_classes(
            scores, offsets, anchors, nms_threshold=network.nms.threshold, nms_topk=network.nms.topk
        )
        assert_same_detections(rows[rows[:, 0] >= 0], expected, 1e-5)


@pytest.mark.long
@pytest.mark.parametrize("base_network", list(MAPS))
def test_training_learns(base_network: str):
    assert average_precision_after_training(base_network) > LEARNED


@pytest.mark.long
def test_it_does_not_with_a_broken_sign_in_the_box_targets():
    assert average_precision_after_training("resnet-50", change_graph=with_a_broken_sign) < LEARNED / 2


@pytest.mark.long
def test_it_does_not_with_swapped_class_ids():
    assert average_precision_after_training("resnet-50", change_labels=with_swapped_classes) < LEARNED / 2
