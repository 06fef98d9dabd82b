"""What of an earlier model fits the job's network: by names and shapes, whatever its hyperparams.json says."""

import json
import logging
from pathlib import Path

import mxnet as mx
import pytest

from sagemaker_ssd.contract.hyperparameters import Hyperparameters
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.ssd.graphs import saved_graph
from sagemaker_ssd.ssd.initial_values import Parameters
from sagemaker_ssd.ssd.network import Network
from sagemaker_ssd.worker.initial_weights import InitialWeights, from_model_channel


def values(base_network: str, image_shape: int, num_classes: int, value: float) -> Parameters:
    """Fill every parameter of a network with one number."""
    graph = saved_graph(Network(base_network, image_shape, num_classes))
    shapes, _, state_shapes = graph.infer_shape(data=(1, 3, image_shape, image_shape), label=(1, 1, 5))
    named = zip(graph.list_arguments(), shapes, strict=True)
    return Parameters(
        {name: mx.nd.full(shape, value) for name, shape in named if name not in ("data", "label")},
        {
            name: mx.nd.full(shape, value)
            for name, shape in zip(graph.list_auxiliary_states(), state_shapes, strict=True)
        },
    )


@pytest.fixture(scope="module")
def resnet() -> Parameters:
    return values("resnet-50", 300, 3, 1)


class Channel:
    """A model channel with unpacked files."""

    def __init__(self, folder: Path, given: Parameters) -> None:
        self.folder, self.scratch = folder / "model", folder / "scratch"
        self.folder.mkdir()
        self.scratch.mkdir()
        self.arrays = {f"arg:{name}": array for name, array in given.arguments.items()}
        self.arrays |= {f"aux:{name}": array for name, array in given.states.items()}

    def settings(self, content: str) -> None:
        (self.folder / "hyperparams.json").write_text(content)

    def continued(self, starting: Parameters, **chosen: object) -> InitialWeights:
        mx.nd.save(str(self.folder / "model_algo_1-0000.params"), self.arrays)
        defaults = {"num_classes": 3, "num_training_samples": 1, "base_network": "resnet-50"}
        return from_model_channel(self.folder, starting, Hyperparameters(**{**defaults, **chosen}), self.scratch)

    def fault(self, starting: Parameters, **chosen: object) -> str:
        with pytest.raises(UserError) as caught:
            self.continued(starting, **chosen)
        head, text = caught.value.sentence.split(": ", 1)
        assert head == "model/model_algo_1-0000.params"
        return text


def filled(parameters: Parameters) -> dict[str, float]:
    return {name: array.max().asscalar() for name, array in {**parameters.arguments, **parameters.states}.items()}


@pytest.fixture
def channel(tmp_path: Path, resnet: Parameters) -> Channel:
    return Channel(tmp_path, resnet)


