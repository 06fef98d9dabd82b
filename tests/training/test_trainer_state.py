"""The state of a whole network in training: taken, put back, and the same on every device."""

import mxnet as mx
import numpy as np
import pytest

from sagemaker_ssd.scoring.detector import Detector, Weights
from sagemaker_ssd.ssd.graphs import detection_graph, saved_graph, training_graph
from sagemaker_ssd.ssd.initial_values import Parameters, initial_parameters
from sagemaker_ssd.ssd.network import Network
from sagemaker_ssd.training.optimizer import OptimizerSettings, OptimizerState
from sagemaker_ssd.training.state import TrainingState
from sagemaker_ssd.training.trainer import Trainer

NETWORK = Network("resnet-50", 300, num_classes=2)
ADAM = OptimizerSettings("adam", 0.001, momentum=0.0, weight_decay=0.0)
SGD = OptimizerSettings("sgd", 0.001, momentum=0.9, weight_decay=0.0005)
LABELS = np.array([[[1, 0.2, 0.2, 0.6, 0.7]], [[0, 0.1, 0.1, 0.4, 0.3]]], dtype=np.float32)


@pytest.fixture(scope="module")
def start() -> Parameters:
    return initial_parameters(saved_graph(NETWORK), 300, seed=5)


@pytest.fixture(scope="module")
def images() -> mx.nd.NDArray:
    return mx.nd.array(np.random.RandomState(3).uniform(0, 255, (2, 3, 300, 300)))


def trainer(settings: OptimizerSettings, devices: int) -> Trainer:
    return Trainer(
        training_graph(NETWORK, empty_images=False),
        [mx.cpu(number) for number in range(devices)],
        settings,
        batch_size=2,
        image_shape=300,
        max_objects=1,
        frozen=(),
    )


def values(state: TrainingState) -> dict[str, np.ndarray]:
    named = {**state.arguments, **state.states, **state.optimizer.arrays}
    return {name: array.asnumpy() for name, array in named.items()}


def through_a_file(state: TrainingState) -> TrainingState:
    def copied(arrays: dict[str, mx.nd.NDArray]) -> dict[str, mx.nd.NDArray]:
        return {name: mx.nd.array(array.asnumpy()) for name, array in arrays.items()}

    optimizer = OptimizerState(copied(state.optimizer.arrays), state.optimizer.updates)
    return TrainingState(copied(state.arguments), copied(state.states), optimizer)


@pytest.mark.parametrize(("settings", "devices"), [(SGD, 2), (ADAM, 1)], ids=["sgd on two devices", "adam on one"])
def test_a_trainer_that_goes_on_equals_one_that_never_stopped(
    start: Parameters, images: mx.nd.NDArray, settings: OptimizerSettings, devices: int
):
    straight = trainer(settings, devices)
    straight.load(start.arguments, start.states)
    straight.step(images, LABELS, 0.001).read()
    straight.broadcast_states()
    state = through_a_file(straight.state())
    straight.step(images, LABELS[::-1], 0.0005).read()

    resumed = trainer(settings, devices)
    assert resumed.fits(state)
    resumed.restore(state)
    resumed.step(images, LABELS[::-1], 0.0005).read()
    expected, found = values(straight.state()), values(resumed.state())
    assert expected.keys() == found.keys()
    assert [name for name in expected if not np.array_equal(expected[name], found[name])] == []
    assert resumed.state().optimizer.updates == 2


def test_states_are_of_the_whole_last_step(start: Parameters, images: mx.nd.NDArray):
    for _ in range(3):
        training = trainer(SGD, 1)
        training.load(start.arguments, start.states)
        training.step(images, LABELS, 0.01).read()
        # The first layer's, which the backward pass comes to last, while the losses are there before it begins.
        found = training.state().states["bn0_moving_mean"].asnumpy()
        mx.nd.waitall()
        expected = training.replicas[0].states["bn0_moving_mean"].asnumpy()
        assert expected.any()
        np.testing.assert_array_equal(found, expected)


def test_aligned_devices_detect_alike(start: Parameters, images: mx.nd.NDArray):
    training = trainer(SGD, 2)
    training.load(start.arguments, start.states)
    # Each device sees another image, so that their running means move apart.
    training.step(images, LABELS, 0.01).read()
    mx.nd.waitall()
    first, second = training.replicas
    name = "bn0_moving_mean"
    before = first.states[name].asnumpy()
    assert not np.array_equal(before, second.states[name].asnumpy())
    training.broadcast_states()
    np.testing.assert_array_equal(first.states[name].asnumpy(), before)
    for name, array in first.states.items():
        np.testing.assert_array_equal(array.asnumpy(), second.states[name].asnumpy(), err_msg=name)
    same = mx.nd.concat(images[:1], images[:1], dim=0)
    one, other = Detector(detection_graph(NETWORK), training.replicas, batch_size=2, image_shape=300).detect(same)
    # MXNet computes the last bits on cpu(1) otherwise than on cpu(0).
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_detector_in_the_trainers_memory_changes_nothing(start: Parameters, images: mx.nd.NDArray):
    graph, straight, between = detection_graph(NETWORK), trainer(SGD, 1), trainer(SGD, 1)
    for number in range(3):
        for training in (straight, between):
            if number == 0:
                training.load(start.arguments, start.states)
            # The last batch is smaller.
            training.step(images[: 2 - number // 2], LABELS[: 2 - number // 2], 0.001).read()
        found = Detector(graph, between.replicas, batch_size=2, image_shape=300).detect(images)
        arguments, states = straight.parameters()
        alone = Detector(graph, [Weights(mx.cpu(), arguments, states)], batch_size=2, image_shape=300).detect(images)
        assert len(found[0]) > 0
        for one, other in zip(found, alone, strict=True):
            np.testing.assert_array_equal(one, other)
    expected, found_state = values(straight.state()), values(between.state())
    assert [name for name in expected if not np.array_equal(expected[name], found_state[name])] == []


def test_a_state_of_another_network_or_optimizer_does_not_fit(start: Parameters):
    of_sgd = trainer(SGD, 1)
    of_sgd.load(start.arguments, start.states)
    momentum = {key: mx.nd.zeros(start.arguments[name].shape) for key, name in of_sgd._updates.array_names()}
    good = TrainingState(start.arguments, start.states, OptimizerState(momentum, 1))
    assert of_sgd.fits(good)
    assert not trainer(ADAM, 1).fits(good)
    without = {name: array for name, array in start.states.items() if name != "bn0_moving_var"}
    assert not of_sgd.fits(TrainingState(start.arguments, without, good.optimizer))
    other = {**start.arguments, "bn0_gamma": mx.nd.zeros((1,))}
    assert not of_sgd.fits(TrainingState(other, start.states, good.optimizer))
    # What the optimizer remembers is on the servers with dist_async.
    nothing = OptimizerState({}, 1)
    assert of_sgd.fits(TrainingState(start.arguments, start.states, nothing), optimizer=False)
    assert not of_sgd.fits(TrainingState(other, start.states, nothing), optimizer=False)
