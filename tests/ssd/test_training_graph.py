"""What the training graph computes otherwise than the saved one, with the same result."""

import cv2
import mxnet as mx
import numpy as np
import pytest

from sagemaker_ssd.ssd.graphs import saved_graph, training_graph
from sagemaker_ssd.ssd.initial_values import Parameters, initial_parameters
from sagemaker_ssd.ssd.network import Network

SIZE = 300
# An object of the size of each map's anchors, so that every head has a gradient.
SIDES = (0.1, 0.2, 0.37, 0.54, 0.71, 0.88)
LABEL = np.array([[[number % 2, 0.05, 0.05, 0.05 + side, 0.05 + side] for number, side in enumerate(SIDES)]])
BLOTS = cv2.resize(np.random.RandomState(3).randint(0, 256, (12, 12, 3), np.uint8), (SIZE, SIZE))


def start(network: Network) -> Parameters:
    """Return parameters with which every layer has a gradient: residual units begin as identities, which have none."""
    values = initial_parameters(saved_graph(network), SIZE, seed=1)
    random = np.random.RandomState(2)
    for name, array in values.arguments.items():
        if name.endswith("conv3_weight") and network.base_network == "resnet-50":
            array[:] = random.normal(0, 0.05 * (2 / array.shape[1]) ** 0.5, array.shape)
        if name.endswith("_scale"):
            array[:] = random.uniform(10, 30, array.shape)
    return values


def stepped(network: Network, graph: mx.sym.Symbol, values: Parameters) -> dict[str, np.ndarray]:
    """Return the gradients and BatchNorm states after a forward and a backward pass."""
    requests = {name: "null" if name in ("data", "label") else "write" for name in graph.list_arguments()}
    executor = graph.simple_bind(mx.cpu(), grad_req=requests, data=(1, 3, SIZE, SIZE), label=LABEL.shape)
    executor.copy_params_from(values.arguments, values.states)
    pixels = BLOTS.transpose(2, 0, 1)[None].astype(np.float32)
    executor.arg_dict["data"][:] = pixels - np.reshape(network.mean, (1, 3, 1, 1))
    executor.arg_dict["label"][:] = LABEL
    executor.forward(is_train=True)
    executor.backward()
    mx.nd.waitall()
    found = {name: array.asnumpy() for name, array in executor.grad_dict.items() if array is not None}
    return found | {name: array.asnumpy() for name, array in executor.aux_dict.items()}


@pytest.mark.parametrize("base_network", ["vgg-16", "resnet-50"])
def test_gradients_are_those_of_the_saved_graph(base_network: str):
    network = Network(base_network, SIZE, num_classes=2)
    values = start(network)
    expected = stepped(network, saved_graph(network), values)
    found = stepped(network, training_graph(network, empty_images=False), values)
    assert found.keys() == expected.keys()
    assert sum(value.any() for value in expected.values()) > 0.9 * len(expected)
    for name, value in expected.items():
        # A scale that multiplies weights instead of the map changes the last bits.
        np.testing.assert_allclose(
            found[name], value, rtol=1e-3, atol=2e-4 * max(np.abs(value).max(), 1e-6), err_msg=name
        )
