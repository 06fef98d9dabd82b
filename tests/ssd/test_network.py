"""What a pattern freezes of a network."""

from sagemaker_ssd.ssd.network import Network

RESNET = Network("resnet-50", 300, num_classes=3)
VGG = Network("vgg-16", 300, num_classes=3)


def test_a_pattern_is_matched_from_the_names_start_over_the_whole_network():
    frozen = VGG.freeze(r"^(conv1_|conv2_).*").arguments
    assert frozen == {f"conv{layer}_{kind}" for layer in ("1_1", "1_2", "2_1", "2_2") for kind in ("weight", "bias")}
    # re.match: no ^ needed, and no match in the middle of a name.
    assert VGG.freeze("conv1_1_w").arguments == {"conv1_1_weight"}
    assert VGG.freeze("4_3_scale").arguments == frozenset()
    assert VGG.freeze("data|label").arguments == frozenset()
    assert VGG.freeze("false").arguments == frozenset()
    assert VGG.freeze(None).arguments == frozenset()


def test_a_batch_norm_is_frozen_when_both_its_parameters_are():
    assert RESNET.freeze("bn0_gamma").batch_norms == frozenset()
    assert RESNET.freeze("bn0_").batch_norms == {"bn0"}
    stage = RESNET.freeze("stage1_unit1_bn").batch_norms
    assert stage == {"stage1_unit1_bn1", "stage1_unit1_bn2", "stage1_unit1_bn3"}
