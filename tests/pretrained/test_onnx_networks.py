"""Gluon's networks in ONNX, random values: as MXNet's exporter writes them, and as the ONNX model zoo's files are."""

from collections.abc import Callable
from pathlib import Path

import mxnet as mx
import numpy as np
import onnx
import onnxruntime
import pytest
from drawn_networks import IMAGE, draw_values, framed, normalised, ours
from mxnet.gluon.model_zoo import vision
from onnx import helper, numpy_helper

from sagemaker_ssd.errors import UserError
from sagemaker_ssd.pretrained.conversion import Converted, converted_file
from sagemaker_ssd.pretrained.onnx_networks import OtherStructureError, find_trunk
from zoo_files import Zoo, resnet50, saved, vgg16

MAPS = {"resnet-50": ["_plus12", "_plus15"], "vgg-16": ["relu4_3", "relu5_3"]}


def run(model: onnx.ModelProto, maps: list[str], *, frame: bool) -> list[np.ndarray]:
    """Run a graph in onnxruntime; frame: with the colour of our mean in place of the first convolution's zeros."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.output[:], changed.graph.value_info[:]
    changed.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in maps)
    if frame:
        first = next(node for node in changed.graph.node if node.op_type == "Conv")
        (pads,) = (attribute for attribute in first.attribute if attribute.name == "pads")
        pads.ints[:] = [0] * 4
    (name,) = {entry.name for entry in model.graph.input} - {tensor.name for tensor in model.graph.initializer}
    (entry,) = (entry for entry in changed.graph.input if entry.name == name)
    for dimension, text in zip(entry.type.tensor_type.shape.dim, ("n", "c", "h", "w"), strict=True):
        dimension.dim_param = text
    session = onnxruntime.InferenceSession(changed.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(maps, {name: normalised(framed() if frame else IMAGE).asnumpy()})


def assert_close(base_network: str, found: Converted, expected: list[np.ndarray]) -> None:
    for name, values, theirs in zip(
        MAPS[base_network], ours(base_network, found.parameters, MAPS[base_network]), expected, strict=True
    ):
        assert values.shape == theirs.shape, name
        assert theirs.std() > 0, name
        assert np.abs(values - theirs).max() < 1e-4 * np.abs(theirs).max(), name


def test_resnet50_of_the_zoos_kind(tmp_path: Path):
    model, maps = resnet50()
    found = converted_file(saved(model, tmp_path), "resnet-50", "given", tmp_path)
    assert_close("resnet-50", found, run(model, maps, frame=False))
    assert found.layout == "ONNX resnet50_v2"
    # What is behind the last sum: one BatchNorm.
    assert len(found.left_out) == 4
    assert "eps 2e-05 instead of 1e-05 or 0.001" in found.notes[1]


def test_vgg16_of_the_zoos_kind(tmp_path: Path):
    model, maps = vgg16()
    found = converted_file(saved(model, tmp_path), "vgg-16", "given", tmp_path)
    assert_close("vgg-16", found, run(model, maps, frame=True))
    assert (found.layout, found.left_out, len(found.parameters.arguments)) == ("ONNX vgg16", (), 26)


def test_dense_layers_are_found_behind_what_flattens(tmp_path: Path):
    """Of another size than ImageNet's they cannot be sub-sampled, and are named as in the file."""
    with pytest.raises(UserError) as caught:
        converted_file(saved(Zoo().vgg16((4096, 40)).model(), tmp_path), "vgg-16", "given", tmp_path)
    assert caught.value.sentence == (
        "given: of another shape: w26 is (4096, 512), must be (4096, 25088) or (4096, 512, 7, 7), "
        "w28 is (40, 4096), must be (4096, 4096) or (4096, 4096, 1, 1), w29 is (40,), must be (4096,)"
    )


def exported(network: mx.gluon.Block, folder: Path) -> Path:
    """Let MXNet's own exporter write a network; what it prints and converts is its own business."""
    path = folder / "exported"
    values = {name: parameter.data() for name, parameter in network.collect_params().items()}
    used = network(mx.sym.Variable("data"))
    wanted = {name: values[name] for name in (*used.list_arguments(), *used.list_auxiliary_states()) if name != "data"}
    mx.onnx.export_model(used, wanted, [(1, 3, 224, 224)], [np.float32], str(path))
    return path


def test_resnet50_v2_as_mxnet_exports_it(tmp_path: Path):
    network = vision.resnet50_v2(classes=7)
    draw_values(network, side=64)
    found = converted_file(exported(network, tmp_path), "resnet-50", "given", tmp_path)
    seen, output = [], normalised(IMAGE)
    for place in range(9):
        output = network.features[place](output)
        seen.append(output.asnumpy())
    assert_close("resnet-50", found, seen[7:])


def vgg_activations(features: mx.gluon.Block) -> list[np.ndarray]:
    seen, output = [], normalised(framed())
    features[0]._kwargs["pad"] = (0, 0)
    for place in range(30):
        output = features[place](output)
        seen.append(output.asnumpy())
    return [seen[22], seen[29]]


def test_vgg16_as_mxnet_exports_it_without_its_dense_layers(tmp_path: Path):
    features = mx.gluon.nn.HybridSequential()
    features.add(*vision.vgg16(classes=7).features[:31])
    draw_values(features, side=64)
    found = converted_file(exported(features, tmp_path), "vgg-16", "given", tmp_path)
    assert_close("vgg-16", found, vgg_activations(features))


