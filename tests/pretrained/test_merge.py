"""Given values in a network's starting values."""

import mxnet as mx
import numpy as np

from sagemaker_ssd.pretrained.merge import class_heads, merged
from sagemaker_ssd.ssd.graphs import saved_graph
from sagemaker_ssd.ssd.initial_values import Parameters, initial_parameters
from sagemaker_ssd.ssd.network import Network


def parameters(*names: str, value: float, states: tuple[str, ...] = ()) -> Parameters:
    return Parameters(
        {name: mx.nd.full((2,), value) for name in names}, {name: mx.nd.full((2,), value) for name in states}
    )


def test_what_fits_is_taken_and_the_rest_is_told():
    starting = parameters("a_weight", "b_weight", "c_weight", value=1, states=("s_moving_mean", "t_moving_mean"))
    given = parameters("a_weight", "x_weight", value=2, states=("s_moving_mean", "y_moving_mean"))
    given.arguments["b_weight"] = mx.nd.full((3,), 2)
    result = merged(starting, given)
    assert result.taken == ("a_weight", "s_moving_mean")
    assert result.missing == ("c_weight", "t_moving_mean")
    assert result.other_shape == ("b_weight",)
    assert result.unused == ("x_weight", "y_moving_mean")
    values = {**result.parameters.arguments, **result.parameters.states}
    assert {name: array.asnumpy().tolist() for name, array in values.items()} == {
        "a_weight": [2, 2],
        "b_weight": [1, 1],
        "c_weight": [1, 1],
        "s_moving_mean": [2, 2],
        "t_moving_mean": [1, 1],
    }
    # The starting values themselves stay what they were.
    assert starting.arguments["a_weight"].asnumpy().tolist() == [1, 1]


def test_only_a_fresh_fc6_behind_a_given_conv5_3_is_scaled():
    starting = parameters("conv5_3_weight", "fc6_weight", value=1)
    for names, expected in ((("conv5_3_weight",), 0.2), (("conv5_3_weight", "fc6_weight"), 3), ((), 1)):
        found = merged(starting, parameters(*names, value=3)).parameters.arguments["fc6_weight"]
        np.testing.assert_allclose(found.asnumpy(), expected, rtol=1e-6)


def test_class_heads_of_other_anchors_are_not_taken():
    """The fifth map has 4 anchors at 300 pixels and 6 at 512: 24 scores for 5 classes here and for 3 classes there."""
    of_five, of_three = (
        initial_parameters(saved_graph(Network("vgg-16", side, classes)), side, seed=1)
        for side, classes in ((300, 5), (512, 3))
    )
    head = "multi_feat_4_conv_3x3_relu_cls_pred_conv_weight"
    assert of_five.arguments[head].shape == of_three.arguments[head].shape
    result = merged(of_three, of_five)
    assert class_heads(result.taken) == ()
    assert set(class_heads(result.other_shape)) > {head}
    assert result.parameters.arguments[head] is of_three.arguments[head]
    # With as many anchors and as many classes they are.
    assert len(class_heads(merged(of_five, of_five).taken)) == 12
