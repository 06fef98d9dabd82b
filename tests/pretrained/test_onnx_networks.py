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
from sagemaker_ssd.ssd.initial_values import Parameters
from sagemaker_ssd.ssd.resnet50 import resnet50 as resnet50_trunk
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
    assert found.notes[0] == (
        "bn_data's mean and variance fitted to pixels of 0-255, on the assumption that the file reads RGB of 0-255 "
        "minus (123.675, 116.28, 103.53) over (58.395, 57.12, 57.375)"
    )
    assert found.notes[1].endswith("gamma fitted to eps 2e-05 instead of 1e-05")


def test_vgg16_of_the_zoos_kind(tmp_path: Path):
    model, maps = vgg16()
    found = converted_file(saved(model, tmp_path), "vgg-16", "given", tmp_path)
    assert_close("vgg-16", found, run(model, maps, frame=True))
    assert (found.layout, found.left_out, len(found.parameters.arguments)) == ("ONNX vgg16", (), 26)
    assert found.notes == (
        "conv1_1 fitted to pixels minus (123, 117, 104), on the assumption that the file reads RGB of 0-255 minus "
        "(123.675, 116.28, 103.53) over (58.395, 57.12, 57.375)",
    )


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


# What the pixels of a data set have: as they are, and minus ImageNet's mean.
AS_THEY_ARE, CENTRED = np.array([124.2, 116.8, 102.1]), np.array([0.6, 0.4, -1.3])
VARIANCE = np.array([3412.0, 3263.0, 3305.0])


def mxnets_resnet50(centre: np.ndarray, folder: Path) -> tuple[Path, Parameters]:
    """Let MXNet export its own resnet-50, which normalises pixels in bn_data; return its file and its values."""
    symbol = list(resnet50_trunk(mx.sym.Variable("data")).values())[-1]
    shapes, _, state_shapes = symbol.infer_shape(data=(1, 3, 64, 64))
    mx.random.seed(3)
    arguments = {
        name: mx.nd.random.normal(0, (2 / (shape[1] * shape[2] * shape[3])) ** 0.5, shape)
        if len(shape) == 4
        else mx.nd.random.uniform(0.5, 1.5, shape)
        for name, shape in zip(symbol.list_arguments(), shapes, strict=True)
        if name != "data"
    }
    states = {
        name: mx.nd.random.uniform(0.2, 1, shape)
        for name, shape in zip(symbol.list_auxiliary_states(), state_shapes, strict=True)
    }
    arguments["bn_data_gamma"] = mx.nd.ones((3,))
    states |= {"bn_data_moving_mean": mx.nd.array(centre), "bn_data_moving_var": mx.nd.array(VARIANCE)}
    path = folder / "exported"
    mx.onnx.export_model(symbol, arguments | states, [(1, 3, 224, 224)], [np.float32], str(path))
    return path, Parameters(arguments, states)


def test_mxnets_own_resnet50_reads_pixels_as_they_are(tmp_path: Path):
    path, parameters = mxnets_resnet50(AS_THEY_ARE, tmp_path)
    found = converted_file(path, "resnet-50", "given", tmp_path)
    assert found.notes == ("bn_data's mean and variance show that the file reads pixels of 0-255",)
    assert_close("resnet-50", found, ours("resnet-50", parameters, MAPS["resnet-50"]))


def test_a_resnet50_that_reads_pixels_minus_a_mean(tmp_path: Path):
    path, _ = mxnets_resnet50(CENTRED, tmp_path)
    found = converted_file(path, "resnet-50", "given", tmp_path)
    assert found.notes == (
        "bn_data's mean and variance fitted to pixels of 0-255: they show that the file reads these minus a mean, "
        "which is assumed to be (123.675, 116.28, 103.53)",
    )
    centre = found.parameters.states["bn_data_moving_mean"].asnumpy()
    np.testing.assert_allclose(centre - CENTRED, [123.675, 116.28, 103.53], rtol=1e-5)
    np.testing.assert_allclose(found.parameters.states["bn_data_moving_var"].asnumpy(), VARIANCE, rtol=1e-5)


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


def change_variance(model: onnx.ModelProto) -> None:
    """Of the BatchNorm behind the first convolution."""
    numbers = numpy_helper.to_array(model.graph.initializer[8]).copy()
    numbers[5] = -1
    model.graph.initializer[8].CopyFrom(numpy_helper.from_array(numbers, "w8"))


def change_eps(model: onnx.ModelProto) -> None:
    attribute(nodes_of(model, "BatchNormalization")[0], "epsilon").f = -3.0


def change_eps_without_end(model: onnx.ModelProto) -> None:
    attribute(nodes_of(model, "BatchNormalization")[3], "epsilon").f = float("inf")


def change_scale(model: onnx.ModelProto) -> None:
    """So small that the variance of bn_data is too large for float32."""
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.float32([1, 1e-30, 1]), "w0"))


def change_number(model: onnx.ModelProto) -> None:
    more = 10_001 - len(model.graph.node)
    model.graph.node.extend(helper.make_node("Relu", ["pixels"], [f"r{number}"]) for number in range(more))


def change_name(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.float32([1]), "x" * 1_000_000))


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
        (change_number, "^it has 10,001 nodes; 10,000 are allowed$"),
        (change_name, "^the name of an array has 1,000,000 characters; 1,000 are allowed$"),
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
        (
            change_variance,
            "w8 has variances that with an epsilon of 1e-05 give no finite scale; they must",
        ),
        (change_eps, "w3 has variances that with an epsilon of -3 give no finite scale"),
        (change_eps_without_end, "w.+ has variances that with an epsilon of inf give no finite scale"),
        (change_scale, "w3 has variances that with an epsilon of 0.001 give no finite scale"),
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


def test_a_file_that_begins_with_a_description(tmp_path: Path):
    """Written as all do it: version 3 of the format, then the description, as no other field stands between them."""
    model = onnx.ModelProto()
    model.CopyFrom(vgg16()[0])
    model.ClearField("producer_name")
    model.doc_string = "a network"
    path = saved(model, tmp_path)
    assert path.read_bytes()[:3] == b"\x08\x03\x32"
    assert converted_file(path, "vgg-16", "given", tmp_path).layout == "ONNX vgg16"


@pytest.mark.timeout(60)
def test_a_node_that_reads_what_it_makes_is_refused():
    """As the last one of a VGG-16: the walk to its dense layers had no end."""
    model = Zoo().vgg16((4096,)).model()
    place = [node.op_type for node in model.graph.node].index("Flatten")
    del model.graph.node[place + 1 :]
    model.graph.node[place].output[0] = model.graph.node[place].input[0]
    with pytest.raises(OtherStructureError, match=r"^Flatten 'n.+' makes what is there before it$"):
        find_trunk(model, "vgg-16")


def test_values_of_constants(tmp_path: Path):
    """What is stored may stand in a node in place of the list of stored tensors."""
    model = onnx.ModelProto()
    model.CopyFrom(vgg16()[0])
    tensor = model.graph.initializer.pop(3)
    model.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))
    del model.graph.input[[entry.name for entry in model.graph.input].index(tensor.name)]
    found, whole = (
        converted_file(saved(network, tmp_path), "vgg-16", "given", tmp_path).parameters.arguments["conv1_2_bias"]
        for network in (model, vgg16()[0])
    )
    np.testing.assert_array_equal(found.asnumpy(), whole.asnumpy())


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
