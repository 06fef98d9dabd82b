"""Trainers of the small network, and what they hold."""

import mxnet as mx
import numpy as np

from sagemaker_ssd.training.optimizer import OptimizerSettings
from sagemaker_ssd.training.trainer import Trainer
from training.small_network import FROZEN, IMAGE_SHAPE, POSITIONS, Values, small_graph, small_images, small_values

SGD = OptimizerSettings("sgd", 0.1, momentum=0.9, weight_decay=0.02)


def trainer(devices: int, batch_size: int = 5, **more) -> Trainer:
    made = Trainer(
        small_graph(),
        [mx.cpu(number) for number in range(devices)],
        SGD,
        batch_size=batch_size,
        image_shape=IMAGE_SHAPE,
        max_objects=POSITIONS,
        frozen=FROZEN,
        **more,
    )
    made.load({name: mx.nd.array(value) for name, value in small_values().items()}, {})
    return made


def step(training: Trainer, numbers: list[int], rate: float = 0.1, images: int | None = None) -> np.ndarray:
    data, label = small_images(numbers)
    return training.step(mx.nd.array(data), label, rate, images).read()


def gradients(training: Trainer, device: int = 0) -> Values:
    return {name: array.asnumpy() for name, array in training.replicas[device].gradients.items()}


def weights(training: Trainer, device: int = 0) -> Values:
    return {name: array.asnumpy() for name, array in training.replicas[device].arguments.items()}


def assert_close(found: Values, expected: Values) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
