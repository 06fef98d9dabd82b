"""What a card computes against what the CPU computes: steps, updates, frozen layers, detections, several cards.

The functions take devices and compare them with a reference, so that they run on CPUs as well.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.check_gpu.findings import Finding, at_most
from sagemaker_ssd.scoring.detector import Detector, Weights
from sagemaker_ssd.ssd.graphs import detection_graph, saved_graph, training_graph
from sagemaker_ssd.ssd.initial_values import Parameters, fixed_gammas, initial_parameters, with_fixed_gammas
from sagemaker_ssd.ssd.network import Network
from sagemaker_ssd.training.optimizer import OptimizerSettings
from sagemaker_ssd.training.trainer import Replica, Trainer
from sagemaker_ssd.training.updates import HostUpdates, TrainedParameter

CLASSES: Final = 4
OPTIMIZERS: Final = ("sgd", "adam", "rmsprop", "adadelta")
# The layers that a job freezes by its default, or by the documentation's example for resnet-50.
FROZEN: Final = {"vgg-16": "^(conv1_|conv2_).*", "resnet-50": "^(bn_data|conv0|bn0|stage1).*"}
SGD: Final = OptimizerSettings("sgd", 0.001, momentum=0.9, weight_decay=0.0005)
# Of an image: from small to large, so that each feature map has anchors that match one.
OBJECTS: Final = 6
_UPDATES: Final = 3
_UPDATED_PARAMETERS: Final = 12
# Detections of each image that are looked for among the other device's, by their scores.
_LOOKED_FOR: Final = 100
# In fractions of the image, whose boxes may be without area.
_SAME_BOX: Final = 0.01
_SAME_SCORE: Final = 1e-3
# Of the pixels of `drawn_batch`, about.
_PIXEL_DEVIATION: Final = 70.0
# In standard deviations of what BatchNorm gives.
_SHIFT: Final = 2.0
# An array whose norm is smaller than this share of the largest one is compared with that share: one that is nearly zero
# is what rounding has left of larger ones. What updates have moved is also rounded as the values are that it is added
# to.
_LEAST_NORM: Final = 1e-6
_LEAST_MOVE: Final = 1e-3

Values = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Bounds:
    """The largest relative differences that rounding may make; matched: the least share of equal detections.

    gradient is of all parameters together, parameter of each one, both in the best of several batches; any_parameter
    is of each one in every batch. Where an activation is zero up to rounding, its ReLU is open on one device alone;
    where two anchors' losses are equal up to rounding, another one becomes a hard negative. Gradients then differ by
    what one activation or one anchor is worth, however small the rounding was.
    """

    gradient: float
    parameter: float
    any_parameter: float
    loss: float
    state: float
    update: float
    matched: float


# Between a card, which sums in another order, and the CPU; and between two CPU devices, which are one. Measured on a
# CPU, with oneDNN against MXNet's own kernels, for resnet-50 and vgg-16: gradients together 0.00004 and 0.0011, of a
# parameter 0.0008 and 0.0019 in its best batch. With pixels and parameters multiplied by 1 + 1e-5 x normal noise, some
# hundred times float32's rounding: 0.0007 and 0.0047 together, 0.017 and 0.008 of a parameter. Without the shifts of
# BatchNorm that `drawn_parameters` chooses, resnet-50 had 0.05 and 0.3.
GPU_BOUNDS: Final = Bounds(
    gradient=2e-2, parameter=5e-2, any_parameter=2e-1, loss=1e-3, state=1e-3, update=1e-4, matched=0.97
)
CPU_BOUNDS: Final = Bounds(
    gradient=1e-5, parameter=1e-4, any_parameter=1e-4, loss=1e-5, state=1e-5, update=1e-6, matched=1.0
)


def bounds_of(devices: Sequence[mx.Context]) -> Bounds:
    """Return the bounds for these devices against the CPU."""
    return CPU_BOUNDS if all(device.device_type == "cpu" for device in devices) else GPU_BOUNDS


def drawn_parameters(network: Network, seed: int = 7) -> Parameters:
    """Draw values with which every parameter has a gradient, and detections have scores that differ.

    A new network's heads are nearly zero, and so are the last convolutions of resnet-50's units. BatchNorm's shifts put
    half of the channels above zero and half below: few activations are so near to zero that rounding decides whether
    they pass their ReLU, which would change gradients a thousand times as much as rounding itself.
    """
    graph = saved_graph(network)
    drawn = initial_parameters(graph, network.image_shape, seed)
    chance = np.random.RandomState(seed)
    for name, values in drawn.arguments.items():
        if name.endswith("_cls_pred_conv_weight"):
            values *= 20
        elif name.endswith("_beta"):
            values[:] = chance.choice([-_SHIFT, _SHIFT], values.shape)
        elif name.endswith("_conv3_weight"):
            values[:] = mx.nd.random.normal(0, 0.3 * (2 / np.prod(values.shape[1:])) ** 0.5, values.shape)
    return Parameters(with_fixed_gammas(graph, drawn.arguments), drawn.states)


def drawn_batch(network: Network, images: int, seed: int) -> tuple[mx.nd.NDArray, NDArray[np.float32]]:
    """Draw images of coarse noise with objects; every second one is without an object.

    Returns pixels (images, 3, S, S) and labels (images, objects, 5).
    """
    chance, size = np.random.RandomState(seed), network.image_shape
    coarse = chance.uniform(0, 255, (images, 3, size // 20 + 1, size // 20 + 1))
    data = coarse.repeat(20, axis=2).repeat(20, axis=3)[:, :, :size, :size]
    data -= np.array(network.mean).reshape((1, 3, 1, 1))
    sides = np.linspace(0.1, 0.9, OBJECTS)[:, None] * chance.uniform(0.9, 1.1, (images, OBJECTS, 2))
    corners = chance.uniform(0, 1, sides.shape) * (1 - sides)
    classes = chance.randint(0, CLASSES, (images, OBJECTS, 1))
    label = np.concatenate([classes, corners, corners + sides], axis=2)
    label[1::2] = -1
    return mx.nd.array(data), label.astype(np.float32)


@dataclass(frozen=True)
class Step:
    """What a step of forward and backward gives: loss sums (3,), gradients and BatchNorm states by name."""

    sums: NDArray[np.float64]
    gradients: Values
    states: Values


class _Steps:
    """A training graph on a device, each of whose steps begins with the same parameters."""

    def __init__(self, network: Network, device: mx.Context, parameters: Parameters, images: int) -> None:
        graph = training_graph(network, empty_images=True)
        self._parameters = parameters
        self._replica = Replica(
            graph,
            device,
            batch_size=images,
            image_shape=network.image_shape,
            max_objects=OBJECTS,
            frozen=fixed_gammas(graph),
        )

    def step(self, data: mx.nd.NDArray, label: NDArray[np.float32]) -> Step:
        """Compute the losses, gradients and states of a batch."""
        self._replica.load(self._parameters.arguments, self._parameters.states)
        sums = self._replica.forward_backward(data, mx.nd.array(label))
        # For BatchNorm's states, see `Trainer.parameters`.
        mx.nd.waitall()
        return Step(
            sums.asnumpy().astype(np.float64), as_numpy(self._replica.gradients), as_numpy(self._replica.states)
        )


def as_numpy(arrays: Mapping[str, mx.nd.NDArray]) -> Values:
    """Return arrays of a device as numpy's."""
    return {name: array.asnumpy() for name, array in arrays.items()}


