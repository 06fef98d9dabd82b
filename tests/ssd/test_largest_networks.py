"""The limits of hyperparameters that no machine can exceed: MXNet's arrays hold fewer than 2^31 - 1 numbers."""

import math

import mxnet as mx
import pytest

from sagemaker_ssd.contract.hyperparameter_values import LARGEST_IMAGE_SHAPES, LARGEST_NUM_CLASSES
from sagemaker_ssd.ssd.graphs import detection_graph
from sagemaker_ssd.ssd.network import Network

# 2^31 - 1 itself is refused; measured with an array of one byte a number.
HOLDS = 2**31 - 2


def test_the_limit_is_this_builds():
    assert not mx.runtime.Features().is_enabled("INT64_TENSOR_SIZE")
    with pytest.raises(mx.base.MXNetError, match=r"larger than 2\^31 elements"):
        mx.nd.empty((HOLDS + 1,), dtype="int8")


def largest_parameter(base_network: str, num_classes: int) -> int:
    graph = detection_graph(Network(base_network, 300, num_classes=num_classes))
    shapes, _, _ = graph.infer_shape(data=(1, 3, 300, 300))
    return max(math.prod(shape) for shape in shapes)


@pytest.mark.parametrize("base_network", LARGEST_NUM_CLASSES)
def test_so_many_classes_and_no_more_have_weights_that_an_array_holds(base_network: str):
    most = LARGEST_NUM_CLASSES[base_network]
    assert largest_parameter(base_network, most) <= HOLDS < largest_parameter(base_network, most + 1)


def largest_map(base_network: str, side: int) -> int:
    inside = detection_graph(Network(base_network, side, num_classes=1)).get_internals()
    _, shapes, _ = inside.infer_shape(data=(1, 3, side, side))
    return max(math.prod(shape) for shape in shapes)


@pytest.mark.parametrize("base_network", LARGEST_IMAGE_SHAPES)
def test_images_so_large_and_no_larger_have_maps_that_an_array_holds(base_network: str):
    side = LARGEST_IMAGE_SHAPES[base_network]
    assert largest_map(base_network, side) <= HOLDS < largest_map(base_network, side + 1)
