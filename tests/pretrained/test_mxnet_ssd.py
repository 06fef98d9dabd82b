"""Files with our names: our own and the built-in's, mxnet-ssd's, and the classifiers of MXNet's model files."""

import mxnet as mx
import numpy as np
import pytest

from sagemaker_ssd.errors import UserError
from sagemaker_ssd.pretrained.conversion import converted
from sagemaker_ssd.pretrained.trunk import sub_sampled, trunk_shapes
from sagemaker_ssd.ssd.graphs import saved_graph
from sagemaker_ssd.ssd.network import Network

DENSE = {"fc6_weight": (4096, 25088), "fc6_bias": (4096,), "fc7_weight": (4096, 4096), "fc7_bias": (4096,)}


def drawn(shapes: dict[str, tuple[int, ...]]) -> dict[str, mx.nd.NDArray]:
    mx.random.seed(2)
    return {name: mx.nd.random.uniform(0.1, 1, shape=shape) for name, shape in shapes.items()}


def model_file(base_network: str) -> dict[str, mx.nd.NDArray]:
    """Return a trunk's values, named as MXNet's model files do."""
    return {
        ("aux:" if name.endswith(("_moving_mean", "_moving_var")) else "arg:") + name: array
        for name, array in drawn(trunk_shapes(base_network)).items()
    }


@pytest.fixture(scope="module")
def vgg16() -> dict[str, mx.nd.NDArray]:
    given = model_file("vgg-16") | {"arg:fc8_weight": mx.nd.zeros((10, 4096)), "arg:fc8_bias": mx.nd.zeros((10,))}
    # A product of two vectors, for drawing 100 million values takes a second.
    rows, columns = mx.nd.random.uniform(shape=(4096, 1)), mx.nd.random.uniform(shape=(1, 25088))
    dense = drawn({name: shape for name, shape in DENSE.items() if name != "fc6_weight"})
    return given | {f"arg:{name}": array for name, array in dense.items()} | {"arg:fc6_weight": rows * columns}


def assert_unchanged(found: dict[str, mx.nd.NDArray], given: dict[str, mx.nd.NDArray], prefix: str) -> None:
    for name, array in found.items():
        np.testing.assert_array_equal(array.asnumpy(), given[prefix + name].asnumpy(), err_msg=name)


@pytest.mark.parametrize("base_network", ["vgg-16", "resnet-50"])
def test_a_detector_with_our_names_stays_as_it_is(base_network: str):
    graph = saved_graph(Network(base_network, 300, num_classes=2))
    shapes, _, state_shapes = graph.infer_shape(data=(1, 3, 300, 300), label=(1, 1, 5))
    arguments = drawn(dict(zip(graph.list_arguments(), shapes, strict=True)))
    del arguments["data"], arguments["label"]
    states = drawn(dict(zip(graph.list_auxiliary_states(), state_shapes, strict=True)))
    found = converted(arguments | states, base_network, "model.params")
    assert (found.layout, found.notes) == ("this program's names", ())
    assert found.parameters.arguments.keys() == arguments.keys()
    assert found.parameters.states.keys() == states.keys()
    assert_unchanged(found.parameters.arguments, arguments, "")
    assert_unchanged(found.parameters.states, states, "")


def test_mxnets_resnet50_without_its_classifier():
    given = model_file("resnet-50")
    classifier = {f"arg:bn1_{kind}": mx.nd.ones((2048,)) for kind in ("gamma", "beta")}
    classifier |= {f"aux:bn1_moving_{kind}": mx.nd.ones((2048,)) for kind in ("mean", "var")}
    classifier |= {"arg:fc1_weight": mx.nd.ones((10, 2048)), "arg:fc1_bias": mx.nd.ones((10,))}
    found = converted(given | classifier, "resnet-50", "resnet-50-0000.params")
    assert found.layout == "MXNet's model files"
    assert found.notes == ("left out: bn1_beta, bn1_gamma, bn1_moving_mean, bn1_moving_var, fc1_bias and 1 more",)
    # 53 convolutions without the last BatchNorm: 1 + 16 x 3 + 4 shortcuts; 2 + 16 x 3 BatchNorms.
    assert len(found.parameters.arguments) == 53 + 2 * 50
    assert len(found.parameters.states) == 2 * 50
    assert_unchanged(found.parameters.arguments, given, "arg:")
    assert_unchanged(found.parameters.states, given, "aux:")