def difference(found: Values, expected: Values, least: float = _LEAST_NORM) -> float:
    """Return the largest distance of an array from what is expected, as a share of what is expected (L2 norms).

    least: the share of the largest norm that every array counts as at least.
    """
    shares, _ = _differences(found, expected, least)
    return float(np.max(shares))


def _differences(found: Values, expected: Values, least: float) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return of each array what `difference` returns of the largest, and whether its own norm is what it counts as."""
    norms = np.array([np.linalg.norm(value) for value in expected.values()], np.float64)
    floor = least * norms.max(initial=0.0) + float(np.finfo(np.float32).tiny)
    distances = np.array([np.linalg.norm(found[name] - value) for name, value in expected.items()], np.float64)
    return distances / np.maximum(norms, floor), norms >= floor


def _best_of_each(pairs: Sequence[tuple[Values, Values]]) -> float:
    """Return the largest distance of a gradient from what is expected, each in its best batch of those that show it."""
    shares, shown = (np.stack(of) for of in zip(*(_differences(*pair, _LEAST_NORM) for pair in pairs), strict=True))
    # A parameter whose gradient is nearly zero in a batch agrees there, whatever is wrong with it.
    hidden = ~shown & shown.any(axis=0)
    return float(np.max(np.min(np.where(hidden, np.inf, shares), axis=0)))


def whole_difference(found: Values, expected: Values) -> float:
    """Return the distance of all arrays together from what is expected, as a share of what is expected (L2 norms)."""
    distance = sum(float(np.linalg.norm(found[name] - value)) ** 2 for name, value in expected.items())
    norm = sum(float(np.linalg.norm(value)) ** 2 for value in expected.values())
    return float((distance / max(norm, float(np.finfo(np.float32).tiny))) ** 0.5)


def judge_steps(found: Sequence[Step], expected: Sequence[Step], bounds: Bounds, where: str) -> Iterator[Finding]:
    """Compare losses, gradients and BatchNorm states of the same steps on two devices, a step for each batch."""
    pairs = list(zip(found, expected, strict=True))
    count = len(pairs)
    losses = [float(np.abs(one.sums / other.sums - 1).max()) for one, other in pairs]
    together = [whole_difference(one.gradients, other.gradients) for one, other in pairs]
    each = [difference(one.gradients, other.gradients) for one, other in pairs]
    best = _best_of_each([(one.gradients, other.gradients) for one, other in pairs])
    # By numpy, whose least and greatest of values is not a number where one of them is none.
    yield at_most("losses of a step", where, np.min(losses), bounds.loss)
    yield at_most(f"gradients together, best of {count}", where, np.min(together), bounds.gradient)
    yield at_most(f"gradient of each parameter, best of {count}", where, best, bounds.parameter)
    yield at_most(f"gradient of each parameter, worst of {count}", where, np.max(each), bounds.any_parameter)
    if expected[0].states:
        states = [difference(one.states, other.states) for one, other in pairs]
        yield at_most("BatchNorm's mean and variance", where, np.max(states), bounds.state)


def compare_steps(
    network: Network, devices: Sequence[mx.Context], reference: mx.Context, *, images: int, batches: int
) -> Iterator[Finding]:
    """Compare losses, gradients and BatchNorm states of a step of training on every device with the reference's."""
    expected = drawn_steps(network, reference, images=images, batches=batches)
    for device in devices:
        found = drawn_steps(network, device, images=images, batches=batches)
        yield from judge_steps(found, expected, bounds_of(devices), f"{network.base_network} on {device}")


