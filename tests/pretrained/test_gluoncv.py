"""GluonCV's networks with random values: converted, our trunks give the same activations for the same pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from drawn_networks import IMAGE, draw_values, framed, normalised, ours
from gluoncv import model_zoo
from gluoncv.model_zoo.ssd.vgg_atrous import vgg16_atrous_300

from sagemaker_ssd.errors import UserError
from sagemaker_ssd.pretrained.conversion import Converted, converted

NAMINGS = ["structural", "prefixed", "stripped"]


@dataclass(frozen=True)
class Source:
    """A network's file in each naming, its values, and its activations for IMAGE under our layers' names."""

    files: dict[str, dict[str, mx.nd.NDArray]]
    values: dict[str, np.ndarray]
    activations: dict[str, np.ndarray]
    prefix: str


def written(network: mx.gluon.Block, folder: Path) -> dict[str, dict[str, mx.nd.NDArray]]:
    """Let gluon write the network's file in the three ways that it does or did, and read each."""
    network.save_parameters(str(folder / "structural"))
    network.collect_params().save(str(folder / "prefixed"))
    network.collect_params().save(str(folder / "stripped"), strip_prefix=network.prefix)
    return {naming: mx.nd.load(str(folder / naming)) for naming in NAMINGS}


def in_memory(network: mx.gluon.Block) -> dict[str, dict[str, mx.nd.NDArray]]:
    """Return what `written` does, without the half gigabyte a file."""
    structural, prefixed = network._collect_params_with_prefix(), network.collect_params()
    return {
        "structural": {name: parameter.data() for name, parameter in structural.items()},
        "prefixed": {f"arg:{name}": parameter.data() for name, parameter in prefixed.items()},
        "stripped": {name.removeprefix(network.prefix): parameter.data() for name, parameter in prefixed.items()},
    }


def values_of(network: mx.gluon.Block, *names: str) -> dict[str, np.ndarray]:
    return {name: network._collect_params_with_prefix()[name].data().asnumpy() for name in names}


@pytest.fixture(scope="module")
def atrous(tmp_path_factory) -> Source:
    network = vgg16_atrous_300()
    draw_values(network, side=300)
    files = written(network, tmp_path_factory.mktemp("atrous"))
    values = values_of(network, "norm4.scale", "stages.5.0.weight", "stages.0.0.weight", "stages.0.0.bias")
    seen: dict[str, mx.nd.NDArray] = {}
    network.stages[3].register_forward_hook(lambda _block, _inputs, output: seen.update(relu4_3=output))
    # The frame takes the place of the first convolution's zeros; the image is too small for the extra layers.
    network.stages[0][0]._kwargs["pad"] = (0, 0)
    network.extras._children.clear()
    seen["scaled"], seen["relu7"] = network(normalised(framed()))
    return Source(files, values, {name: output.asnumpy() for name, output in seen.items()}, network.prefix)


@pytest.fixture(scope="module")
def plain() -> Source:
    network = model_zoo.get_model("vgg16", pretrained=False, classes=7)
    draw_values(network, side=224)
    seen, output = {}, normalised(framed())
    network.features[0]._kwargs["pad"] = (0, 0)
    for place in range(30):
        output = network.features[place](output)
        seen[place] = output
    activations = {"relu4_3": seen[22].asnumpy(), "relu5_3": seen[29].asnumpy()}
    values = values_of(network, "features.31.weight", "features.33.weight", "features.33.bias")
    return Source(in_memory(network), values, activations, network.prefix)


@pytest.fixture(scope="module")
def resnet(tmp_path_factory) -> Source:
    network = model_zoo.get_model("resnet50_v2", pretrained=False)
    draw_values(network, side=64)
    files = written(network, tmp_path_factory.mktemp("resnet"))
    activations, output = {}, normalised(IMAGE)
    for place in range(9):
        output = network.features[place](output)
        activations[{7: "_plus12", 8: "_plus15"}.get(place, str(place))] = output.asnumpy()
    return Source(files, {}, activations, network.prefix)