@pytest.mark.long
def test_vgg16_as_mxnet_exports_it(tmp_path: Path):
    """More than half a gigabyte."""
    network = vision.vgg16(classes=7)
    draw_values(network, side=224)
    found = converted_file(exported(network, tmp_path), "vgg-16", "given", tmp_path)
    # Every fourth output, and of fc6 every third row and column: output 5, row 1, column 1 is row 3, column 3 of 20.
    fc6, fc7 = (network.features[place].weight.data().asnumpy() for place in (31, 33))
    arguments = found.parameters.arguments
    np.testing.assert_array_equal(arguments["fc6_weight"].asnumpy()[5, :, 1, 1], fc6[20].reshape((512, 7, 7))[:, 3, 3])
    np.testing.assert_array_equal(arguments["fc7_weight"].asnumpy()[5, :, 0, 0], fc7[20, ::4])
    assert arguments["fc6_bias"].shape == arguments["fc7_bias"].shape == (1024,)
    assert len(found.left_out) == 2
    assert_close("vgg-16", found, vgg_activations(network.features))


def nodes_of(model: onnx.ModelProto, kind: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == kind]


def attribute(node: onnx.NodeProto, name: str) -> onnx.AttributeProto:
    return next(entry for entry in node.attribute if entry.name == name)


def change_stride(model: onnx.ModelProto) -> None:
    attribute(nodes_of(model, "Conv")[9], "strides").ints[:] = [2, 2]


def change_dilation(model: onnx.ModelProto) -> None:
    attribute(nodes_of(model, "Conv")[3], "dilations").ints[:] = [2, 2]


def change_pool(model: onnx.ModelProto) -> None:
    attribute(nodes_of(model, "MaxPool")[0], "pads").ints[:] = [0, 0, 1, 1]


def change_activation(model: onnx.ModelProto) -> None:
    nodes_of(model, "Relu")[4].op_type = "Sigmoid"


def change_sum(model: onnx.ModelProto) -> None:
    nodes_of(model, "Add")[1].input[0] = nodes_of(model, "MaxPool")[0].output[0]


def change_gamma(model: onnx.ModelProto) -> None:
    (first,) = (tensor for tensor in model.graph.initializer if tensor.name == "w0")
    first.CopyFrom(numpy_helper.from_array(np.float32([1, 0, 1]), "w0"))


def change_values(model: onnx.ModelProto) -> None:
    model.graph.initializer[4].raw_data = b"\xff" * len(model.graph.initializer[4].raw_data)


def change_length(model: onnx.ModelProto) -> None:
    model.graph.initializer[4].raw_data = model.graph.initializer[4].raw_data[:-4]


def change_place(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[4]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def change_domain(model: onnx.ModelProto) -> None:
    model.graph.node[7].domain = "com.example"


def change_order(model: onnx.ModelProto) -> None:
    node = model.graph.node.pop(5)
    model.graph.node.append(node)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (change_order, "^Relu 'n6' reads what no node before it makes$"),
        (change_stride, "^Conv 'n.+' has strides \\[2, 2\\], and must have \\[1, 1\\]$"),
        (change_dilation, "^Conv 'n.+' has dilations \\[2, 2\\], and must have \\[1, 1\\]$"),
        (change_pool, "^MaxPool 'n4' has pads \\[0, 0, 1, 1\\], and must have \\[1, 1, 1, 1\\]$"),
        (change_activation, "^behind 't.+' there must be one Relu, and there is Sigmoid$"),
        (change_sum, "^Add 'n.+' does not add the shortcut of its residual unit$"),
        (change_domain, "^Conv 'n7' is no standard operator$"),
    ],
)
def test_what_computes_something_else_is_refused(change: Callable[[onnx.ModelProto], None], text: str):
    model = onnx.ModelProto()
    model.CopyFrom(resnet50()[0])
    find_trunk(model, "resnet-50")
    change(model)
    with pytest.raises(OtherStructureError, match=text):
        find_trunk(model, "resnet-50")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (change_gamma, "w0 has values of 0 or less"),
        (change_values, "'w4' holds values that are not finite numbers"),
        (change_length, "'w4' is damaged: its values do not have its shape"),
        (change_place, "'w4' is stored in another file"),
        (change_domain, "is no resnet50_v2 in ONNX: .+ is no standard operator. Accepted for base_network resnet-50: "),
    ],
)
def test_values_that_cannot_be_used_are_refused(change: Callable[[onnx.ModelProto], None], text: str, tmp_path: Path):
    model = onnx.ModelProto()
    model.CopyFrom(resnet50()[0])
    change(model)
    with pytest.raises(UserError, match=f"^given: {text}"):
        converted_file(saved(model, tmp_path), "resnet-50", "given", tmp_path)


def test_the_other_network_is_called_by_its_name(tmp_path: Path):
    with pytest.raises(UserError, match=r"^given: seems to be resnet-50 in ONNX, not vgg-16\. Accepted for "):
        converted_file(saved(resnet50()[0], tmp_path), "vgg-16", "given", tmp_path)


def test_a_truncated_file(tmp_path: Path):
    path = saved(resnet50()[0], tmp_path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError) as caught:
        converted_file(path, "resnet-50", "given", tmp_path)
    assert caught.value.sentence == (
        "given: it is an ONNX file, incomplete or damaged: it cannot be read to its end; copy or upload it again"
    )


def test_any_changed_byte_gives_a_sentence(tmp_path: Path):
    """Of the file without its values, so that no change leaves one that could be used."""
    model = onnx.ModelProto()
    model.CopyFrom(resnet50()[0])
    for tensor in model.graph.initializer:
        tensor.raw_data = b""
    path, content = tmp_path / "given", model.SerializeToString()
    draw = np.random.default_rng(6)
    for place in draw.integers(3, len(content), 200):
        changed = bytearray(content)
        changed[place] = (changed[place] + int(draw.integers(1, 256))) % 256
        path.write_bytes(changed)
        with pytest.raises(UserError, match=r"^given: "):
            converted_file(path, "resnet-50", "given", tmp_path)