def drawn_steps(network: Network, device: mx.Context, *, images: int, batches: int) -> list[Step]:
    """Return a step of each of several drawn batches on a device, with the same drawn parameters."""
    steps = _Steps(network, device, drawn_parameters(network), images)
    return [steps.step(*drawn_batch(network, images, seed)) for seed in range(batches)]


def measure_gradients(network: Network, device: mx.Context, reference: mx.Context, *, images: int) -> Finding:
    """Say how far a step of training on a device is from the reference's, without a bound."""
    (found,), (expected,) = (drawn_steps(network, of, images=images, batches=1) for of in (device, reference))
    together = whole_difference(found.gradients, expected.gradients)
    each = difference(found.gradients, expected.gradients)
    losses = float(np.abs(found.sums / expected.sums - 1).max())
    return Finding(
        "a step in the precision of jobs (TF32 from Ampere on)",
        f"{network.base_network} on {device}",
        f"losses {losses:.2g}, gradients together {together:.2g}, of a parameter {each:.2g}",
    )


def check_frozen(network: Network, device: mx.Context, *, images: int) -> Finding:
    """Say whether a step leaves every frozen value as it is, to the bit, and changes every other.

    One whose gradient is zero may stay: biases do not decay, and not every feature map has an anchor that counts.
    """
    frozen = network.freeze(FROZEN[network.base_network])
    graph = training_graph(network, empty_images=True, frozen=frozen)
    parameters = drawn_parameters(network)
    fixed = frozen.arguments | fixed_gammas(graph)
    trainer = Trainer(
        graph,
        [device],
        SGD,
        batch_size=images,
        image_shape=network.image_shape,
        max_objects=OBJECTS,
        frozen=fixed,
    )
    trainer.load(parameters.arguments, parameters.states)
    trainer.step(*drawn_batch(network, images, 0), 0.001).read()
    arguments, states = (as_numpy(arrays) for arrays in trainer.parameters())
    frozen_states = {f"{layer}_moving_{kind}" for layer in frozen.batch_norms for kind in ("mean", "var")}
    before = as_numpy({**parameters.arguments, **parameters.states})
    after = {**arguments, **states}
    idle = {name for name, value in as_numpy(trainer.replicas[0].gradients).items() if not value.any()}
    stays = {name for name, value in after.items() if np.array_equal(value, before[name])}
    must_stay = {*fixed, *frozen_states}
    wrong = sorted(name for name in after if (name in stays) != (name in must_stay) and name not in stays & idle)
    found = f"{len(frozen.arguments)} frozen, {len(after) - len(stays)} moved, wrong: {len(wrong)}"
    found += f" ({' '.join(wrong[:2])} ...)" if wrong else ""
    where = f"{network.base_network} on {device}"
    return Finding("frozen layers stay, others move", where, found, "wrong: 0", not wrong)


