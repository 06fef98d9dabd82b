"""The training graph in bfloat16 beside the one in float32."""

from collections.abc import Collection

import cv2
import mxnet as mx
import numpy as np
import pytest

from sagemaker_ssd.ssd.bfloat16 import extra_width, predictions_in_bfloat16, weights_in_bfloat16
from sagemaker_ssd.ssd.graphs import detection_graph, saved_graph, training_graph
from sagemaker_ssd.ssd.initial_values import Parameters, initial_parameters
from sagemaker_ssd.ssd.network import Frozen, Network
from sagemaker_ssd.ssd.number_formats import can_compute_bfloat16

SIZE = 300
LABEL = np.array([[[1, 0.2, 0.2, 0.6, 0.7]]], np.float32)
# bfloat16 keeps eight bits: a rounding changes a value by up to 1/256.
ROUNDING = 1 / 256
WITH_BFLOAT16 = pytest.mark.skipif(
    not can_compute_bfloat16(), reason="this CPU has no AVX512, without which MXNet has no bfloat16"
)


def parameters(network: Network) -> Parameters:
    start = initial_parameters(saved_graph(network), SIZE, seed=1)
    random = np.random.RandomState(2)
    # Residual units begin as identities, with which most gradients would be zero. Far from them a random network of
    # this depth is chaos: any rounding grows to a tenth of the result.
    for name, array in start.arguments.items():
        if name.endswith("conv3_weight"):
            array[:] = random.normal(0, 0.05 * (2 / array.shape[1]) ** 0.5, array.shape)
    return start


def bound(network: Network, graph: mx.sym.Symbol, start: Parameters) -> mx.executor.Executor:
    still = dict.fromkeys(("data", "label", "factors"), "null")
    requests = {name: still.get(name, "write") for name in graph.list_arguments()}
    shapes = {"data": (1, 3, SIZE, SIZE), "label": LABEL.shape}
    taken = {name: shape for name, shape in shapes.items() if name in requests}
    executor = graph.simple_bind(mx.cpu(), grad_req=requests, **taken)
    executor.copy_params_from(start.arguments, start.states, allow_extra_params=True)
    # Soft blots: on noise, whose mean is all that is left in deep layers, BatchNorm would enlarge every rounding.
    blots = cv2.resize(np.random.RandomState(3).randint(0, 256, (12, 12, 3), np.uint8), (SIZE, SIZE))
    pixels = blots.transpose(2, 0, 1)[None].astype(np.float32)
    executor.arg_dict["data"][:] = pixels - np.reshape(network.mean, (1, 3, 1, 1))
    if "label" in executor.arg_dict:
        executor.arg_dict["label"][:] = LABEL
    return executor


