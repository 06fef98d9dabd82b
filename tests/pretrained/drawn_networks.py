"""Networks of other programs with random values, and what our trunks compute of the same pixels."""

from collections.abc import Sequence

import mxnet as mx
import numpy as np

from sagemaker_ssd.ssd.initial_values import Parameters
from sagemaker_ssd.ssd.resnet50 import resnet50
from sagemaker_ssd.ssd.vgg16 import vgg16

# GluonCV's transform of an image: over 255, minus the mean, over the deviation.
MEAN = np.array([0.485, 0.456, 0.406]).reshape((1, 3, 1, 1))
DEVIATION = np.array([0.229, 0.224, 0.225]).reshape((1, 3, 1, 1))
OUR_MEAN = np.array([123, 117, 104]).reshape((1, 3, 1, 1))
IMAGE = np.random.default_rng(3).integers(0, 256, size=(1, 3, 64, 96)) // np.array([1, 2, 3]).reshape((1, 3, 1, 1))


def normalised(image: np.ndarray) -> mx.nd.NDArray:
    return mx.nd.array((image / 255 - MEAN) / DEVIATION)


def framed() -> np.ndarray:
    """Return IMAGE in a frame of one pixel of our mean: what the zeros that our conv1_1 puts there stand for."""
    image = np.tile(OUR_MEAN.astype(float), (1, 1, IMAGE.shape[2] + 2, IMAGE.shape[3] + 2))
    image[:, :, 1:-1, 1:-1] = IMAGE
    return image


def draw_values(network: mx.gluon.Block, side: int) -> None:
    """Initialise, with biases and BatchNorms like a trained network's; some variances are near eps."""
    mx.random.seed(1)
    draw = np.random.default_rng(4)
    network.infer_shape(mx.nd.zeros((1, 3, side, side)))
    every = network.collect_params()
    for name, parameter in every.items():
        shape = parameter.shape
        # Drawing the 100 million values of a dense layer takes seconds; the product of two vectors is as good.
        parameter.initialize(init=mx.init.Zero() if "dense" in name else None)
        if "dense" in name and name.endswith("weight"):
            parameter.set_data(mx.nd.random.uniform(shape=(shape[0], 1)) * mx.nd.random.uniform(shape=(1, shape[1])))
        elif name.endswith("running_var"):
            parameter.set_data(mx.nd.array(10 ** draw.uniform(-5, 0, shape)))
        elif name.endswith("normalize_scale"):
            parameter.set_data(mx.nd.array(draw.uniform(5, 30, shape)))
        elif name.endswith(("bias", "beta", "running_mean")):
            parameter.set_data(mx.nd.array(draw.normal(0, 0.05, shape)))
    for name, parameter in every.items():
        if name.endswith("gamma") and parameter.shape != (3,):
            spread = every[name.replace("gamma", "running_var")].data().asnumpy()
            parameter.set_data(mx.nd.array(np.sqrt(spread + 1e-5) * draw.uniform(0.5, 1.5, spread.shape)))


def ours(base_network: str, parameters: Parameters, names: Sequence[str]) -> list[np.ndarray]:
    """Return our trunk's activations for IMAGE; vgg-16 reads it minus our mean, resnet-50 as it is."""
    data = mx.sym.Variable("data")
    trunk = resnet50(data) if base_network == "resnet-50" else vgg16(data)
    internals = mx.sym.Group(list(trunk.values())).get_internals()
    graph = mx.sym.Group([internals[f"{name}_output"] for name in names])
    image = IMAGE if base_network == "resnet-50" else IMAGE - OUR_MEAN
    wanted = {name: parameters.arguments[name] for name in graph.list_arguments() if name != "data"}
    executor = graph.bind(mx.cpu(), {"data": mx.nd.array(image)} | wanted, aux_states=parameters.states)
    return [output.asnumpy() for output in executor.forward(is_train=False)]