# Of pixels minus (123, 117, 104), as mxnet-ssd reads those of VOC, and of pixels as they are.
CENTRED, AS_THEY_ARE = np.array([-6.5, -5.2, 0.3]), np.array([116.5, 111.8, 104.3])
VARIANCE = np.array([3412.0, 3263.0, 3305.0])


@pytest.mark.parametrize("centre", [CENTRED, AS_THEY_ARE])
def test_a_resnet50_of_mxnet_ssd_is_fitted_to_pixels_as_they_are(centre: np.ndarray):
    given = model_file("resnet-50")
    given |= {"aux:bn_data_moving_mean": mx.nd.array(centre), "aux:bn_data_moving_var": mx.nd.array(VARIANCE)}
    found = converted(given, "resnet-50", "ssd_resnet50_300-0222.params")
    assert found.notes == (
        ()
        if centre is AS_THEY_ARE
        else (
            "bn_data's mean fitted to pixels of 0-255: with its variance it shows that the file reads these minus a "
            "mean, which is assumed to be mxnet-ssd's, (123, 117, 104)",
        )
    )
    states = dict(found.parameters.states)
    np.testing.assert_allclose(states.pop("bn_data_moving_mean").asnumpy(), AS_THEY_ARE, rtol=1e-5)
    assert_unchanged(found.parameters.arguments, given, "arg:")
    assert_unchanged(states, given, "aux:")


def test_a_trunk_that_is_reduced_already_stays_as_it_is():
    given = model_file("vgg-16")
    found = converted(given, "vgg-16", "vgg16_reduced-0001.params")
    assert found.notes == ()
    assert len(found.parameters.arguments) == 30
    assert_unchanged(found.parameters.arguments, given, "arg:")


def test_mxnets_vgg16_reads_our_pixels(vgg16):
    found = converted(vgg16, "vgg-16", "vgg16-0000.params")
    assert found.layout == "MXNet's model files"
    assert any("conv1_1's bias" in note for note in found.notes)
    assert any("sub-sampled" in note for note in found.notes)
    assert found.notes[-1] == "left out: fc8_bias, fc8_weight"
    arguments = found.parameters.arguments
    np.testing.assert_array_equal(arguments["conv1_1_weight"].asnumpy(), vgg16["arg:conv1_1_weight"].asnumpy())
    # At a pixel away from the border: the sum over the kernel's 27 values of weight x (pixel - mean), and the bias.
    patch = np.random.default_rng(0).integers(0, 256, size=(3, 3, 3))
    layer = {name: vgg16[f"arg:conv1_1_{name}"].asnumpy()[7] for name in ("weight", "bias")}
    theirs = (layer["weight"] * (patch - np.reshape([123.68, 116.779, 103.939], (3, 1, 1)))).sum() + layer["bias"]
    ours = (layer["weight"] * (patch - np.reshape([123, 117, 104], (3, 1, 1)))).sum()
    ours += arguments["conv1_1_bias"].asnumpy()[7]
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize("as_convolutions", [False, True])
def test_dense_layers_are_sub_sampled(as_convolutions: bool, vgg16):
    given = dict(vgg16)
    if as_convolutions:
        given["arg:fc6_weight"] = given["arg:fc6_weight"].reshape((4096, 512, 7, 7))
        given["arg:fc7_weight"] = given["arg:fc7_weight"].reshape((4096, 4096, 1, 1))
    found = {name: array.asnumpy() for name, array in converted(given, "vgg-16", "x").parameters.arguments.items()}
    fc6, fc7 = vgg16["arg:fc6_weight"].asnumpy(), vgg16["arg:fc7_weight"].asnumpy()
    expected = {"fc6": np.zeros((1024, 512, 3, 3), np.float32), "fc7": np.zeros((1024, 1024, 1, 1), np.float32)}
    for output in range(1024):
        for row in range(3):
            for column in range(3):
                for channel in range(output % 29, 512, 29):
                    place = channel * 7 * 7 + 3 * row * 7 + 3 * column
                    expected["fc6"][output, channel, row, column] = fc6[4 * output, place]
        for channel in range(output % 29, 1024, 29):
            expected["fc7"][output, channel, 0, 0] = fc7[4 * output, 4 * channel]
    for name, values in expected.items():
        assert found[f"{name}_weight"].shape == values.shape
        filled = values != 0
        assert filled.mean() > 0.03
        np.testing.assert_array_equal(found[f"{name}_weight"][filled], values[filled])
        biases = [vgg16[f"arg:{name}_bias"].asnumpy()[4 * output] for output in range(1024)]
        np.testing.assert_array_equal(found[f"{name}_bias"], biases)