def compare_detections(
    network: Network, devices: Sequence[mx.Context], reference: mx.Context, *, images: int, all_classes: bool = False
) -> Iterator[Finding]:
    """Compare the detections of every device with the reference's; all_classes: as of `detection_graph`."""
    expected = _detect(network, reference, images=images, all_classes=all_classes)
    for device in devices:
        found = _detect(network, device, images=images, all_classes=all_classes)
        shares = [_matched(one, other) for one, other in zip(found, expected, strict=True)]
        least = bounds_of(devices).matched
        yield Finding(
            f"the CPU's {_LOOKED_FOR} best detections of an image{', of all classes' if all_classes else ''}",
            f"{network.base_network} on {device}",
            f"{min(shares):.0%} found too",
            f"at least {least:.0%}",
            min(shares) >= least,
        )


def _detect(network: Network, device: mx.Context, *, images: int, all_classes: bool) -> list[NDArray[np.float32]]:
    """Return (D, 6) of each of some drawn images, as a device detects with drawn parameters."""
    parameters = drawn_parameters(network)
    if network.base_network == "resnet-50":
        # Detection goes by these states, a training step by those of its batch. Where all scores are 1, the order of
        # detections is chance.
        parameters.states["bn_data_moving_var"][:] = _PIXEL_DEVIATION**2
        for name, values in parameters.arguments.items():
            if name.endswith("_cls_pred_conv_weight"):
                values *= 0.1
    data, _ = drawn_batch(network, images, 0)
    arguments, states = (
        {name: array.as_in_context(device) for name, array in arrays.items()}
        for arrays in (parameters.arguments, parameters.states)
    )
    weights = Weights(device, arguments, states)
    graph = detection_graph(network, all_classes=all_classes)
    detector = Detector(graph, [weights], batch_size=images, image_shape=network.image_shape)
    return detector.detect(data)


