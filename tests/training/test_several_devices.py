"""Batches that several devices share unevenly: every image counts the same."""

import mxnet as mx
import numpy as np
import pytest

from sagemaker_ssd.errors import ProgramError
from sagemaker_ssd.ssd.graphs import saved_graph, training_graph
from sagemaker_ssd.ssd.initial_values import initial_parameters
from sagemaker_ssd.ssd.network import Network
from sagemaker_ssd.training.optimizer import OptimizerSettings
from sagemaker_ssd.training.schedule import Schedule, ServerSchedule
from sagemaker_ssd.training.trainer import Trainer
from training.small_network import PlainSGD, gradient, small_values, weighted_mean
from training.small_trainer import assert_close, gradients, step, trainer, weights

# How a batch is split over two devices.
SHARES = {
    5: [[0, 1], [2, 3, 4]],
    4: [[0, 1], [2, 3]],
    3: [[0, 1], [2]],
    1: [[], [0]],
}


@pytest.mark.parametrize("size", SHARES)
def test_the_gradient_is_the_mean_of_the_shares_by_their_images(size: int):
    two = trainer(2)
    sums = step(two, list(range(size)), rate=0.0)
    alone, expected = np.zeros(3), {}
    for share in filter(None, SHARES[size]):
        one = trainer(1)
        alone += step(one, share, rate=0.0)
        for name, of in gradients(one).items():
            expected[name] = expected.get(name, 0) + of * len(share) / size
    np.testing.assert_allclose(sums, alone, rtol=1e-6)
    for device in range(2):
        # The update divides their sum by the two devices.
        assert_close({name: of / 2 for name, of in gradients(two, device).items()}, expected)
    assert_close(weighted_mean(small_values(), SHARES[size]), expected)


def test_the_mean_of_uneven_shares_is_not_the_mean_of_the_devices():
    # Otherwise the test above could not tell them apart.
    first, second = (gradient(small_values(), share) for share in SHARES[5])
    expected = weighted_mean(small_values(), SHARES[5])
    name = "classes_weight"
    assert np.abs((first[name] + second[name]) / 2 - expected[name]).max() > 1e-3 * np.abs(expected[name]).max()


def test_batches_of_many_sizes_one_after_the_other_make_the_updates_of_sgd_in_numpy():
    two, values, optimizer = trainer(2), small_values(), PlainSGD(0.9, 0.02)
    for size in (5, 1, 4, 3, 1, 5):
        step(two, list(range(size)))
        optimizer.update(values, weighted_mean(values, SHARES[size]), 0.1)
        for device in range(2):
            assert_close(weights(two, device), values)


def test_the_same_image_twice_is_that_image_once():
    two, one = trainer(2, batch_size=2), trainer(1, batch_size=1)
    for _ in range(3):
        step(two, [3, 3])
        step(one, [3])
    assert_close(weights(two), weights(one))


def test_the_same_image_twice_is_that_image_once_in_vgg():
    network = Network("vgg-16", 300, num_classes=2)
    starting = initial_parameters(saved_graph(network), 300, seed=5)
    data = mx.nd.array(np.random.RandomState(3).uniform(-128, 128, (1, 3, 300, 300)))
    label = np.array([[[1, 0.2, 0.2, 0.6, 0.7]]], dtype=np.float32)
    frozen = network.freeze("^conv[123]_").arguments
    found = []
    for devices in (1, 2):
        made = Trainer(
            training_graph(network, empty_images=False),
            [mx.cpu(number) for number in range(devices)],
            OptimizerSettings("sgd", 0.001, momentum=0.9, weight_decay=0.0005),
            **{"batch_size": devices, "image_shape": 300, "max_objects": 1, "frozen": frozen},
        )
        made.load(starting.arguments, starting.states)
        made.step(mx.nd.concat(*[data] * devices, dim=0), np.concatenate([label] * devices), 0.001).read()
        found.append(weights(made))
    one, two = found
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=1e-4, atol=1e-4 * np.abs(value).max(), err_msg=name)
    assert np.abs(one["conv4_1_weight"] - starting.arguments["conv4_1_weight"].asnumpy()).max() > 0


@pytest.mark.parametrize("devices", [1, 2])
def test_a_step_without_images_still_decays_the_weights_and_follows_the_momentum(devices: int):
    training, values, optimizer = trainer(devices), small_values(), PlainSGD(0.9, 0.02)
    step(training, [0, 1])
    optimizer.update(values, weighted_mean(values, [[0], [1]] if devices == 2 else [[0, 1]]), 0.1)
    losses = training.step(None, None, 0.1)
    optimizer.update(values, {name: np.zeros_like(values[name]) for name in gradients(training)}, 0.1)
    np.testing.assert_array_equal(losses.read(), [0, 0, 0])
    assert_close(weights(training), values)


def test_a_share_of_a_step_weighs_as_much_as_its_part_of_all_images():
    for devices in (1, 2):
        training = trainer(devices)
        step(training, [0, 1], rate=0.0, images=6)
        shares = [[0], [1]] if devices == 2 else [[0, 1]]
        whole = weighted_mean(small_values(), shares)
        found = {name: of / devices for name, of in gradients(training).items()}
        assert_close(found, {name: of * 2 / 6 for name, of in whole.items()})


def test_a_step_cannot_have_fewer_images_than_this_host_gives():
    with pytest.raises(ProgramError, match="a step of 2 images of this host is said to have 1 over 1 hosts"):
        step(trainer(1), [0, 1], images=1)


def test_a_schedule_of_servers_needs_servers():
    schedule = ServerSchedule(Schedule(0.1), updates_per_epoch=1)
    with pytest.raises(ProgramError, match="the servers' schedule goes with dist_async"):
        trainer(1, schedule=schedule)