def test_sub_sampling_takes_what_is_there():
    assert sub_sampled({}) == {}
    assert set(sub_sampled({"fc7_bias": mx.nd.zeros((4096,))})) == {"fc7_bias"}


def test_fc6_and_fc7_may_be_missing():
    given = {name: array for name, array in model_file("vgg-16").items() if "fc" not in name}
    arguments = converted(given, "vgg-16", "x").parameters.arguments
    assert len(arguments) == 26


def test_a_missing_and_a_misshapen_parameter():
    given = model_file("resnet-50")
    del given["aux:stage3_unit6_bn2_moving_var"]
    given["arg:stage1_unit1_sc_weight"] = mx.nd.zeros((256, 64, 3, 3))
    with pytest.raises(UserError) as caught:
        converted(given, "resnet-50", "model.params")
    assert caught.value.sentence == (
        "2 problems:\n"
        "- model.params: missing: stage3_unit6_bn2_moving_var\n"
        "- model.params: of another shape: stage1_unit1_sc_weight is (256, 64, 3, 3), must be (256, 64, 1, 1)"
    )


def test_dense_fc6_of_another_size():
    given = model_file("vgg-16") | {"arg:fc6_weight": mx.nd.zeros((4096, 512))}
    with pytest.raises(UserError) as caught:
        converted(given, "vgg-16", "model.params")
    assert "fc6_weight is (4096, 512), must be (4096, 25088) or (4096, 512, 7, 7)" in caught.value.sentence


def renamed(names: list[str]) -> dict[str, mx.nd.NDArray]:
    return {name: mx.nd.zeros((1,)) for name in names}


@pytest.mark.parametrize(
    ("base_network", "extra", "without", "seems"),
    [
        ("vgg-16", ["conv3_4_weight", "conv4_4_weight", "conv5_4_weight"], None, "vgg-19"),
        ("vgg-16", ["bn1_1_gamma", "bn1_1_beta"], None, "vgg-16 with BatchNorm"),
        ("resnet-50", [f"stage3_unit{unit}_conv1_weight" for unit in range(7, 24)], None, "resnet-101"),
        ("resnet-50", ["stage2_unit9_conv1_weight"], None, "resnet-?"),
        ("resnet-50", [], "3", "resnet-34"),
    ],
)
def test_another_depth_is_refused_by_name(base_network, extra, without, seems):
    names = [name for name in trunk_shapes(base_network) if not without or f"conv{without}_" not in name]
    with pytest.raises(UserError) as caught:
        converted(renamed([*names, *extra]), base_network, "model.params")
    assert caught.value.sentence.startswith(f"model.params: seems to be {seems}, not {base_network}. Accepted for ")
