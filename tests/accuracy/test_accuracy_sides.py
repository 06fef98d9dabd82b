"""GluonCV's network beside this program's: the same parameters under other names, the same rule of detection."""

from pathlib import Path
from typing import Any

import gluoncv
import mxnet as mx
import numpy as np
import pytest
from accuracy_sides import IMAGE_SHAPE, Run, detected_by_gluoncv, freeze_in_gluoncv, parameters_of_gluoncv
from test_bench_accuracy import draw, sets_of

from sagemaker_ssd.batches.reader import evaluation_batches
from sagemaker_ssd.boxes import box_iou
from sagemaker_ssd.scoring.detector import Detector, Weights
from sagemaker_ssd.ssd.detect import anchor_boxes
from sagemaker_ssd.ssd.graphs import detection_graph


def network_of_gluoncv(classes: int) -> Any:
    names = [str(number) for number in range(classes)]
    mx.random.seed(0)
    net = gluoncv.model_zoo.get_model("ssd_300_vgg16_atrous_custom", classes=names, pretrained_base=False)
    net.initialize()
    net(mx.nd.zeros((1, 3, IMAGE_SHAPE, IMAGE_SHAPE)))
    return net


def run_on(folder: Path, classes: int) -> Run:
    draw(folder / "things", 5)
    (data,) = sets_of(folder / "scratch", voc=[str(folder / "things")])
    train, validation, _ = data.channels()
    return Run(train, validation, classes=classes, epochs=1, batch=4, seed=0, freeze="", precision="float32")


def test_every_parameter_has_its_counterpart(tmp_path: Path):
    run = run_on(tmp_path, classes=2)
    parameters = parameters_of_gluoncv(network_of_gluoncv(2))
    shapes, _, _ = run.network.predictions().classes.infer_shape(data=(1, 3, IMAGE_SHAPE, IMAGE_SHAPE))
    expected = dict(zip(run.network.predictions().classes.list_arguments(), shapes, strict=True))
    assert set(parameters) == run.network.arguments()
    assert {name: parameters[name].shape for name in expected if name != "data"} == {
        name: shape for name, shape in expected.items() if name != "data"
    }


def give_it_anchors_of_this_program(net: Any, run: Run) -> None:
    """Put them in place of GluonCV's, which are of other sizes: centre, width and height in pixels, at each place."""
    corners = anchor_boxes(run.network) * IMAGE_SHAPE
    anchors = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)
    begin = 0
    for generator, side in zip(net.anchor_generators, (38, 19, 10, 5, 3, 1), strict=True):
        everywhere = generator.anchors.data().asnumpy()
        count = side * side * everywhere.shape[-1] // 4
        everywhere[0, 0, :side, :side] = anchors[begin : begin + count].reshape(side, side, -1)
        generator.anchors.set_data(mx.nd.array(everywhere))
        begin += count
    assert begin == len(anchors)


def test_both_programs_find_the_same_of_all_classes(tmp_path: Path):
    """One network under both programs' names; thousands of anchors show class 0, and all the others a little.

    Of a class they differ by what random heads add. GluonCV's own rule looks at the best 400 of all classes, which are
    all of class 0.
    """
    run = run_on(tmp_path, classes=3)
    net = network_of_gluoncv(3)
    give_it_anchors_of_this_program(net, run)
    parameters = parameters_of_gluoncv(net)
    for name, parameter in parameters.items():
        if name.endswith("pred_conv_weight"):
            parameter.set_data(parameter.data() / 10)
        elif name.endswith("cls_pred_conv_bias"):
            parameter.set_data(mx.nd.array(np.tile([0, 3, -1, -1], parameter.shape[0] // 4)))
    net.hybridize(static_alloc=True, static_shape=True)
    ((own, _),) = detected_by_gluoncv(run, tmp_path, net)
    ((theirs, objects),) = detected_by_gluoncv(run, tmp_path, net, all_classes=True)
    assert set(own[:, 0]) == {0}
    assert set(theirs[:, 0]) == {0, 1, 2}
    assert objects.shape == (1, 5)
    # This program's graph, on the pixels minus ImageNet's mean, which GluonCV has to a tenth.
    (images,) = evaluation_batches(run.channel("validation", tmp_path), run.loading())
    pixels = images.data + mx.nd.array(np.array([123, 117, 104]) - 255 * np.array([0.485, 0.456, 0.406])).reshape(
        (1, 3, 1, 1)
    )
    arguments = {name: parameter.data() for name, parameter in parameters.items()}
    graph = detection_graph(run.network, all_classes=True)
    detector = Detector(graph, [Weights(mx.cpu(), arguments, {})], batch_size=1, image_shape=IMAGE_SHAPE)
    (ours,) = detector.detect(pixels)
    assert len(ours) == len(theirs)
    for row in theirs:
        same = ours[ours[:, 0] == row[0]]
        assert same[box_iou(row[None, 2:], same[:, 2:])[0].argmax()] == pytest.approx(row, abs=1e-4)
    # The network is built anew for what it is called for.
    ((again, _),) = detected_by_gluoncv(run, tmp_path, net)
    assert np.array_equal(again, own)


@pytest.mark.parametrize(
    "pattern", ["^(conv|fc).*", "^conv1_.*weight", ".*(scale|loc_pred_conv_bias|1x1_conv_weight)$"]
)
def test_gluoncv_leaves_the_same_parameters_alone(pattern: str):
    unread = Path("not read")
    run = Run(unread, unread, classes=2, epochs=1, batch=4, seed=0, freeze=pattern, precision="float32")
    net = network_of_gluoncv(2)
    freeze_in_gluoncv(run, net)
    frozen = {name for name, parameter in parameters_of_gluoncv(net).items() if parameter.grad_req == "null"}
    assert frozen == run.network.freeze(pattern).arguments
    assert len(frozen) == {"^(conv|fc).*": 30, "^conv1_.*weight": 2}.get(pattern, 11)
