"""torchvision's ssd300_vgg16: which of its values become which of ours. What it computes: `make test-weights`."""

import sys
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from sagemaker_ssd.errors import UserError
from sagemaker_ssd.pretrained.conversion import converted, converted_file
from sagemaker_ssd.pretrained.merge import merged
from sagemaker_ssd.ssd.graphs import saved_graph
from sagemaker_ssd.ssd.initial_values import initial_parameters
from sagemaker_ssd.ssd.network import Network, layers
from sagemaker_ssd.weights.check import compare
from written_torch_files import write_old_file, write_torch_file

# Written down from a state dictionary of torchvision 0.29.1; two scores for each anchor in place of COCO's 91.
SHAPES = {"backbone.scale_weight": (512,)}
for place, inputs, outputs in (
    *((0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128), (10, 128, 256), (12, 256, 256), (14, 256, 256)),
    *((17, 256, 512), (19, 512, 512), (21, 512, 512)),
):
    SHAPES[f"backbone.features.{place}"] = (outputs, inputs, 3, 3)
for place in (1, 3, 5):
    SHAPES[f"backbone.extra.0.{place}"] = (512, 512, 3, 3)
SHAPES |= {"backbone.extra.0.7.1": (1024, 512, 3, 3), "backbone.extra.0.7.3": (1024, 1024, 1, 1)}
for number, inputs, reduced, outputs in (
    (1, 1024, 256, 512),
    (2, 512, 128, 256),
    (3, 256, 128, 256),
    (4, 256, 128, 256),
):
    SHAPES |= {f"backbone.extra.{number}.0": (reduced, inputs, 1, 1)}
    SHAPES |= {f"backbone.extra.{number}.2": (outputs, reduced, 3, 3)}
for number, (inputs, anchors) in enumerate(((512, 4), (1024, 6), (512, 6), (256, 6), (256, 4), (256, 4))):
    for head, each in (("classification", 2), ("regression", 4)):
        SHAPES[f"head.{head}_head.module_list.{number}"] = (anchors * each, inputs, 3, 3)


def state(shapes: dict[str, tuple[int, ...]] = SHAPES) -> dict[str, np.ndarray]:
    """Draw the state dictionary; every array begins with its own number, the rest is zero, which is quick."""
    arrays = {}
    for name, shape in shapes.items():
        for kind, size in (("weight", shape), ("bias", shape[:1])):
            array = np.zeros(size, np.float32)
            array.flat[:3] = len(arrays) + 1, 0.5, -len(arrays)
            arrays[name if name.endswith("_weight") else f"{name}.{kind}"] = array
            if name.endswith("_weight"):
                break
    return arrays


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_torch_file(tmp_path_factory.mktemp("torchvision") / "given.pth", state())


@pytest.mark.parametrize("write", [write_torch_file, write_old_file])
def test_every_value_is_taken_or_named(tmp_path: Path, write):
    given = state()
    assert len(given) == 71
    found = converted_file(write(tmp_path / "given", given), "vgg-16", "given", tmp_path)
    assert found.layout == "torchvision ssd300_vgg16"
    heads = sorted(name for name in given if "classification_head" in name)
    assert found.left_out == tuple(heads)
    assert "8 and 12 scores at each place, are not used" in found.notes[0]
    arguments = found.parameters.arguments
    theirs = {array.flat[0]: name for name, array in given.items()}
    taken = {theirs[float(array.reshape(-1)[0].asscalar())] for array in arguments.values()}
    assert taken | set(heads) == set(given)
    for ours, name in (
        ("conv1_1_weight", "backbone.features.0.weight"),
        ("conv2_2_bias", "backbone.features.7.bias"),
        ("conv4_3_weight", "backbone.features.21.weight"),
        ("conv5_1_weight", "backbone.extra.0.1.weight"),
        ("conv5_3_bias", "backbone.extra.0.5.bias"),
        ("fc6_weight", "backbone.extra.0.7.1.weight"),
        ("fc7_bias", "backbone.extra.0.7.3.bias"),
        ("multi_feat_2_conv_1x1_conv_weight", "backbone.extra.1.0.weight"),
        ("multi_feat_5_conv_3x3_conv_bias", "backbone.extra.4.2.bias"),
        ("relu4_3_loc_pred_conv_weight", "head.regression_head.module_list.0.weight"),
        ("multi_feat_4_conv_3x3_relu_loc_pred_conv_bias", "head.regression_head.module_list.4.bias"),
    ):
        np.testing.assert_array_equal(arguments[ours].asnumpy(), given[name])
    np.testing.assert_array_equal(arguments["relu4_3_scale"].asnumpy().ravel(), given["backbone.scale_weight"])