def of_a_fixed_loss(
    network: Network, precision: str, start: Parameters, stored_statistics: Collection[str] = ()
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return predictions and gradients of a sum with random factors: mining would choose others by a rounding.

    precision: "float32", "bfloat16", or "rearranged": the graph of the latter, without its roundings.
    """
    # With the batch's own statistics a rounding in one of fifty layers grows tenfold.
    found = network.predictions(folded_scale=True, frozen_batch_norms=stored_statistics)
    if precision != "float32":
        rounding = {"dtype": "float32"} if precision == "rearranged" else {}
        found = predictions_in_bfloat16(found, network, trained=network.arguments(), **rounding)
    joined = mx.sym.Concat(mx.sym.Flatten(found.classes), mx.sym.Flatten(found.locations), dim=1)
    loss = mx.sym.MakeLoss(joined * mx.sym.Variable("factors"))
    executor = bound(network, mx.sym.Group([loss, mx.sym.BlockGrad(joined)]), start)
    random = np.random.RandomState(4)
    executor.arg_dict["factors"][:] = random.normal(0, 1, executor.arg_dict["factors"].shape)
    assert {array.dtype for array in [*executor.arg_arrays, *executor.aux_arrays]} == {np.float32}
    executor.forward(is_train=True)
    executor.backward()
    gradients = {name: array.asnumpy().ravel() for name, array in executor.grad_dict.items() if array is not None}
    return executor.outputs[1].asnumpy(), gradients


@pytest.mark.parametrize("base_network", ["vgg-16", "resnet-50"])
def test_the_graph_is_rearranged_without_another_result(base_network: str):
    network = Network(base_network, SIZE, num_classes=2)
    start = parameters(network)
    stored = {name.removesuffix("_moving_mean") for name in start.states if name.endswith("_moving_mean")}
    expected_predictions, expected = of_a_fixed_loss(network, "float32", start, stored)
    predicted, found = of_a_fixed_loss(network, "rearranged", start, stored)
    np.testing.assert_allclose(predicted, expected_predictions, atol=1e-5 * np.abs(expected_predictions).max())
    assert found.keys() == expected.keys()
    largest = max(np.abs(values).max() for values in expected.values())
    differences = {
        name: np.abs(found[name] - values).max() / np.abs(values).max()
        for name, values in expected.items()
        if np.abs(values).max() > 1e-4 * largest
    }
    assert len(differences) > 0.5 * len(expected)
    assert {name: difference for name, difference in differences.items() if difference > 1e-5} == {}


# By hand: the width is rounded up to even numbers and cut into equal even pieces of at most 32. 38 and 40 are 19 x 2
# and 2 x 20; 75 and 77 are 19 x 4 and 3 x 26; 152 and 154 are 19 x 8 and 7 x 22; 300 is 10 x 30, 19 one piece of 20.
@pytest.mark.parametrize(
    ("width", "extra"), [(38, 2), (40, 0), (75, 2), (152, 2), (150, 0), (300, 0), (64, 0), (19, 0), (10, 0), (1, 0)]
)
def test_maps_that_would_be_cut_into_narrow_pieces_are_widened(width: int, extra: int):
    assert extra_width(width) == extra


def test_layers_that_are_not_trained_are_not_widened():
    network = Network("vgg-16", SIZE, num_classes=2)
    pads = []
    for frozen in (Frozen(frozenset(), frozenset()), Frozen(frozenset({"conv4_2_weight"}), frozenset())):
        graph = training_graph(network, empty_images=False, precision_dtype="bfloat16", frozen=frozen)
        pads.append(graph.attr_dict()["conv4_2"]["pad"])
    assert pads == ["(1, 2)", "(1, 1)"]


@WITH_BFLOAT16
@pytest.mark.parametrize("base_network", ["vgg-16", "resnet-50"])
def test_detection_with_weights_rounded_once_is_that_of_float32_within_rounding(base_network: str):
    network = Network(base_network, SIZE, num_classes=2)
    start = parameters(network)
    sums = []
    for precision, arguments in (("float32", start.arguments), ("bfloat16", weights_in_bfloat16(start.arguments))):
        graph = detection_graph(network, precision)
        data = mx.nd.array(np.random.RandomState(3).uniform(-100, 100, (1, 3, SIZE, SIZE)))
        probabilities = graph.get_internals()["cls_prob_output"]
        wanted = {**arguments, "data": data}
        executor = probabilities.bind(
            mx.cpu(),
            args={name: wanted[name] for name in probabilities.list_arguments()},
            aux_states={name: start.states[name] for name in probabilities.list_auxiliary_states()},
            grad_req="null",
        )
        sums.append(executor.forward(is_train=False)[0].asnumpy())
    assert 0 < np.abs(sums[1] - sums[0]).max() < 0.05


@WITH_BFLOAT16
@pytest.mark.parametrize("base_network", ["vgg-16", "resnet-50"])
def test_predictions_and_gradients_are_those_of_float32_within_rounding(base_network: str):
    network = Network(base_network, SIZE, num_classes=2)
    start = parameters(network)
    expected_predictions, expected = of_a_fixed_loss(network, "float32", start)
    predicted, found = of_a_fixed_loss(network, "bfloat16", start)
    assert predicted.dtype == np.float32
    difference = np.abs(predicted - expected_predictions).max() / np.abs(expected_predictions).max()
    # Bits of another format there must be, or nothing was cast.
    assert ROUNDING / 20 < difference < 8 * ROUNDING
    assert found.keys() == expected.keys()
    largest = max(np.linalg.norm(values) for values in expected.values())
    angles = {
        name: found[name] @ values / (np.linalg.norm(found[name]) * np.linalg.norm(values))
        for name, values in expected.items()
        # Scales before a BatchNorm have no gradient but the rounding of the others.
        if np.linalg.norm(values) > 1e-4 * largest
    }
    assert len(angles) > 0.7 * len(expected)
    assert {name: angle for name, angle in angles.items() if angle < 0.9} == {}
    assert np.median(list(angles.values())) > 0.97


@WITH_BFLOAT16
def test_frozen_batch_norms_and_images_without_objects_are_trained_in_bfloat16_too():
    network = Network("resnet-50", SIZE, num_classes=2)
    start = parameters(network)
    stored = frozenset({"bn_data", "bn0", "stage1_unit1_bn1"})
    more = {"empty_images": True, "frozen": Frozen(frozenset(), stored)}
    sums = []
    for precision in ("float32", "bfloat16"):
        graph = training_graph(network, precision_dtype=precision, **more)
        executor = bound(network, graph, start)
        executor.arg_dict["label"][:] = -1
        executor.forward(is_train=True)
        executor.backward()
        sums.append(executor.outputs[2].asnumpy())
        mx.nd.waitall()
        np.testing.assert_array_equal(
            executor.aux_dict["bn0_moving_mean"].asnumpy(), start.states["bn0_moving_mean"].asnumpy()
        )
        assert executor.grad_dict["conv0_weight"].asnumpy().any()
    np.testing.assert_allclose(sums[1], sums[0], rtol=4 * ROUNDING)
    assert sums[0][2] == 30


@pytest.mark.parametrize("base_network", ["vgg-16", "resnet-50"])
@pytest.mark.parametrize("image_shape", [300, 512])
def test_anchors_are_the_same(base_network: str, image_shape: int):
    network = Network(base_network, image_shape, num_classes=2)
    found = []
    for precision in ("float32", "bfloat16"):
        internals = training_graph(network, empty_images=False, precision_dtype=precision).get_internals()
        anchors = internals["multibox_anchors_output"]
        executor = anchors.simple_bind(mx.cpu(), grad_req="null", data=(1, 3, image_shape, image_shape))
        found.append(executor.forward()[0].asnumpy())
    np.testing.assert_array_equal(*found)


def test_a_precision_that_is_not_asked_for_leaves_the_graph_as_it_is():
    network = Network("resnet-50", SIZE, num_classes=2)
    plain = training_graph(network, empty_images=False).tojson(remove_amp_cast=False)
    assert "amp_cast" not in plain
    assert "amp_cast" in training_graph(network, empty_images=False, precision_dtype="bfloat16").tojson(
        remove_amp_cast=False
    )
