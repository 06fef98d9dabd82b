"""An optimizer that goes on from its state makes the updates of one that was never interrupted, bit for bit."""

import mxnet as mx
import numpy as np
import pytest

from sagemaker_ssd.training.optimizer import Optimizer, OptimizerSettings, OptimizerState

NAMES = ["a_weight", "b_bias"]
SHAPES = [(3, 4), (5,)]
STEPS = 7
SETTINGS = {
    "sgd": OptimizerSettings("sgd", 0.1, momentum=0.9, weight_decay=0.01),
    "sgd without momentum": OptimizerSettings("sgd", 0.1, momentum=0.0, weight_decay=0.01),
    "adam": OptimizerSettings("adam", 0.1, momentum=0.9, weight_decay=0.01, clip_gradient=0.5),
    "rmsprop": OptimizerSettings("rmsprop", 0.1, momentum=0.9, weight_decay=0.01),
    "adadelta": OptimizerSettings("adadelta", 0.1, momentum=0.9, weight_decay=0.01),
}
KEPT = {
    "sgd": ["momentum"],
    "sgd without momentum": [],
    "adam": ["mean", "variance"],
    "rmsprop": ["mean_square"],
    "adadelta": ["mean_square_gradient", "mean_square_update"],
}
Weights = list[list[mx.nd.NDArray]]


def graph() -> mx.sym.Symbol:
    return mx.sym.Group([mx.sym.Variable(NAMES[0]), mx.sym.Variable(NAMES[1], attr={"__lr_mult__": "2.0"})])


def starting(devices: int) -> Weights:
    chance = np.random.RandomState(1)
    values = [chance.normal(size=shape) for shape in SHAPES]
    return [[mx.nd.array(value, ctx=mx.cpu(device)) for device in range(devices)] for value in values]


def train(optimizer: Optimizer, weights: Weights, steps: range) -> None:
    devices = len(weights[0])
    for step in steps:
        chance = np.random.RandomState(100 + step)
        gradients = [
            [mx.nd.array(gradient * devices, ctx=mx.cpu(device)) for device in range(devices)]
            for gradient in (chance.normal(size=shape) for shape in SHAPES)
        ]
        # As with a schedule, every step has another rate.
        optimizer.step(gradients, weights, 0.1 / (1 + step))


def uninterrupted(settings: OptimizerSettings, devices: int) -> tuple[Optimizer, Weights]:
    optimizer, weights = Optimizer(settings, graph(), NAMES, devices), starting(devices)
    train(optimizer, weights, range(STEPS))
    return optimizer, weights


def through_a_file(state: OptimizerState) -> OptimizerState:
    return OptimizerState({name: mx.nd.array(array.asnumpy()) for name, array in state.arrays.items()}, state.updates)


def interrupted(settings: OptimizerSettings, before: int, after: int) -> tuple[Optimizer, Weights]:
    """Make three steps on `before` devices, and the others on `after` devices by a new optimizer."""
    first, weights = Optimizer(settings, graph(), NAMES, before), starting(before)
    train(first, weights, range(3))
    state = through_a_file(first.state())
    second = Optimizer(settings, graph(), NAMES, after)
    weights = [[mx.nd.array(of[0].asnumpy(), ctx=mx.cpu(device)) for device in range(after)] for of in weights]
    second.restore(state)
    train(second, weights, range(3, STEPS))
    return second, weights


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 2), (1, 2), (2, 1)])
def test_an_interrupted_run_equals_an_uninterrupted_one(name: str, before: int, after: int):
    # The gradients are the same on each device, so that the number of devices changes nothing but the layout.
    expected, expected_weights = uninterrupted(SETTINGS[name], after)
    found, found_weights = interrupted(SETTINGS[name], before, after)
    for of_expected, of_found in zip(expected_weights, found_weights, strict=True):
        for one, other in zip(of_expected, of_found, strict=True):
            np.testing.assert_array_equal(one.asnumpy(), other.asnumpy())
    assert found.state().updates == expected.state().updates == STEPS
    assert found.state().arrays.keys() == expected.state().arrays.keys()
    for key, array in expected.state().arrays.items():
        np.testing.assert_array_equal(array.asnumpy(), found.state().arrays[key].asnumpy())


@pytest.mark.parametrize("name", SETTINGS)
def test_what_is_kept_is_named_by_parameter(name: str):
    optimizer, _ = uninterrupted(SETTINGS[name], devices=2)
    expected = {f"{slot}:{of}": shape for of, shape in zip(NAMES, SHAPES, strict=True) for slot in KEPT[name]}
    assert {key: array.shape for key, array in optimizer.state().arrays.items()} == expected
    assert [key for key, _ in optimizer.array_names()] == list(expected)


def test_adams_mean_and_variance_are_what_their_names_say():
    optimizer = Optimizer(SETTINGS["adam"], graph(), NAMES, 1)
    gradient = np.array([0.1, 0.2, -0.3, 0.0, 0.4], dtype=np.float32)
    optimizer.step([[mx.nd.zeros((3, 4))], [mx.nd.array(gradient)]], starting(1), 0.1)
    arrays = optimizer.state().arrays
    np.testing.assert_allclose(arrays["mean:b_bias"].asnumpy(), 0.1 * gradient, rtol=1e-6)
    np.testing.assert_allclose(arrays["variance:b_bias"].asnumpy(), 0.001 * gradient**2, rtol=1e-4)


def test_a_restored_state_is_a_copy():
    # Two devices must not update one array, and the caller's stays as it was.
    state = OptimizerState(
        {f"momentum:{name}": mx.nd.ones(shape) for name, shape in zip(NAMES, SHAPES, strict=True)}, 3
    )
    optimizer = Optimizer(SETTINGS["sgd"], graph(), NAMES, 1)
    optimizer.restore(state)
    train(optimizer, starting(1), range(1))
    assert all((array.asnumpy() == 1).all() for array in state.arrays.values())


def test_a_restored_state_moves_to_its_parameters_device():
    state = OptimizerState(
        {f"momentum:{name}": mx.nd.ones(shape) for name, shape in zip(NAMES, SHAPES, strict=True)}, 3
    )
    optimizer = Optimizer(SETTINGS["sgd"], graph(), NAMES, 2)
    optimizer.restore(state)
    train(optimizer, starting(2), range(1))
    kept = optimizer._update.states
    assert [kept[index].context for index in range(4)] == [mx.cpu(0), mx.cpu(1), mx.cpu(0), mx.cpu(1)]
