"""The graphs against a genuine artifact and against shapes worked out by hand."""

import hashlib
import json
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from sagemaker_ssd.ssd.graphs import deploy_graph, detection_graph, saved_graph, training_graph
from sagemaker_ssd.ssd.network import Network, NmsSettings

# A line a node of the training symbol of a real job of the built-in (resnet-50, one class): the first 12 digits of
# the SHA-256 of [name, operator, sorted attributes, [input name, output number]...] as JSON, and the name.
GENUINE = Path(__file__).with_name("genuine_resnet50.txt")
# The same of what mxnet-ssd's deploy.py made of a model of the built-in (resnet-50, two classes, 512 px).
DEPLOYED = Path(__file__).with_name("genuine_resnet50_deploy.txt")


def nodes(graph: mx.sym.Symbol) -> dict[str, list]:
    """Return name -> [name, operator, sorted attributes, inputs] of every node."""
    listed = json.loads(graph.tojson())["nodes"]
    names = [node["name"] for node in listed]
    return {
        node["name"]: [
            node["name"],
            node["op"],
            sorted(node.get("attrs", {}).items()),
            [[names[index], output] for index, output, _ in node["inputs"]],
        ]
        for node in listed
    }


def rounded_sizes(node: list) -> list:
    """Return a node with the sizes of its anchors to six decimals, with which saved graphs are written."""
    name, operator, attributes, inputs = node
    sizes = {"sizes": lambda text: str([round(float(size), 6) for size in text.strip("()").split(",")])}
    return [name, operator, [[key, sizes.get(key, str)(value)] for key, value in attributes], inputs]


def digest(node: list) -> str:
    return hashlib.sha256(json.dumps(node).encode()).hexdigest()[:12]


def test_every_node_of_resnet50_equals_the_genuine_artifact():
    genuine = [line.split(" ") for line in GENUINE.read_text().splitlines()]
    ours = nodes(saved_graph(Network("resnet-50", 512, num_classes=1)))
    assert len(genuine) == 544
    assert [name for _, name in genuine] == list(ours)
    assert [name for expected, name in genuine if digest(ours[name]) != expected] == []


def test_every_node_of_the_deploy_graph_equals_the_genuine_one():
    genuine = [line.split(" ") for line in DEPLOYED.read_text().splitlines()]
    graph = deploy_graph(Network("resnet-50", 512, num_classes=2))
    ours = nodes(graph)
    assert len(genuine) == 536
    assert [name for _, name in genuine] == list(ours)
    assert [name for expected, name in genuine if digest(rounded_sizes(ours[name])) != expected] == []
    assert graph.list_outputs() == ["detection_output"]


def test_the_outputs_are_those_of_the_genuine_artifact():
    graph = saved_graph(Network("resnet-50", 300, num_classes=1))
    assert graph.list_outputs() == [
        "cls_prob_output",
        "loc_loss_output",
        "cls_label_output",
        "det_out_output",
    ]


@pytest.mark.parametrize(
    ("base_network", "image_shape", "anchors"),
    [
        # resnet-50: maps of 19, 10, 5, 3, 2, 1 with 4, 6, 6, 6, 4, 4 anchors a place.
        ("resnet-50", 300, 19**2 * 4 + (10**2 + 5**2 + 3**2) * 6 + (2**2 + 1) * 4),
        ("resnet-50", 512, 32**2 * 4 + (16**2 + 8**2 + 4**2) * 6 + (2**2 + 1) * 4),
        # vgg-16: maps of 38, 19, 10, 5, 3, 1; from 448 on a seventh map, at 512: 64, 32, 16, 8, 4, 2, 2.
        ("vgg-16", 300, 38**2 * 4 + (19**2 + 10**2 + 5**2) * 6 + (3**2 + 1) * 4),
        ("vgg-16", 512, 64**2 * 4 + (32**2 + 16**2 + 8**2 + 4**2) * 6 + (2**2 + 2**2) * 4),
    ],
)
def test_numbers_of_anchors(base_network: str, image_shape: int, anchors: int):
    assert anchors in (2268, 6132, 8732, 24576)
    graph = saved_graph(Network(base_network, image_shape, num_classes=3))
    _, shapes, _ = graph.infer_shape(data=(2, 3, image_shape, image_shape), label=(2, 7, 5))
    assert shapes[0] == (2, 4, anchors)
    assert shapes[3] == (2, anchors, 6)


@pytest.mark.parametrize("base_network", ["vgg-16", "resnet-50"])
@pytest.mark.parametrize("image_shape", [301, 333, 447, 448, 600])
def test_any_image_shape_from_300_up_works(base_network: str, image_shape: int):
    graph = saved_graph(Network(base_network, image_shape, num_classes=2))
    _, shapes, _ = graph.infer_shape(data=(1, 3, image_shape, image_shape), label=(1, 1, 5))
    assert shapes[0][2] == shapes[3][1] > 2000


def test_vgg16_gets_its_seventh_map_at_448():
    def heads(image_shape: int) -> int:
        names = saved_graph(Network("vgg-16", image_shape, num_classes=1)).list_arguments()
        return sum(name.endswith("_cls_pred_conv_weight") for name in names)

    assert (heads(447), heads(448)) == (6, 7)


