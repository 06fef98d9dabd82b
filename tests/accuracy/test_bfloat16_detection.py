"""The imitation of detection in bfloat16, by NumPy's arithmetic and beside the kernels where there are any."""

import mxnet as mx
import numpy as np
import pytest
from bfloat16_detection import imitated, rounded
from mxnet.contrib.amp.amp import bfloat16

from sagemaker_ssd.ssd.bfloat16 import weights_in_bfloat16
from sagemaker_ssd.ssd.graphs import detection_graph, saved_graph
from sagemaker_ssd.ssd.initial_values import initial_parameters
from sagemaker_ssd.ssd.network import Network
from sagemaker_ssd.ssd.number_formats import can_compute_bfloat16


def to_bfloat16(values: np.ndarray) -> np.ndarray:
    """Round to the upper 16 bits, to the even one where two are as near."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32)


def test_it_rounds_what_goes_into_a_convolution_and_what_comes_out():
    data, weight = (mx.sym.amp_cast(mx.sym.Variable(name), dtype=bfloat16) for name in ("data", "weight"))
    body = mx.sym.Convolution(data, weight, num_filter=4, kernel=(1, 1), no_bias=True)
    graph = rounded(mx.sym.amp_cast(mx.sym.Activation(body, act_type="relu"), dtype="float32"))
    random = np.random.default_rng(0)
    values, weights = random.normal(size=(1, 3, 5, 5)).astype("f"), random.normal(size=(4, 3, 1, 1)).astype("f")
    bound = graph.bind(mx.cpu(), {"data": mx.nd.array(values), "weight": mx.nd.array(weights)}, grad_req="null")
    found = bound.forward()[0].asnumpy()
    sums = np.einsum("oc,ncyx->noyx", to_bfloat16(weights)[:, :, 0, 0], to_bfloat16(values))
    # The order of three summands may move a sum across a border between two numbers.
    np.testing.assert_allclose(found, np.maximum(to_bfloat16(sums), 0), rtol=2**-7)
    assert (found == np.maximum(to_bfloat16(sums), 0)).mean() > 0.95
    assert (to_bfloat16(found) == found).all()


@pytest.mark.long
@pytest.mark.skipif(not can_compute_bfloat16(), reason="needs a CPU with AVX512")
@pytest.mark.parametrize("base_network", ["resnet-50", "vgg-16"])
def test_it_detects_as_the_kernels_do(base_network: str):
    network = Network(base_network, 300, 3)
    parameters = initial_parameters(saved_graph(network), 300, 0)
    data = mx.nd.array(np.random.default_rng(0).uniform(-100, 150, (1, 3, 300, 300)))

    def sums(graph: mx.sym.Symbol, arguments: dict[str, mx.nd.NDArray]) -> float:
        given = {**{name: arguments[name] for name in graph.list_arguments() if name != "data"}, "data": data}
        states = {name: parameters.states[name] for name in graph.list_auxiliary_states()}
        bound = graph.bind(mx.cpu(), given, aux_states=states, grad_req="null")
        return float(bound.forward()[1].asnumpy().sum())

    native = sums(detection_graph(network, "bfloat16"), weights_in_bfloat16(parameters.arguments))
    assert sums(imitated(network), parameters.arguments) == pytest.approx(native, rel=0.02)