def assert_same_activations(base_network: str, found: Converted, source: Source, names: Sequence[str]) -> None:
    for name, values in zip(names, ours(base_network, found.parameters, names), strict=True):
        expected = source.activations[name]
        assert expected.std() > 1e-3, name
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-4 * expected.std(), err_msg=name)


@pytest.mark.parametrize("naming", NAMINGS)
def test_vgg16_atrous(naming: str, atrous: Source):
    found = converted(atrous.files[naming], "vgg-16", "network.params")
    assert found.layout == "GluonCV vgg16_atrous"
    assert found.parameters.states == {}
    assert_same_activations("vgg-16", found, atrous, ["relu4_3", "relu7"])
    scaled = mx.nd.L2Normalization(mx.nd.array(atrous.activations["relu4_3"]), mode="channel")
    scaled = scaled * found.parameters.arguments["relu4_3_scale"]
    np.testing.assert_allclose(scaled.asnumpy(), atrous.activations["scaled"], rtol=1e-4, atol=1e-4)
    # 13 convolutions, fc6 and fc7 with weight and bias, and the scale: nothing of GluonCV's extra layers.
    assert len(found.parameters.arguments) == 31


@pytest.mark.parametrize("naming", NAMINGS)
def test_vgg16(naming: str, plain: Source):
    found = converted(plain.files[naming], "vgg-16", "network.params")
    assert found.layout == "GluonCV vgg16"
    assert_same_activations("vgg-16", found, plain, ["relu4_3", "relu5_3"])
    arguments = found.parameters.arguments
    # Output 5 of fc6 was output 20; its kernel's middle and last place were row 3, column 3 and row 6, column 6.
    row = plain.values["features.31.weight"][20].reshape((512, 7, 7))
    np.testing.assert_array_equal(arguments["fc6_weight"].asnumpy()[5, :, 1, 1], row[:, 3, 3])
    np.testing.assert_array_equal(arguments["fc6_weight"].asnumpy()[5, :, 2, 2], row[:, 6, 6])
    expected = plain.values["features.33.weight"][20, ::4]
    np.testing.assert_array_equal(arguments["fc7_weight"].asnumpy()[5, :, 0, 0], expected)
    assert arguments["fc7_bias"].asnumpy()[5] == plain.values["features.33.bias"][20]
    classifier = {"structural": "output", "prefixed": f"{plain.prefix}dense2", "stripped": "dense2"}[naming]
    assert found.notes[-1] == f"left out: {classifier}_bias, {classifier}_weight".replace("output_", "output.")


@pytest.mark.parametrize("naming", NAMINGS)
def test_resnet50_v2(naming: str, resnet: Source):
    found = converted(resnet.files[naming], "resnet-50", "network.params")
    assert found.layout == "GluonCV resnet50_v2"
    assert_same_activations("resnet-50", found, resnet, ["_plus12", "_plus15"])
    assert np.all(found.parameters.arguments["bn_data_gamma"].asnumpy() == 1)


def test_a_resnet50_v2_that_reads_pixels_as_they_are(resnet: Source):
    given = dict(resnet.files["structural"])
    centre, spread = np.array([124.2, 116.8, 102.1]), np.array([3412.0, 3263.0, 3305.0])
    given |= {"features.0.running_mean": mx.nd.array(centre), "features.0.running_var": mx.nd.array(spread)}
    found = converted(given, "resnet-50", "network.params")
    assert found.notes[0] == "bn_data's mean and variance show that the file reads pixels of 0-255"
    np.testing.assert_allclose(found.parameters.states["bn_data_moving_mean"].asnumpy(), centre, rtol=1e-6)
    np.testing.assert_allclose(found.parameters.states["bn_data_moving_var"].asnumpy(), spread, rtol=1e-6)


def test_a_stored_scale_that_the_network_does_not_use(resnet: Source):
    """Gluon's first BatchNorm has scale=False: it computes with 1, whatever is stored."""
    given = resnet.files["structural"] | {"features.0.gamma": mx.nd.array([3, 0, -2])}
    network = model_zoo.get_model("resnet50_v2", pretrained=False)
    draw_values(network, side=64)
    network.features[0].gamma.set_data(given["features.0.gamma"])
    output = normalised(IMAGE)
    for place in range(8):
        output = network.features[place](output)
    np.testing.assert_allclose(output.asnumpy(), resnet.activations["_plus12"], rtol=1e-4, atol=1e-4)
    assert_same_activations("resnet-50", converted(given, "resnet-50", "x"), resnet, ["_plus12", "_plus15"])