def test_vgg16_parameters_have_the_shapes_of_vgg16_reduced():
    graph = saved_graph(Network("vgg-16", 300, num_classes=20))
    shapes, _, _ = graph.infer_shape(data=(1, 3, 300, 300), label=(1, 1, 5))
    found = dict(zip(graph.list_arguments(), shapes, strict=True))
    expected = {
        "conv1_1_weight": (64, 3, 3, 3),
        "conv3_2_weight": (256, 256, 3, 3),
        "conv5_3_bias": (512,),
        "fc6_weight": (1024, 512, 3, 3),
        "fc7_weight": (1024, 1024, 1, 1),
        "fc7_bias": (1024,),
        "relu4_3_scale": (1, 512, 1, 1),
        "multi_feat_2_conv_1x1_conv_weight": (256, 1024, 1, 1),
        "multi_feat_2_conv_3x3_conv_weight": (512, 256, 3, 3),
        "multi_feat_5_conv_3x3_conv_weight": (256, 128, 3, 3),
        "relu4_3_cls_pred_conv_weight": (4 * 21, 512, 3, 3),
        "relu4_3_loc_pred_conv_weight": (4 * 4, 512, 3, 3),
        "relu7_cls_pred_conv_weight": (6 * 21, 1024, 3, 3),
        "multi_feat_5_conv_3x3_relu_loc_pred_conv_bias": (16,),
    }
    assert {name: found.get(name) for name in expected} == expected
    # 13 + 2 trunk and 8 extra convolutions and 12 heads with weight and bias, the scale, data and label.
    assert len(found) == (13 + 2 + 8 + 12) * 2 + 1 + 2


def test_attributes_that_the_optimizer_reads():
    attributes = saved_graph(Network("vgg-16", 300, num_classes=1)).attr_dict()
    assert attributes["relu4_3_scale"]["__wd_mult__"] == "0.1"
    assert attributes["relu4_3_scale"]["__init__"] == '["constant", {"value": 20}]'
    assert attributes["relu7_cls_pred_conv_bias"]["__lr_mult__"] == "2.0"
    assert "__lr_mult__" not in attributes.get("conv1_1_bias", {})


def anchors_of(network: Network, layer: str) -> np.ndarray:
    internals = saved_graph(network).get_internals()
    output = internals[f"{layer}_anchors_output"]
    shape = (1, 3, network.image_shape, network.image_shape)
    executor = output.simple_bind(mx.cpu(), data=shape, grad_req="null")
    return executor.forward()[0].asnumpy()[0]


def test_anchors_of_the_first_place_by_hand():
    # The first of 38 x 38 places is centred at half a step of 8 pixels; size 0.1, then 0.141421, then ratio 2 and 1/2.
    found = anchors_of(Network("vgg-16", 300, num_classes=1), "relu4_3")
    centre = 0.5 * 8 / 300
    sizes = [(0.1, 0.1), (0.141421, 0.141421), (0.1 * 2**0.5, 0.1 / 2**0.5), (0.1 / 2**0.5, 0.1 * 2**0.5)]
    expected = [[centre - w / 2, centre - h / 2, centre + w / 2, centre + h / 2] for w, h in sizes]
    np.testing.assert_allclose(found[:4], expected, atol=1e-6)


def test_steps_follow_the_map_where_the_paper_gives_none():
    # 350 px: pools give 350 -> 175 -> 87 -> 44 (rounded up); centred at half of 1/44.
    found = anchors_of(Network("vgg-16", 350, num_classes=1), "relu4_3")
    assert len(found) == 44 * 44 * 4
    np.testing.assert_allclose((found[0, 0] + found[0, 2]) / 2, 0.5 / 44, atol=1e-6)


@pytest.mark.parametrize("base_network", ["vgg-16", "resnet-50"])
def test_the_graphs_that_run_have_the_saved_ones_parameters(base_network: str):
    network = Network(base_network, 300, num_classes=2)
    saved = saved_graph(network)
    trains = training_graph(network, empty_images=True)
    detects = detection_graph(network)
    assert sorted(trains.list_arguments()) == sorted(saved.list_arguments())
    assert set(saved.list_arguments()) - set(detects.list_arguments()) == {"label"}
    assert trains.list_auxiliary_states() == detects.list_auxiliary_states() == saved.list_auxiliary_states()
    # The attributes that the optimizer reads are on the graph that trains too.
    assert (
        trains.attr_dict().items()
        >= {
            name: attributes
            for name, attributes in saved.attr_dict().items()
            if "__lr_mult__" in attributes or "__wd_mult__" in attributes
        }.items()
    )
    # Detections are wasted work in a training step, targets in a detection.
    assert "detection_output" not in trains.get_internals().list_outputs()
    assert not any("multibox_target" in name for name in detects.get_internals().list_outputs())


def test_nms_settings_reach_the_saved_and_the_detecting_graph():
    network = Network("resnet-50", 300, num_classes=2, nms=NmsSettings(0.3, 55))
    for graph in (saved_graph(network), detection_graph(network)):
        attributes = dict(nodes(graph)["detection"][2])
        assert (attributes["nms_threshold"], attributes["nms_topk"]) == ("0.3", "55")
        assert attributes["force_suppress"] == "False"