def test_every_value_is_taken(channel: Channel, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    found, start = channel.continued(values("resnet-50", 300, 3, 0))
    assert set(filled(found).values()) == {1}
    assert (start["file"], start["hyperparameters"]) == ("model/model_algo_1-0000.params", {})
    (line,) = caplog.messages
    assert line.startswith("Continue training from model/model_algo_1-0000.params: 293 of 293 parameters")


def test_names_without_prefixes(channel: Channel):
    channel.arrays = {name.partition(":")[2]: array for name, array in channel.arrays.items()}
    found, _ = channel.continued(values("resnet-50", 300, 3, 0))
    assert set(filled(found).values()) == {1}


def test_states_under_the_prefix_of_arguments(channel: Channel):
    channel.arrays = {f"arg:{name.partition(':')[2]}": array for name, array in channel.arrays.items()}
    found, _ = channel.continued(values("resnet-50", 300, 3, 0))
    assert set(filled(found).values()) == {1}


def test_the_case_of_the_suffix_does_not_matter(channel: Channel, resnet: Parameters, caplog: pytest.LogCaptureFixture):
    mx.nd.save(str(channel.folder / "NET.PARAMS"), channel.arrays)
    channel.settings("x" * ((1 << 20) + 1))
    chosen = Hyperparameters(num_classes=3, num_training_samples=1, base_network="resnet-50")
    _, start = from_model_channel(channel.folder, resnet, chosen, channel.scratch)
    assert start["file"] == "model/NET.PARAMS"
    assert caplog.messages == ["The model's hyperparams.json is too large, 1,048,577 bytes, and is not used."]


@pytest.mark.parametrize(("centre", "taken_off"), [(1.5, 0), (150, 0), (-20, 1)])
def test_a_model_of_mxnet_ssd_is_fitted_to_pixels_as_they_are(
    channel: Channel, caplog: pytest.LogCaptureFixture, centre: float, taken_off: int
):
    """By bn_data's statistics: nearly fresh ones and those of pixels of 0-255 stay."""
    channel.arrays["aux:bn_data_moving_mean"] = mx.nd.full((3,), centre)
    channel.arrays["aux:bn_data_moving_var"] = mx.nd.full((3,), 3300 if abs(centre) > 2 else 1)
    found, _ = channel.continued(values("resnet-50", 300, 3, 0))
    assert caplog.messages == taken_off * [
        "model/model_algo_1-0000.params: bn_data's mean fitted to pixels of 0-255: with its variance it shows that the "
        "file reads these minus a mean, which is assumed to be mxnet-ssd's, (123, 117, 104)"
    ]
    mean = found.states["bn_data_moving_mean"].asnumpy()
    assert mean.tolist() == [centre + taken_off * channel_mean for channel_mean in (123, 117, 104)]


def test_vgg16_across_448_pixels_starts_the_last_heads_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    large = values("vgg-16", 512, 3, 0)
    given = Channel(tmp_path, values("vgg-16", 300, 3, 1))
    found, start = given.continued(large, base_network="vgg-16", image_shape=512)
    # The larger layout has six anchors instead of four at map 4, and a map 6.
    heads = [f"multi_feat_4_conv_3x3_relu_{kind}_pred_conv" for kind in ("loc", "cls")]
    last = [f"multi_feat_6_conv_{size}_conv" for size in ("1x1", "3x3")]
    last += [f"multi_feat_6_conv_3x3_relu_{kind}_pred_conv" for kind in ("loc", "cls")]
    assert sorted(start["layers_starting_anew"]) == sorted(heads + last)
    anew = {name for name, value in filled(found).items() if value == 0}
    assert anew == {f"{layer}_{kind}" for layer in start["layers_starting_anew"] for kind in ("weight", "bias")}
    assert {name: array.shape for name, array in found.arguments.items()} == {
        name: array.shape for name, array in large.arguments.items()
    }
    assert "Layers that it lacks, or has for another image_shape, start anew: multi_feat_" in caplog.text


def test_vgg16_back_below_448_pixels_leaves_the_last_map_out(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    given = Channel(tmp_path, values("vgg-16", 512, 3, 1))
    _, start = given.continued(values("vgg-16", 300, 3, 0), base_network="vgg-16")
    assert len(start["layers_starting_anew"]) == 2
    assert len(start["unused_parameters"]) == 8
    assert all(name.startswith("multi_feat_6_") for name in start["unused_parameters"])
    assert "Parameters of it that this network does not have are not used: multi_feat_6_" in caplog.text


def test_faults_of_the_trunk_name_the_parameters(channel: Channel, resnet: Parameters):
    del channel.arrays["arg:stage2_unit3_conv2_weight"]
    del channel.arrays["aux:bn0_moving_var"]
    channel.arrays["arg:conv0_weight"] = mx.nd.ones((64, 3, 3, 3))
    assert channel.fault(resnet) == (
        "its model is not one of this algorithm: stage2_unit3_conv2_weight is missing, bn0_moving_var is missing, "
        "conv0_weight has shape (64, 3, 3, 3) instead of (64, 3, 7, 7); give the model of a training job as it was "
        "saved, or remove the model channel"
    )


def test_a_deeper_resnet(channel: Channel, resnet: Parameters):
    for unit in range(7, 24):
        channel.arrays[f"arg:stage3_unit{unit}_conv1_weight"] = mx.nd.ones((1,))
    text = channel.fault(resnet)
    assert "stage3_unit7_conv1_weight is of a deeper network" in text
    assert "and 9 more" in text


def test_a_trunk_without_heads(channel: Channel, resnet: Parameters):
    channel.arrays = {name: array for name, array in channel.arrays.items() if "_pred_conv_" not in name}
    assert channel.fault(resnet).startswith(
        "it holds resnet-50 without detection heads; for ImageNet weights name the channel pretrained; "
    )


def test_heads_of_different_classes(channel: Channel, resnet: Parameters):
    channel.arrays["arg:_plus12_cls_pred_conv_bias"] = mx.nd.ones((4 * 6,))
    assert channel.fault(resnet).startswith("the sizes of its detection heads do not fit together; ")


def test_another_network_altogether(channel: Channel, resnet: Parameters):
    channel.arrays = {"arg:fc1_weight": mx.nd.ones((2, 2)), "arg:fc1_bias": mx.nd.ones((2,))}
    assert channel.fault(resnet) == (
        "its parameters, such as fc1_weight, fc1_bias, are not those of vgg-16 or resnet-50 under this algorithm's "
        "names; the model channel must hold a model of this algorithm"
    )


@pytest.mark.parametrize("num_classes", [1, 2, 20])
def test_classes_are_counted_from_the_heads(tmp_path: Path, num_classes: int):
    given = Channel(tmp_path, values("resnet-50", 300, num_classes, 1))
    given.settings(json.dumps({"num_classes": "3"}))
    assert given.fault(values("resnet-50", 300, 3, 0)) == (
        f"its model has num_classes {num_classes}, but this job has num_classes 3: set num_classes to {num_classes} "
        "and use data with the same classes, name the channel pretrained instead of model, which takes the same "
        "file, starts from its trunk and learns the heads for other classes anew, or remove the model channel"
    )


def test_differences_of_the_settings_are_told_on_one_line(
    channel: Channel, resnet: Parameters, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    settings = {
        "base_network": "resnet-50",
        "num_classes": "3",
        "learning_rate": "1e-3",
        "momentum": ".90",
        "early_stopping": "false",
        "image_shape": "512",
        "optimizer": "adam",
        "freeze_layer_pattern": "^(conv0)",
        "_kvstore": "dist_sync",
        "kv_store": "dist_sync",
        "use_pretrained_model": "0",
        "epochs": 7,
        "something": "else",
    }
    channel.settings(json.dumps(settings))
    _, start = channel.continued(resnet)
    assert caplog.messages[1:] == [
        "It was trained with other hyperparameters: epochs 7 (now 30), freeze_layer_pattern '^(conv0)' (now ''), "
        "image_shape 512 (now 300), optimizer adam (now sgd)"
    ]
    assert start["hyperparameters"]["optimizer"] == "adam"
    # A number as a job may have it.
    assert start["hyperparameters"]["epochs"] == "7"
    assert "something" not in start["hyperparameters"]


@pytest.mark.parametrize("content", ["{", "[]", "\udcff", "[" * 200_000])
def test_settings_that_cannot_be_read_are_told_and_not_needed(
    channel: Channel, resnet: Parameters, caplog: pytest.LogCaptureFixture, content: str
):
    (channel.folder / "hyperparams.json").write_bytes(content.encode(errors="surrogateescape"))
    channel.continued(resnet)
    assert caplog.messages == ["The model's hyperparams.json is not a JSON object and is not used."]