@pytest.mark.parametrize("prefix", ["module.", "model.module."])
def test_what_a_wrapper_puts_before_every_name(tmp_path: Path, prefix: str):
    given = state()
    path = write_torch_file(tmp_path / "given", {prefix + name: array for name, array in given.items()})
    found = converted_file(path, "vgg-16", "given", tmp_path)
    bare = converted({name: mx.nd.array(array) for name, array in given.items()}, "vgg-16", "given")
    assert found.left_out == tuple(prefix + name for name in bare.left_out)
    assert "8 and 12 scores at each place, are not used" in found.notes[0]
    assert found.parameters.arguments.keys() == bare.parameters.arguments.keys()
    for name, array in found.parameters.arguments.items():
        np.testing.assert_array_equal(array.asnumpy(), bare.parameters.arguments[name].asnumpy())


def test_two_networks_in_one_file():
    """A student and its teacher: neither is the one to take."""
    given = {f"{who}.{name}": mx.nd.array(array) for who in ("student", "teacher") for name, array in state().items()}
    with pytest.raises(UserError, match=r"^given: is of an unknown layout\."):
        converted(given, "vgg-16", "given")


BEHIND = ("4_conv_3x3_relu_loc_pred_conv", "6_conv_1x1_conv", "6_conv_3x3_conv", "6_conv_3x3_relu_loc_pred_conv")


@pytest.mark.parametrize(
    ("image_shape", "anew"),
    [
        (300, []),
        # A map more, and two anchors more on the fifth.
        (512, [f"multi_feat_{name}" for name in BEHIND]),
    ],
)
def test_what_fits_is_taken_at_any_size(file: Path, tmp_path: Path, image_shape: int, anew: list[str]):
    found = converted_file(file, "vgg-16", "given", tmp_path)
    graph = saved_graph(Network("vgg-16", image_shape, num_classes=3))
    result = merged(initial_parameters(graph, image_shape, seed=1), found.parameters)
    started = layers((*result.missing, *result.other_shape))
    assert sorted(name for name in started if "cls_pred_conv" not in name) == anew
    assert result.unused == ()


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_missing_and_a_misshapen_value(prefix: str):
    given = state(SHAPES | {"backbone.extra.2.0": (64, 512, 1, 1)})
    del given["backbone.features.5.bias"]
    with pytest.raises(UserError) as caught:
        converted({prefix + name: mx.nd.array(array) for name, array in given.items()}, "vgg-16", "given")
    assert caught.value.sentence == (
        "2 problems:\n"
        f"- given: missing: {prefix}backbone.features.5.bias\n"
        f"- given: of another shape: {prefix}backbone.extra.2.0.weight is (64, 512, 1, 1), must be (128, 512, 1, 1), "
        f"{prefix}backbone.extra.2.0.bias is (64,), must be (128,)"
    )


def test_resnet50_cannot_start_from_it(file: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"^given: seems to be torchvision ssd300_vgg16, not resnet-50\. Accepted "):
        converted_file(file, "resnet-50", "given", tmp_path)


def test_another_state_dictionary(tmp_path: Path):
    given = {"layer1.0.weight": np.zeros((2, 2), np.float32), "counter": np.array(3)}
    with pytest.raises(UserError, match=r"^given: is of an unknown layout\. .* First names in the file: layer1\.0"):
        converted_file(write_torch_file(tmp_path / "given", given), "vgg-16", "given", tmp_path)


def test_files_of_mxnet_are_told_by_their_content_too(tmp_path: Path):
    """Under the name of another program's."""
    path = tmp_path / "weights.pth"
    mx.nd.save(str(path), {"a": mx.nd.zeros((2,))})
    with pytest.raises(UserError, match=r"^given: is of an unknown layout\."):
        converted_file(path, "vgg-16", "given", tmp_path)


def test_a_check_where_torchvision_is_not(file: Path, tmp_path: Path):
    with pytest.raises(UserError) as caught:
        compare(file, "vgg-16", None, sys.executable, tmp_path)
    assert caught.value.sentence == (
        f"the conversion could be made, but {sys.executable} did not run the file itself: ModuleNotFoundError: No "
        "module named 'torch'. Name a Python that has torchvision: --python .venv-torchvision/bin/python, after `make "
        ".venv-torchvision/.complete`"
    )