def test_a_variance_without_a_finite_scale_is_named_as_in_the_file(resnet: Source):
    given = dict(resnet.files["structural"])
    spread = given["features.2.running_var"].asnumpy()
    spread[7] = -1e-3
    given["features.2.running_var"] = mx.nd.array(spread)
    with pytest.raises(UserError) as caught:
        converted(given, "resnet-50", "network.params")
    assert caught.value.sentence == (
        "network.params: features.2.running_var has variances that with an epsilon of 1e-05 give no finite scale; they "
        "must be 0 or more, and more with the epsilon: copy the file again, or take an earlier checkpoint"
    )


def test_the_trunk_of_a_whole_detector():
    network = model_zoo.get_model("ssd_300_vgg16_atrous_custom", classes=["a"], pretrained=False, pretrained_base=False)
    draw_values(network, side=300)
    files = in_memory(network)
    for naming in ("structural", "prefixed"):
        found = converted(files[naming], "vgg-16", "network.params")
        assert found.layout == "GluonCV vgg16_atrous"
        assert len(found.parameters.arguments) == 31
        expected = files["structural"]["features.stages.5.2.weight"].asnumpy()
        np.testing.assert_array_equal(found.parameters.arguments["fc7_weight"].asnumpy(), expected)


def test_vgg16_atrous_without_what_the_detector_adds(atrous: Source):
    # The zoo's own file may have neither the extra layers nor the scales.
    given = {name: array for name, array in atrous.files["structural"].items() if name.startswith("stages.")}
    found = converted(given, "vgg-16", "network.params")
    whole = converted(atrous.files["structural"], "vgg-16", "network.params").parameters.arguments
    assert found.layout == "GluonCV vgg16_atrous"
    assert set(whole) - set(found.parameters.arguments) == {"relu4_3_scale"}
    for name in ("conv1_1_weight", "conv1_1_bias", "fc7_weight"):
        found_values = found.parameters.arguments[name].asnumpy()
        np.testing.assert_allclose(found_values, whole[name].asnumpy(), rtol=1e-5, atol=1e-6, err_msg=name)


def test_vgg16_atrous_without_fc6_and_fc7(atrous: Source):
    given = {name: array for name, array in atrous.files["structural"].items() if "stages.5." not in name}
    arguments = converted(given, "vgg-16", "network.params").parameters.arguments
    assert len(arguments) == 27
    assert not {"fc6_weight", "fc6_bias", "fc7_weight", "fc7_bias"} & set(arguments)


def test_convolutions_that_could_be_either_vgg16_are_refused(atrous: Source):
    given = {name: array for name, array in atrous.files["stripped"].items() if name.startswith("conv")}
    assert len(given) == 26
    with pytest.raises(UserError, match="is of an unknown layout"):
        converted(given, "vgg-16", "network.params")


def test_half_precision_becomes_single(resnet: Source):
    half = {name: array.astype("float16") for name, array in resnet.files["structural"].items()}
    found = converted(half, "resnet-50", "network.params").parameters
    assert {array.dtype for array in (*found.arguments.values(), *found.states.values())} == {np.float32}


def test_missing_and_misshapen_parameters_are_named_as_in_the_file(resnet: Source):
    given = dict(resnet.files["prefixed"])
    del given[f"{resnet.prefix}stage2_batchnorm4_gamma"]
    given[f"{resnet.prefix}conv0_weight"] = mx.nd.zeros((64, 3, 3, 3))
    with pytest.raises(UserError) as caught:
        converted(given, "resnet-50", "weights/zoo.params")
    assert caught.value.sentence == (
        "2 problems:\n"
        f"- weights/zoo.params: missing: {resnet.prefix}stage2_batchnorm4_gamma\n"
        f"- weights/zoo.params: of another shape: {resnet.prefix}conv0_weight is (64, 3, 3, 3), must be (64, 3, 7, 7)"
    )
