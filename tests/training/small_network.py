"""A network of a few thousand weights with the inputs and outputs of the training graph, and plain SGD in numpy.

Its images are 8x8, its "objects" are the class ids and boxes of the 4x4 positions; -1 is ignored, so that the loss of
a share is a mean over positions, not over images, as it is with the anchors of a real network.
"""

import mxnet as mx
import numpy as np

IMAGE_SHAPE, POSITIONS, CLASSES = 8, 16, 4
FROZEN = ("conv1_weight", "conv1_bias")
RATES = {"conv2_bias": 2.0}
# MXNet's own rule leaves everything without decay that is no weight or gamma.
DECAYS = {"conv2_weight": 1.0, "classes_weight": 1.0, "locations_weight": 1.0, "relu4_3_scale": 0.1}
Values = dict[str, np.ndarray]


def small_graph() -> mx.sym.Symbol:
    label = mx.sym.Variable("label")
    body = mx.sym.Convolution(mx.sym.Variable("data"), num_filter=8, kernel=(3, 3), pad=(1, 1), name="conv1")
    body = mx.sym.Convolution(
        mx.sym.relu(body),
        bias=mx.sym.Variable("conv2_bias", attr={"__lr_mult__": "2.0"}),
        **{"num_filter": 16, "kernel": (3, 3), "stride": (2, 2), "pad": (1, 1), "name": "conv2"},
    )
    scale = mx.sym.Variable("relu4_3_scale", shape=(1, 16, 1, 1), attr={"__wd_mult__": "0.1"})
    body = mx.sym.broadcast_mul(mx.sym.relu(body), scale)
    classes, locations = (
        mx.sym.Convolution(body, num_filter=4, kernel=(1, 1), name=name).reshape((0, 4, -1))
        for name in ("classes", "locations")
    )
    target = mx.sym.slice_axis(label, axis=2, begin=0, end=1).reshape((0, -1))
    counted = target >= 0
    probabilities = mx.sym.SoftmaxOutput(
        classes, target, ignore_label=-1, use_ignore=True, multi_output=True, normalization="valid"
    )
    boxes = mx.sym.transpose(mx.sym.slice_axis(label, axis=2, begin=1, end=5), axes=(0, 2, 1))
    losses = mx.sym.smooth_l1(mx.sym.broadcast_mul(locations - boxes, mx.sym.expand_dims(counted, axis=1)))
    entropy = -mx.sym.log(mx.sym.pick(probabilities, mx.sym.relu(target), axis=1) + 1e-8) * counted
    sums = [mx.sym.sum(values).reshape((1,)) for values in (entropy, losses, counted)]
    return mx.sym.Group(
        [
            probabilities,
            mx.sym.MakeLoss(losses, normalization="valid"),
            mx.sym.BlockGrad(mx.sym.Concat(*sums, dim=0), name="loss_sums"),
        ]
    )


def small_values() -> Values:
    graph, chance = small_graph(), np.random.RandomState(7)
    shapes, _, _ = graph.infer_shape(data=(1, 3, IMAGE_SHAPE, IMAGE_SHAPE), label=(1, POSITIONS, 5))
    named = zip(graph.list_arguments(), shapes, strict=True)
    return {
        name: chance.normal(0.3, 0.3, shape).astype(np.float32)
        for name, shape in named
        if name not in ("data", "label")
    }


def small_images(numbers: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Draw the images of these numbers: each with other values, and with another count of positions that count."""
    data, labels = [], []
    for number in numbers:
        chance = np.random.RandomState(1000 + number)
        data.append(chance.uniform(-1, 1, (3, IMAGE_SHAPE, IMAGE_SHAPE)))
        label = np.concatenate([chance.randint(0, CLASSES, (POSITIONS, 1)), chance.uniform(0, 1, (POSITIONS, 4))], 1)
        label[1 + number % 5 * 3 :] = -1
        labels.append(label)
    return np.array(data, np.float32), np.array(labels, np.float32)


def gradient(values: Values, numbers: list[int]) -> Values:
    """Return the gradients of these images, by an executor of this function's own."""
    data, label = small_images(numbers)
    arguments = {name: mx.nd.array(value) for name, value in {**values, "data": data, "label": label}.items()}
    found = {name: mx.nd.zeros(value.shape) for name, value in values.items() if name not in FROZEN}
    executor = small_graph().bind(mx.cpu(), args=arguments, args_grad=found)
    executor.forward(is_train=True)
    executor.backward()
    return {name: array.asnumpy() for name, array in found.items()}


def weighted_mean(values: Values, shares: list[list[int]]) -> Values:
    """Return the mean of the shares' gradients, each weighted by its part of all images."""
    images = sum(len(share) for share in shares)
    gradients = [(len(share) / images, gradient(values, share)) for share in shares if share]
    return {name: sum(part * of[name] for part, of in gradients) for name in gradients[0][1]}


class PlainSGD:
    """SGD with momentum, weight decay, clipped gradients and a rate that climbs for what starts anew, written out."""

    def __init__(self, momentum: float, weight_decay: float, clip: float = np.inf, fresh: tuple[str, ...] = ()) -> None:
        self._momentum, self._decay, self._clip, self._fresh = momentum, weight_decay, clip, fresh
        self._velocity: Values = {}
        self._updates = 0

    def update(self, values: Values, gradients: Values, rate: float) -> None:
        self._updates += 1
        for name, of in gradients.items():
            decay = self._decay * DECAYS.get(name, 0.0)
            rate_here = rate * RATES.get(name, 1.0) * (1 + 3 * self._updates / 75 if name in self._fresh else 1)
            step = rate_here * (np.clip(of, -self._clip, self._clip) + decay * values[name])
            self._velocity[name] = self._momentum * self._velocity.get(name, 0) - step
            values[name] = (values[name] + self._velocity[name]).astype(np.float32)
