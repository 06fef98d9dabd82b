"""Training steps of the real resnet-50 at 300 pixels on a CPU."""

import mxnet as mx
import numpy as np
import pytest

from sagemaker_ssd.scoring.detector import Detector
from sagemaker_ssd.ssd.graphs import detection_graph, saved_graph, training_graph
from sagemaker_ssd.ssd.initial_values import Parameters, initial_parameters
from sagemaker_ssd.ssd.network import Network
from sagemaker_ssd.training.optimizer import OptimizerSettings
from sagemaker_ssd.training.trainer import Trainer

NETWORK = Network("resnet-50", 300, num_classes=3)
SGD = OptimizerSettings("sgd", 0.001, momentum=0.9, weight_decay=0.0005)
EMPTY = np.full((1, 2, 5), -1, dtype=np.float32)
ONE_BOX = np.array([[[1, 0.2, 0.2, 0.6, 0.7], [-1, -1, -1, -1, -1]]], dtype=np.float32)
TWO_BOXES = np.array([[[0, 0.1, 0.1, 0.4, 0.3], [2, 0.5, 0.4, 0.9, 0.9]]], dtype=np.float32)


@pytest.fixture(scope="module")
def starting() -> Parameters:
    return initial_parameters(saved_graph(NETWORK), 300, seed=5)


@pytest.fixture(scope="module")
def images() -> mx.nd.NDArray:
    return mx.nd.array(np.random.RandomState(3).uniform(0, 255, (2, 3, 300, 300)))


def trainer(
    starting: Parameters,
    *,
    batch_size: int = 2,
    devices: int = 1,
    pattern: str | None = None,
    empty: bool = True,
) -> Trainer:
    frozen = NETWORK.freeze(pattern)
    graph = training_graph(NETWORK, empty_images=empty, frozen=frozen)
    made = Trainer(
        graph,
        [mx.cpu(number) for number in range(devices)],
        SGD,
        batch_size=batch_size,
        image_shape=300,
        max_objects=2,
        frozen=frozen.arguments,
    )
    made.load(starting.arguments, starting.states)
    return made


def gradients(of: Trainer) -> dict[str, np.ndarray]:
    return {name: array.asnumpy() for name, array in of.replicas[0].gradients.items()}


def values(of: Trainer) -> dict[str, np.ndarray]:
    arguments, states = of.parameters()
    return {name: array.asnumpy() for name, array in {**arguments, **states}.items()}


def unmoved(of: Trainer, starting: Parameters) -> set[str]:
    """Return the parameters, running statistics included, that are as at the start.

    Head biases are left out: on a map where no anchor was chosen they have no gradient and no weight decay.
    """
    before = {name: array.asnumpy() for name, array in {**starting.arguments, **starting.states}.items()}
    same = {name for name, value in values(of).items() if np.array_equal(value, before[name])}
    return {name for name in same if not (name.endswith("_bias") and name.startswith(("_plus", "multi_feat")))}


def test_images_without_objects_train_as_negatives(starting: Parameters, images: mx.nd.NDArray):
    training = trainer(starting)
    sums = training.step(images, np.concatenate([EMPTY, EMPTY]), 0.001).read()
    # Thirty background anchors an image count, and there is nothing to place.
    assert sums[2] == 60
    assert sums[1] == 0
    assert sums[0] > 0
    norms = {name: np.abs(gradient).max() for name, gradient in gradients(training).items()}
    assert norms["_plus12_cls_pred_conv_weight"] > 0
    assert norms["conv0_weight"] > 0
    assert norms["_plus12_loc_pred_conv_weight"] == 0


def test_the_genuine_graph_learns_nothing_from_them(starting: Parameters, images: mx.nd.NDArray):
    # Why the training graph has nodes of its own; with an image with a box beside it, only that one counts.
    training = trainer(starting, empty=False)
    assert training.step(images, np.concatenate([EMPTY, EMPTY]), 0.001).read()[2] == 0
    alone = trainer(starting, empty=False).step(images, np.concatenate([ONE_BOX, EMPTY]), 0.0).read()
    both = trainer(starting).step(images, np.concatenate([ONE_BOX, EMPTY]), 0.0).read()
    assert both[2] == alone[2] + 30
    assert both[1] == alone[1]


def test_logged_losses_by_numpy_from_the_genuine_graphs_outputs(starting: Parameters, images: mx.nd.NDArray):
    labels = np.concatenate([ONE_BOX, TWO_BOXES])
    sums = trainer(starting, empty=False).step(images, labels, 0.0).read()
    graph = saved_graph(NETWORK)
    # With gradients, since without them MXNet folds BatchNorm's stored statistics into the convolutions.
    executor = graph.simple_bind(mx.cpu(), data=images.shape, label=labels.shape, grad_req="write")
    executor.copy_params_from(starting.arguments, starting.states)
    executor.forward(is_train=True, data=images, label=mx.nd.array(labels))
    probabilities, location_losses, class_ids = (output.asnumpy() for output in executor.outputs[:3])
    image, anchor = np.nonzero(class_ids >= 0)
    chosen = probabilities[image, class_ids[image, anchor].astype(int), anchor]
    expected = [-np.log(chosen + 1e-8).sum(), location_losses.sum(), len(anchor)]
    np.testing.assert_allclose(sums, expected, rtol=1e-4)