def _matched(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Return the share of the expected detections (D, 6) of which there is one with their class, score and box."""
    wanted = expected[:_LOOKED_FOR]
    if not len(wanted):
        return 1.0 if not len(found) else 0.0
    same = np.abs(wanted[:, None, 2:] - found[:, 2:]).max(axis=2) <= _SAME_BOX
    same &= wanted[:, :1] == found[:, 0]
    same &= np.abs(wanted[:, 1:2] - found[:, 1]) <= _SAME_SCORE
    return float(same.any(axis=1).mean())


def compare_updates(name: str, device: mx.Context, reference: mx.Context) -> Finding:
    """Compare what an optimizer makes of the same gradients, several times, on a device and on the reference."""
    network = Network("resnet-50", 300, CLASSES)
    expected, found = (_updated(network, name, context) for context in (reference, device))
    bound = bounds_of([device]).update
    return at_most(f"{name}, {_UPDATES} updates of the same gradients", str(device), difference(found, expected), bound)


def _updated(network: Network, optimizer: str, device: mx.Context) -> Values:
    """Return what updates have added to some of a network's parameters."""
    graph = training_graph(network, empty_images=False)
    drawn = drawn_parameters(network).arguments
    by_size = sorted(drawn, key=lambda name: (drawn[name].size, name))
    names = [by_size[place] for place in np.linspace(0, len(by_size) - 1, _UPDATED_PARAMETERS).astype(int)]
    chance = np.random.RandomState(5)
    parameters = [
        TrainedParameter(name, [drawn[name].zeros_like().as_in_context(device)], [drawn[name].copyto(device)])
        for name in names
    ]
    updates = HostUpdates(OptimizerSettings(optimizer, 0.01, 0.9, 0.0005), graph, parameters, None)
    for _ in range(_UPDATES):
        for parameter in parameters:
            gradient = parameter.gradients[0]
            gradient[:] = mx.nd.array(chance.normal(0, 0.1, gradient.shape), ctx=device)
        updates.apply(1, 0.01)
    return {of.name: of.values[0].asnumpy() - drawn[of.name].asnumpy() for of in parameters}


def compare_together(network: Network, devices: Sequence[mx.Context]) -> Iterator[Finding]:
    """Compare a step that all devices share with the same images one after the other on the first of them."""
    count = len(devices)
    trainer = _drawn_trainer(network, devices, count)
    data, label = drawn_batch(network, count, 3)
    # Every image with objects, so that every device has gradients of each kind.
    label[1::2] = label[::2][: len(label[1::2])]
    trainer.step(data, label, 0.001).read()
    mx.nd.waitall()
    summed = [as_numpy(replica.gradients) for replica in trainer.replicas]
    after = [as_numpy(replica.arguments) for replica in trainer.replicas]
    del trainer
    alone = _Steps(network, devices[0], drawn_parameters(network), 1)
    expected: Values = {}
    for image in range(count):
        own = alone.step(data[image : image + 1], label[image : image + 1]).gradients
        # MultiBoxTarget's and the graph's choice of negatives are each device's own, as here.
        expected = {name: expected.get(name, np.float32(0)) + value for name, value in own.items()}
    bound = bounds_of(devices).parameter
    where = f"{network.base_network} on {' and '.join(map(str, devices))}"
    worst = np.max([difference(of_device, expected) for of_device in summed])
    yield at_most("gradients of all devices together, against one device", where, worst, bound)
    same = all(np.array_equal(after[0][name], of[name]) for of in after[1:] for name in of)
    yield Finding(
        "parameters after a step together", where, "the same bits" if same else "they differ", "the same bits", same
    )


def step_over_hosts(
    network: Network, devices: Sequence[mx.Context], rank: int, store: mx.kv.KVStore
) -> tuple[Trainer, mx.nd.NDArray, NDArray[np.float32]]:
    """Make this process's part of a step of `store`, an image each; return the trainer and all processes' images."""
    data, label = drawn_batch(network, 2 * len(devices), 4)
    label[1::2] = label[::2]
    trainer = _drawn_trainer(network, [devices[rank]], 1, store)
    trainer.step(data[rank : rank + 1], label[rank : rank + 1], 0.001, len(devices)).read()
    # A process that ended before its gradients are on the way would be waited for.
    mx.nd.waitall()
    return trainer, data[: len(devices)], label[: len(devices)]


def compare_over_hosts(
    network: Network, devices: Sequence[mx.Context], trainer: Trainer, data: mx.nd.NDArray, label: NDArray[np.float32]
) -> Finding:
    """Compare a step over several processes with the same step of one process on all devices."""
    found = as_numpy(trainer.parameters()[0])
    one = _drawn_trainer(network, devices, len(devices))
    before = as_numpy(one.parameters()[0])
    one.step(data, label, 0.001).read()
    expected = as_numpy(one.parameters()[0])
    moved, wanted = ({name: of[name] - before[name] for name in one.replicas[0].trained} for of in (found, expected))
    where = f"{network.base_network} on {' and '.join(map(str, devices))}"
    found_difference = difference(moved, wanted, _LEAST_MOVE)
    bound = bounds_of(devices).parameter
    return at_most("a step of dist_sync, a process each, against one process", where, found_difference, bound)


def _drawn_trainer(
    network: Network, devices: Sequence[mx.Context], images: int, store: mx.kv.KVStore | None = None
) -> Trainer:
    graph = training_graph(network, empty_images=True)
    parameters = drawn_parameters(network)
    trainer = Trainer(
        graph,
        devices,
        SGD,
        batch_size=images,
        image_shape=network.image_shape,
        max_objects=OBJECTS,
        frozen=fixed_gammas(graph),
        store=store,
    )
    trainer.load(parameters.arguments, parameters.states)
    return trainer
