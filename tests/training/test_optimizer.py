"""One update of each optimizer against its published formula, in numpy."""

import mxnet as mx
import numpy as np
import pytest

from sagemaker_ssd.training.optimizer import Optimizer, OptimizerSettings, OptimizerState

WEIGHT = np.array([1.0, -2.0, 3.0], dtype=np.float32)
GRADIENT = np.array([0.5, 0.25, -4.0], dtype=np.float32)


def graph() -> mx.sym.Symbol:
    plain = mx.sym.Variable("a_weight")
    bias = mx.sym.Variable("b_bias", attr={"__lr_mult__": "2.0"})
    scale = mx.sym.Variable("c_scale", attr={"__wd_mult__": "0.1"})
    return mx.sym.Group([plain, bias, scale])


def updated(settings: OptimizerSettings, *, rate: float, steps: int = 1, devices: int = 1) -> dict[str, np.ndarray]:
    names = ["a_weight", "b_bias", "c_scale"]
    optimizer = Optimizer(settings, graph(), names, devices)
    weights = [[mx.nd.array(WEIGHT) for _ in range(devices)] for _ in names]
    for _ in range(steps):
        gradients = [[mx.nd.array(GRADIENT * devices) for _ in range(devices)] for _ in names]
        optimizer.step(gradients, weights, rate)
    for of_name in weights:
        for other in of_name[1:]:
            np.testing.assert_array_equal(of_name[0].asnumpy(), other.asnumpy())
    return {name: weights[k][0].asnumpy() for k, name in enumerate(names)}


@pytest.mark.parametrize("devices", [1, 2])
def test_sgd_with_momentum_and_the_graphs_multipliers(devices: int):
    settings = OptimizerSettings("sgd", 0.1, momentum=0.9, weight_decay=0.5)
    found = updated(settings, rate=0.1, steps=2, devices=devices)

    def by_hand(rate: float, decay: float) -> np.ndarray:
        weight, velocity = WEIGHT.copy(), np.zeros(3)
        for _ in range(2):
            velocity = 0.9 * velocity - rate * (GRADIENT + decay * weight)
            weight = weight + velocity
        return weight

    np.testing.assert_allclose(found["a_weight"], by_hand(0.1, 0.5), rtol=1e-5)
    # Biases have twice the rate by the graph and no weight decay by MXNet's rule; the scale a tenth of it.
    np.testing.assert_allclose(found["b_bias"], by_hand(0.2, 0.0), rtol=1e-5)
    np.testing.assert_allclose(found["c_scale"], by_hand(0.1, 0.05), rtol=1e-5)


@pytest.mark.parametrize("devices", [1, 2])
def test_the_rate_of_parameters_that_start_anew_climbs(devices: int):
    settings = OptimizerSettings("sgd", 0.1, momentum=0.0, weight_decay=0.0, fresh=frozenset({"a_weight", "b_bias"}))
    found = updated(settings, rate=0.01, steps=2, devices=devices)
    # To four times that of the others after 75 updates: here one and two of them.
    moved = GRADIENT * 0.01 * (1 + 3 / 75 + 1 + 3 * 2 / 75)
    np.testing.assert_allclose(found["a_weight"], WEIGHT - moved, rtol=1e-5)
    np.testing.assert_allclose(found["b_bias"], WEIGHT - 2 * moved, rtol=1e-5)
    np.testing.assert_allclose(found["c_scale"], WEIGHT - GRADIENT * 0.01 * 2, rtol=1e-5)


@pytest.mark.parametrize(("before", "times"), [(74, 4.0), (500, 4.0), (29, 2.2)])
def test_it_goes_on_climbing_after_a_resumption(before: int, times: float):
    settings = OptimizerSettings("sgd", 0.1, momentum=0.0, weight_decay=0.0, fresh=frozenset({"a_weight"}))
    optimizer = Optimizer(settings, graph(), ["a_weight"], 1)
    optimizer.restore(OptimizerState({}, before))
    weight = mx.nd.array(WEIGHT)
    optimizer.step([[mx.nd.array(GRADIENT)]], [[weight]], 0.01)
    np.testing.assert_allclose(weight.asnumpy(), WEIGHT - times * 0.01 * GRADIENT, rtol=1e-5)