def test_a_smaller_last_batch_gives_the_gradients_of_a_batch_of_that_size(starting: Parameters, images: mx.nd.NDArray):
    full = trainer(starting, batch_size=2)
    full.step(images, np.concatenate([ONE_BOX, TWO_BOXES]), 0.0).read()
    sums = full.step(images[:1], ONE_BOX, 0.0).read()
    alone = trainer(starting, batch_size=1)
    np.testing.assert_allclose(sums, alone.step(images[:1], ONE_BOX, 0.0).read(), rtol=1e-5)
    for name, gradient in gradients(alone).items():
        np.testing.assert_allclose(gradients(full)[name], gradient, rtol=1e-3, atol=1e-4 * np.abs(gradient).max())


def test_frozen_layers_are_out_of_the_backward_pass_and_keep_their_statistics(
    starting: Parameters, images: mx.nd.NDArray
):
    pattern = "^(bn_data|conv0|bn0|stage1_)"
    training = trainer(starting, pattern=pattern)
    for _ in range(2):
        training.step(images, np.concatenate([ONE_BOX, TWO_BOXES]), 0.01).read()
    frozen = {name for name in values(training) if name.startswith(("bn_data", "conv0", "bn0", "stage1_"))}
    assert unmoved(training, starting) == frozen
    assert "bn0_moving_mean" in frozen
    assert not any(name in frozen for name in training.replicas[0].gradients)


def test_without_a_pattern_every_layer_moves(starting: Parameters, images: mx.nd.NDArray):
    training = trainer(starting)
    # The residual units start as identities, so the layers inside them get gradients from the second step on.
    for _ in range(2):
        training.step(images, np.concatenate([ONE_BOX, TWO_BOXES]), 0.01).read()
    assert unmoved(training, starting) == set()


def test_two_devices_average_their_gradients(starting: Parameters, images: mx.nd.NDArray):
    # Each device gets the same image, so the average over two is what one of them has alone.
    twice = mx.nd.concat(images[:1], images[:1], dim=0)
    two = trainer(starting, devices=2)
    two.step(twice, np.concatenate([ONE_BOX, ONE_BOX]), 0.001).read()
    one = trainer(starting, batch_size=1)
    one.step(images[:1], ONE_BOX, 0.001).read()
    expected = values(one)
    for replica in two.replicas:
        for name, array in replica.arguments.items():
            np.testing.assert_allclose(array.asnumpy(), expected[name], rtol=1e-4, atol=1e-6)


def test_the_same_steps_give_the_same_bits(starting: Parameters, images: mx.nd.NDArray):
    def run() -> dict[str, np.ndarray]:
        training = trainer(starting)
        for labels in (np.concatenate([ONE_BOX, TWO_BOXES]), np.concatenate([EMPTY, ONE_BOX])):
            training.step(images, labels, 0.001).read()
        return values(training)

    first, second = run(), run()
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_new_detector_sees_the_parameters_of_now(starting: Parameters, images: mx.nd.NDArray):
    training = trainer(starting)

    def detect() -> np.ndarray:
        detector = Detector(detection_graph(NETWORK), training.replicas, batch_size=2, image_shape=300)
        return detector.detect(images)[0]

    before = detect()
    training.step(images, np.concatenate([ONE_BOX, TWO_BOXES]), 0.01).read()
    after = detect()
    # The saved graph's own detections, computed by Module, which knows nothing of this engine.
    arguments, states = training.parameters()
    module = mx.mod.Module(saved_graph(NETWORK), data_names=["data"], label_names=["label"])
    module.bind([("data", (2, 3, 300, 300))], [("label", (2, 2, 5))], for_training=False)
    module.set_params(arguments, states)
    labels = mx.nd.array(np.concatenate([ONE_BOX, ONE_BOX]))
    module.forward(mx.io.DataBatch([images], [labels]), is_train=False)
    expected = module.get_outputs()[3].asnumpy()[0]
    expected = expected[expected[:, 0] >= 0]
    assert len(after) == len(expected) > 0
    np.testing.assert_allclose(after, expected, atol=1e-4)
    assert before.shape != after.shape or np.abs(before - after).max() > 1e-3


def test_a_detector_takes_fewer_images_than_its_batch(starting: Parameters, images: mx.nd.NDArray):
    training = trainer(starting)
    detector = Detector(detection_graph(NETWORK), training.replicas, batch_size=2, image_shape=300)
    both, one = detector.detect(images), detector.detect(images[1:])
    assert [len(both), len(one)] == [2, 1]
    np.testing.assert_allclose(both[1], one[0], atol=1e-5)
