"""An epoch's figures beside those of the saved model; how objects fit the anchors, by hand and on real networks."""

from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from drawn_channels import encoded, noise, write_rec
from sagemaker_ssd.batches.reader import LoaderOptions, evaluation_batches
from sagemaker_ssd.channels.check import check_recordio
from sagemaker_ssd.channels.findings import CheckOptions
from sagemaker_ssd.channels.record_file import RecordFile
from sagemaker_ssd.scoring.detector import Weights
from sagemaker_ssd.scoring.evaluate import anchor_fit, evaluate, evaluate_model
from sagemaker_ssd.scoring.saved_model import LoadedModel
from sagemaker_ssd.ssd.detect import anchor_boxes
from sagemaker_ssd.ssd.graphs import saved_graph
from sagemaker_ssd.ssd.initial_values import initial_parameters
from sagemaker_ssd.ssd.network import Network


def checked(path: Path, labels: list[list[float]], scratch: Path) -> RecordFile:
    """A checked channel of a noisy image for each label."""
    records = [(label, encoded(noise(number))) for number, label in enumerate(labels)]
    file = write_rec(path, records)
    options = CheckOptions(name="validation", num_classes=2, scratch=scratch, max_bad_images=0, label_width=1 << 20)
    return check_recordio([file], options)


def test_figures_of_the_saved_model_are_those_of_the_epoch(tmp_path: Path):
    """Of some 270 detections an image, the 60th to the 260th are objects, every tenth of them difficult."""
    network = Network("resnet-50", 300, num_classes=2)
    values = initial_parameters(saved_graph(network), 300, seed=1)
    for name, array in values.arguments.items():
        if name.endswith("_pred_conv_weight"):
            array[:] = np.random.RandomState(3).normal(0, 0.00003, array.shape)
    model = LoadedModel(network, Weights(mx.cpu(), values.arguments, values.states), {})

    def batches(file: RecordFile):
        return evaluation_batches(file, LoaderOptions(2, 300, network.mean, threads=1))

    drawn = checked(tmp_path / "a.rec", [[2, 5, 0, 0, 0, 1, 1]] * 2, tmp_path / "1")
    labels = []
    for batch in batches(drawn):
        for found in model.detector(2).detect(batch.data):
            assert len(found) > 260
            objects = [[int(row[0]), *row[2:], float(number % 10 == 0)] for number, row in enumerate(found[60:260])]
            labels.append([2, 6, *(value for row in objects for value in row)])
    file = checked(tmp_path / "b.rec", labels, tmp_path / "2")
    scores = evaluate(
        model.detector(2),
        ((batch.data, batch.labels) for batch in batches(file)),
        num_classes=2,
        overlap_threshold=0.5,
    )
    found = evaluate_model(model, file, ["a", "b"], overlap_threshold=0.5, batch_size=2, threads=1)
    assert 0.1 < scores.mean < 1
    assert found.figures["mAP"] == pytest.approx(scores.mean, abs=1e-6)
    assert found.figures["mAP_all_points"] == pytest.approx(scores.all_points, abs=1e-6)
    assert found.figures["mAP_coco"] == pytest.approx(scores.coco, abs=1e-6)
    for ours, of_epoch in zip(found.figures["classes"], scores.per_class, strict=True):
        assert (ours["boxes"], ours["detections"]) == (of_epoch.boxes, of_epoch.detections)
        assert ours["coco"] == pytest.approx(of_epoch.coco, abs=1e-6)


def test_by_hand():
    anchors = np.array([[0, 0, 0.2, 0.2], [0.5, 0.5, 1.1, 1.1]], np.float32)
    labels = [
        np.array([[0, 0, 0, 0.2, 0.11], [1, 0.3, 0.3, 0.4, 0.4]], np.float32),  # overlaps 0.55 and 0
        np.zeros((0, 5), np.float32),
        np.array([[0, 0.5, 0.5, 1, 1, 0], [0, 0, 0, 0.2, 0.09, 1]], np.float32),  # 0.25 / 0.36, and 0.45
    ]
    assert anchor_fit(labels, anchors, 100) == {
        "boxes": 4,
        "unmatched": 2,
        "smallest": 20.0,
        "below_smallest": 3,
        "overlap": 0.5,
    }


def test_without_objects():
    fit = anchor_fit([np.zeros((0, 5), np.float32)], np.array([[0, 0, 0.5, 0.5]], np.float32), 300)
    assert (fit["boxes"], fit["unmatched"], fit["below_smallest"]) == (0, 0, 0)


def test_of_many_objects_some_stand_for_all():
    anchors = np.array([[0, 0, 0.5, 0.5]], np.float32)
    fits = np.array([[0, 0, 0, 0.5, 0.5], [0, 0.6, 0.6, 0.9, 0.9]], np.float32)
    fit = anchor_fit([np.repeat(fits, 15_000, axis=0)], anchors, 300)
    assert (fit["boxes"], fit["unmatched"]) == (10_000, 5_000)


@pytest.mark.parametrize(("base_network", "shape", "smallest"), [("vgg-16", 300, 30.0), ("resnet-50", 320, 32.0)])
def test_the_anchors_are_those_of_the_graph(base_network: str, shape: int, smallest: float):
    network = Network(base_network, shape, 2)
    anchors = anchor_boxes(network)
    graph = saved_graph(network).get_internals()["multibox_anchors_output"]
    _, ((_, count, _),), _ = graph.infer_shape(data=(1, 3, shape, shape))
    assert anchors.shape == (count, 4)
    assert anchor_fit([np.zeros((0, 5), np.float32)], anchors, shape)["smallest"] == smallest
