"""Starting values, and what a pattern freezes."""

import numpy as np
import pytest

from sagemaker_ssd.ssd.graphs import saved_graph
from sagemaker_ssd.ssd.initial_values import fixed_gammas, initial_parameters
from sagemaker_ssd.ssd.network import Network

RESNET_NETWORK, VGG_NETWORK = (Network(name, 300, num_classes=3) for name in ("resnet-50", "vgg-16"))
RESNET, VGG = saved_graph(RESNET_NETWORK), saved_graph(VGG_NETWORK)


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


def test_a_pattern_is_matched_from_the_names_start_over_the_whole_network():
    frozen = VGG_NETWORK.freeze(r"^(conv1_|conv2_).*").arguments
    assert frozen == {f"conv{layer}_{kind}" for layer in ("1_1", "1_2", "2_1", "2_2") for kind in ("weight", "bias")}
    # re.match: no ^ needed, and no match in the middle of a name.
    assert VGG_NETWORK.freeze("conv1_1_w").arguments == {"conv1_1_weight"}
    assert VGG_NETWORK.freeze("4_3_scale").arguments == frozenset()
    assert VGG_NETWORK.freeze("data|label").arguments == frozenset()
    assert VGG_NETWORK.freeze("false").arguments == frozenset()
    assert VGG_NETWORK.freeze(None).arguments == frozenset()


def test_a_batch_norm_is_frozen_when_both_its_parameters_are():
    assert RESNET_NETWORK.freeze("bn0_gamma").batch_norms == frozenset()
    assert RESNET_NETWORK.freeze("bn0_").batch_norms == {"bn0"}
    stage = RESNET_NETWORK.freeze("stage1_unit1_bn").batch_norms
    assert stage == {"stage1_unit1_bn1", "stage1_unit1_bn2", "stage1_unit1_bn3"}


def test_the_one_scale_that_the_graph_fixes():
    assert fixed_gammas(RESNET) == {"bn_data_gamma"}
    assert fixed_gammas(VGG) == frozenset()
