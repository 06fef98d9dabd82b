"""Starting values, and those that the graph fixes."""

import numpy as np
import pytest

from sagemaker_ssd.ssd.graphs import saved_graph
from sagemaker_ssd.ssd.initial_values import fixed_gammas, initial_parameters
from sagemaker_ssd.ssd.network import Network

RESNET = saved_graph(Network("resnet-50", 300, num_classes=3))
VGG = saved_graph(Network("vgg-16", 300, num_classes=3))


@pytest.mark.parametrize("graph", [RESNET, VGG], ids=["resnet-50", "vgg-16"])
def test_every_parameter_has_a_value_and_the_seed_decides_it(graph):
    first, again, other = (initial_parameters(graph, 300, seed=seed) for seed in (1, 1, 2))
    assert set(first.arguments) == set(graph.list_arguments()) - {"data", "label"}
    assert set(first.states) == set(graph.list_auxiliary_states())
    head = next(name for name in first.arguments if name.endswith("_cls_pred_conv_weight"))
    values = [parameters.arguments[head].asnumpy() for parameters in (first, again, other)]
    assert np.array_equal(values[0], values[1])
    assert not np.array_equal(values[0], values[2])


def test_prescribed_and_scaled_values():
    vgg = initial_parameters(VGG, 300, seed=0).arguments
    assert np.all(vgg["relu4_3_scale"].asnumpy() == 20)
    assert np.all(vgg["relu7_cls_pred_conv_bias"].asnumpy() == 0)
    # He: the square root of 2 / (input channels x 9), and for the layer that reads pixels a 58th of it.
    deviation = {name: vgg[name].asnumpy().std() for name in ("conv1_1_weight", "conv3_2_weight")}
    assert deviation["conv1_1_weight"] == pytest.approx((2 / 27) ** 0.5 / 58, rel=0.1)
    assert deviation["conv3_2_weight"] == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.02)
    resnet = initial_parameters(RESNET, 300, seed=0)
    assert np.all(resnet.arguments["stage2_unit3_conv3_weight"].asnumpy() == 0)
    assert np.all(resnet.arguments["bn0_gamma"].asnumpy() == 1)
    assert np.all(resnet.states["bn0_moving_var"].asnumpy() == 1)
    shortcuts = [resnet.arguments[f"stage{stage}_unit1_sc_weight"].asnumpy().std() for stage in (2, 3)]
    assert shortcuts == pytest.approx([(2 / 256) ** 0.5, 0.3 * (2 / 512) ** 0.5], rel=0.02)


def test_the_one_scale_that_the_graph_fixes():
    assert fixed_gammas(RESNET) == {"bn_data_gamma"}
    assert fixed_gammas(VGG) == frozenset()
