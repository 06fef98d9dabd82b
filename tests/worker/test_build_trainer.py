"""Which devices a job trains on, where this MXNet knows CPUs alone; and which layers it freezes."""

import logging
import re

import mxnet as mx
import pytest

from sagemaker_ssd.errors import UserError
from sagemaker_ssd.ssd.network import Network, layers
from sagemaker_ssd.worker.build_trainer import freeze, training_devices

VGG16, RESNET50 = Network("vgg-16", 300, 3), Network("resnet-50", 300, 3)
# As the manifest of a checkpoint keeps it too.
KERAS = {
    "from": "pretrained",
    "source": "keras",
    "layers_starting_anew": [name for name in layers(sorted(VGG16.arguments())) if not re.match(r"conv\d", name)],
}


def test_without_gpus_on_the_cpu():
    assert training_devices(0, 32) == [mx.cpu()]


def test_the_cpu_build_on_a_gpu_machine_says_so(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        assert training_devices(4, 32) == [mx.cpu()]
    assert "the machine has 4 GPU(s), but this is the CPU image" in caplog.text


def warnings_of(caplog: pytest.LogCaptureFixture, network: Network, pattern: str, start: dict) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        freeze(network, pattern, start)
    return caplog.messages


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        ("^(conv|fc).*", "fc6, fc7"),
        ("fc7_bias", "fc7"),
        (
            r"^(?!.*pred).*",
            "fc6, fc7, multi_feat_2_conv_1x1_conv, multi_feat_2_conv_3x3_conv, multi_feat_3_conv_1x1_conv, "
            "multi_feat_3_conv_3x3_conv, multi_feat_4_conv_1x1_conv, multi_feat_4_conv_3x3_conv, "
            "multi_feat_5_conv_1x1_conv, multi_feat_5_conv_3x3_conv, relu4_3_scale",
        ),
    ],
)
def test_layers_that_are_frozen_without_weights_are_named(caplog: pytest.LogCaptureFixture, pattern: str, named: str):
    assert warnings_of(caplog, VGG16, pattern, KERAS) == [
        f"freeze_layer_pattern {pattern!r} freezes layers that the weights to start from lack, so they keep the values "
        f"that they began with, random ones, and never learn: {named}. Write a pattern that matches none of them, such "
        "as ^(conv1_|conv2_).*, or start from weights that have them"
    ]


@pytest.mark.parametrize("kind", ["pretrained channel", "model"])
def test_so_they_are_whatever_channel_the_weights_come_from(caplog: pytest.LogCaptureFixture, kind: str):
    start = {"from": kind, "file": "x", "layers_starting_anew": ["fc6", "relu4_3_cls_pred_conv"]}
    (told,) = warnings_of(caplog, VGG16, "^(conv|fc).*", start)
    assert "never learn: fc6. Write" in told


def test_a_frozen_trunk_of_a_training_from_scratch_is_named(caplog: pytest.LogCaptureFixture):
    start = {"from": "scratch", "seed": 0}
    assert warnings_of(caplog, VGG16, "^conv[12]_", start) == [
        "freeze_layer_pattern '^conv[12]_' freezes layers of a training that began from scratch, so they keep their "
        "random values and never learn: conv1_1, conv1_2, conv2_1, conv2_2. Leave freeze_layer_pattern out, or start "
        "from weights that have these layers: use_pretrained_model 1, or the channel pretrained or model"
    ]


@pytest.mark.parametrize(
    ("network", "pattern", "start"),
    [
        (VGG16, "^(conv1_|conv2_).*", KERAS),
        (VGG16, "^(conv|fc).*", {"from": "model", "layers_starting_anew": []}),
        (RESNET50, "^(bn_data|conv0|bn0|stage1_).*", {"from": "pretrained", "layers_starting_anew": ["relu1_scale"]}),
    ],
)
def test_frozen_layers_with_weights_are_not_warned_of(
    caplog: pytest.LogCaptureFixture, network: Network, pattern: str, start: dict
):
    assert warnings_of(caplog, network, pattern, start) == []


@pytest.mark.parametrize(
    ("network", "first"), [(VGG16, "^(conv1_|conv2_).*"), (RESNET50, "^(bn_data|conv0|bn0|stage1_).*")]
)
def test_a_pattern_that_freezes_everything_is_refused_with_one_that_fits_the_network(network: Network, first: str):
    assert 0 < len(network.freeze(first).arguments) < len(network.arguments()) / 2
    with pytest.raises(UserError) as caught:
        freeze(network, ".*", KERAS)
    assert caught.value.sentence == (
        f"freeze_layer_pattern '.*' matches all {len(network.arguments())} parameters: nothing is left to train; write "
        f"a pattern for the layers to freeze, such as {first}"
    )