@pytest.mark.parametrize(("before", "times"), [(0, 1.04), (29, 2.2), (500, 4.0)])
def test_it_goes_on_climbing_where_what_the_servers_remembered_is_lost(before: int, times: float):
    settings = OptimizerSettings("sgd", 0.1, momentum=0.9, weight_decay=0.0, fresh=frozenset({"a_weight"}))
    optimizer = Optimizer(settings, graph(), ["a_weight"], 1)
    optimizer.begin(before)
    weight = mx.nd.array(WEIGHT)
    optimizer.step([[mx.nd.array(GRADIENT)]], [[weight]], 0.01)
    np.testing.assert_allclose(weight.asnumpy(), WEIGHT - times * 0.01 * GRADIENT, rtol=1e-5)
    # The next checkpoint counts them all.
    assert optimizer.state().updates == before + 1


def test_adam_corrects_moments_that_begin_anew_whatever_was_before():
    settings = OptimizerSettings("adam", 0.1, momentum=0.9, weight_decay=0.0)
    optimizer = Optimizer(settings, graph(), ["a_weight"], 1)
    optimizer.begin(500)
    weight = mx.nd.array(WEIGHT)
    optimizer.step([[mx.nd.array(GRADIENT)]], [[weight]], 0.1)
    expected = WEIGHT - 0.1 * GRADIENT / (np.abs(GRADIENT) + 1e-8)
    np.testing.assert_allclose(weight.asnumpy(), expected, rtol=1e-5)


def test_with_adam_all_parameters_have_one_rate():
    settings = OptimizerSettings("adam", 0.1, momentum=0.9, weight_decay=0.0, fresh=frozenset({"a_weight"}))
    found = updated(settings, rate=0.1)
    np.testing.assert_array_equal(found["a_weight"], found["c_scale"])


def test_the_rate_of_the_step_counts_not_that_of_the_settings():
    settings = OptimizerSettings("sgd", 0.1, momentum=0.0, weight_decay=0.0)
    np.testing.assert_allclose(updated(settings, rate=0.01)["a_weight"], WEIGHT - 0.01 * GRADIENT, rtol=1e-6)


def test_adam_ignores_weight_decay():
    settings = OptimizerSettings("adam", 0.1, momentum=0.9, weight_decay=0.5)
    # After one step the bias-corrected moments are the gradient and its square.
    expected = WEIGHT - 0.1 * GRADIENT / (np.abs(GRADIENT) + 1e-8)
    np.testing.assert_allclose(updated(settings, rate=0.1)["a_weight"], expected, rtol=1e-5)


def test_rmsprop_takes_the_rate_as_given_and_weight_decay():
    settings = OptimizerSettings("rmsprop", 0.1, momentum=0.9, weight_decay=0.5)
    gradient = GRADIENT + 0.5 * WEIGHT
    expected = WEIGHT - 0.1 * gradient / np.sqrt(0.1 * gradient**2 + 1e-8)
    np.testing.assert_allclose(updated(settings, rate=0.1)["a_weight"], expected, rtol=1e-4)


def test_adadelta_takes_no_rate_and_no_weight_decay():
    settings = OptimizerSettings("adadelta", 0.1, momentum=0.9, weight_decay=0.5)
    expected = WEIGHT - np.sqrt(1e-5) / np.sqrt(0.1 * GRADIENT**2 + 1e-5) * GRADIENT
    for rate in (0.1, 0.001):
        np.testing.assert_allclose(updated(settings, rate=rate)["a_weight"], expected, rtol=1e-5)


def test_clip_gradient():
    settings = OptimizerSettings("sgd", 0.1, momentum=0.0, weight_decay=0.0, clip_gradient=0.3)
    expected = WEIGHT - 0.1 * np.clip(GRADIENT, -0.3, 0.3)
    np.testing.assert_allclose(updated(settings, rate=0.1)["a_weight"], expected, rtol=1e-6)
