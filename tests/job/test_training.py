"""Whole jobs on drawn images, from the files SageMaker writes to a model that MXNet's own Module loads."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from ended_job import BEST_MAP, MODEL, Ended
from job_runner import Job, draw

# The metric definitions that SageMaker publishes for the built-in.
PUBLISHED = {
    "train:progress": r"#progress_metric: host=\S+, completed (\S+) %",
    "train:smooth_l1": r"#quality_metric: host=\S+, epoch=\S+, batch=\S+ train smooth_l1 <loss>=(\S+)",
    "train:cross_entropy": r"#quality_metric: host=\S+, epoch=\S+, batch=\S+ train cross_entropy <loss>=(\S+)",
    "train:throughput": r"#throughput_metric: host=\S+, train throughput=(\S+) records/second",
    "validation:mAP": r"#quality_metric: host=\S+, epoch=\S+, validation mAP <score>=\((\S+)\)",
}
SMALL = ("--train", "7", "--validation", "3")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Two epochs of resnet-50 on seven images in batches of three, an image without objects among them."""
    base, temporary = tmp_path_factory.mktemp("opt_ml"), tmp_path_factory.mktemp("tmp")
    base.rmdir()
    draw(base, *SMALL)
    job = Job(base, temporary)
    job.set(epochs="2", mini_batch_size="3", num_training_samples="7")
    ended = job.run("train")
    assert job.left_in_scratch() == []
    return ended


def test_it_ends_well_with_the_three_files_of_the_builtin(trained: Ended):
    assert trained.code == 0, trained.log
    assert trained.failure is None
    assert trained.model_files == MODEL


def test_every_published_metric_is_in_the_log_once_an_epoch(trained: Ended):
    for name, expression in PUBLISHED.items():
        values = re.findall(expression, trained.log)
        assert len(values) == 2, name
        assert all(np.isfinite(float(value.strip("()"))) for value in values), name
    assert re.findall(PUBLISHED["train:progress"], trained.log) == ["50.0", "100.0"]
    # Seven images in batches of three are three batches: the last one is of a single image.
    assert "epoch=1, batch=3 train cross_entropy" in trained.log


def test_the_configuration_lines_of_the_builtin(trained: Ended):
    for start in ("Reading default configuration from ", "Merging with provided configuration from "):
        assert start in trained.log
    assert re.search(r"Final configuration: \{.*'image_shape': '300'.*\}", trained.log)
    assert re.search(r"^\[\d\d/\d\d/\d{4} \d\d:\d\d:\d\d INFO \d+\] Final configuration", trained.log, re.MULTILINE)


def test_the_summary_line_counts_what_was_drawn(trained: Ended):
    boxes = [
        len(json.loads(path.read_text())["annotations"])
        for path in (trained.base / "input" / "data" / "train_annotation").rglob("*.json")
    ]
    empty = boxes.count(0)
    images = "1 image" if empty == 1 else f"{empty} images"
    assert f"train: 7 images, {sum(boxes)} boxes, 3 classes, {images} without objects" in trained.log
    assert trained.metrics["data"]["train"]["boxes"] == sum(boxes)


def test_metrics_hold_every_epoch_and_what_produced_it(trained: Ended):
    metrics = trained.metrics
    assert [epoch["epoch"] for epoch in metrics["epochs"]] == [0, 1]
    logged = re.findall(PUBLISHED["validation:mAP"], trained.log)
    assert [str(epoch["validation"]["mAP"]) for epoch in metrics["epochs"]] == logged
    best = [float(value) for value in BEST_MAP.findall(trained.log)]
    assert best == list(accumulate((epoch["validation"]["mAP"] for epoch in metrics["epochs"]), max))
    assert best[-1] == metrics["best_mAP"]
    losses = re.findall(r"train cross_entropy <loss>=\((\S+)\)", trained.log)
    assert [str(epoch["train"]["cross_entropy"]) for epoch in metrics["epochs"]] == losses
    assert metrics["epochs"][0]["train"]["images"] == 7
    assert len(metrics["epochs"][0]["validation"]["classes"]) == 3
    assert metrics["hyperparameters"]["base_network"] == "resnet-50"
    assert metrics["versions"]["mxnet"] == "1.9.1"


def test_hyperparams_json_has_the_genuine_files_keys_as_strings(trained: Ended):
    saved = json.loads((trained.base / "model" / "hyperparams.json").read_text())
    assert len(saved) == 26
    assert {type(value) for value in saved.values()} == {str}
    assert saved["kv_store"] == "device"
    assert (saved["num_classes"], saved["mini_batch_size"], saved["nms_topk"]) == ("3", "3", "400")


def test_module_loads_the_model_and_detects(trained: Ended):
    prefix = str(trained.base / "model" / "model_algo_1")
    graph, arguments, states = mx.model.load_checkpoint(prefix, 0)
    module = mx.mod.Module(graph, data_names=["data"], label_names=["label"])
    module.bind([("data", (1, 3, 300, 300))], [("label", (1, 1, 5))], for_training=False)
    module.set_params(arguments, states)
    image = next((trained.base / "input" / "data" / "validation").rglob("*.jpg"))
    pixels = mx.image.imresize(mx.image.imread(str(image)), 300, 300).transpose((2, 0, 1)).expand_dims(0)
    batch = mx.io.DataBatch([pixels.astype("float32")], [mx.nd.full((1, 1, 5), -1)])
    module.forward(batch, is_train=False)
    probabilities, detections = module.get_outputs()[0].asnumpy(), module.get_outputs()[3].asnumpy()
    assert probabilities.shape == (1, 4, 2268)
    assert np.isfinite(probabilities).all()
    assert detections.shape == (1, 2268, 6)


def digest(model: Path) -> str:
    return hashlib.sha256((model / "model_algo_1-0000.params").read_bytes()).hexdigest()


@pytest.mark.long
def test_the_same_seed_repeats_a_run_and_another_does_not(make_job: Callable[..., Job]):
    job = make_job("--train", "3", "--validation", "2", epochs="1", mini_batch_size="2", num_training_samples="3")
    digests = []
    for seed in ("4", "4", "5"):
        job.set(seed=seed)
        assert job.run().code == 0
        digests.append(digest(job.base / "model"))
    assert digests[0] == digests[1] != digests[2]


def test_recordio_with_a_frozen_trunk_and_adam(make_job: Callable[..., Job]):
    job = make_job(
        "--content",
        "recordio",
        *SMALL,
        epochs="1",
        mini_batch_size="4",
        num_training_samples="9",
        optimizer="adam",
        freeze_layer_pattern="^(conv0|bn|stage[1-4]_)",
    )
    ended = job.run()
    assert ended.code == 0, ended.log
    assert ended.model_files == MODEL
    assert re.search(r"Frozen by freeze_layer_pattern: \d+ of \d+ parameters", ended.log)
    assert "freezes layers of a training that began from scratch, so they keep their random values" in ended.log
    assert "num_training_samples is 9, but the train channel has 7 images" in ended.log


def test_vgg16_at_its_default_settings_takes_a_step(make_job: Callable[..., Job]):
    job = make_job(
        "--train",
        "2",
        "--validation",
        "1",
        base_network=None,
        mini_batch_size=None,
        learning_rate=None,
        epochs="1",
        num_training_samples="2",
    )
    ended = job.run()
    assert ended.code == 0, ended.log
    assert "'base_network': 'vgg-16'" in ended.log
    assert "'mini_batch_size': '32'" in ended.log


def test_early_stopping_ends_the_job(make_job: Callable[..., Job]):
    job = make_job(
        "--train",
        "2",
        "--validation",
        "1",
        epochs="9",
        mini_batch_size="2",
        num_training_samples="2",
        # The specification's lower bound: with it no epoch moves the weights enough to change a detection.
        learning_rate="1e-12",
        early_stopping="true",
        early_stopping_min_epochs="2",
        early_stopping_patience="1",
        early_stopping_tolerance="1.0",
    )
    ended = job.run()
    assert ended.code == 0, ended.log
    assert "Early stopping after epoch 1" in ended.log
    assert len(ended.metrics["epochs"]) == 2
    assert ended.metrics["ended_early"] is True


def test_channels_that_hold_the_same_records_are_told_once(make_job: Callable[..., Job], trained: Ended):
    """As below one S3Uri for both, where train.rec and validation.rec lie."""
    options = ("--train", "2", "--validation", "1", "--content", "recordio")
    job = make_job(*options, epochs="1", mini_batch_size="3", num_training_samples="3")
    data = job.base / "input" / "data"
    for name, other in (("train", "validation"), ("validation", "train")):
        shutil.copy(data / name / f"{name}.rec", data / other)
    ended = job.run()
    assert ended.code == 0, ended.log
    told = "validation holds exactly the images and boxes of train, so that the mAP says nothing of new images"
    assert (ended.log.count(told), trained.log.count(told)) == (1, 0)


def test_a_diverging_job_says_so_and_what_to_do(make_job: Callable[..., Job]):
    job = make_job(
        "--train",
        "10",
        "--validation",
        "1",
        epochs="1",
        mini_batch_size="1",
        learning_rate="1",
        num_training_samples="10",
    )
    ended = job.run()
    assert ended.code == 1, ended.log
    assert ended.failure is not None
    assert re.match(r"training diverged: the loss is not a finite number in epoch \d+, batch \d+", ended.failure)
    for remedy in ("Lower learning_rate (it is 1: try 0.1)", "clip_gradient", "warmup_epochs"):
        assert remedy in ended.failure


def test_a_network_whose_predictions_are_not_finite_is_not_saved(make_job: Callable[..., Job]):
    # The losses are finite until the last batch of an epoch, and the update after it breaks the network.
    job = make_job(
        "--train",
        "4",
        "--validation",
        "1",
        epochs="3",
        mini_batch_size="2",
        learning_rate="1",
        num_training_samples="4",
    )
    ended = job.run()
    assert ended.code == 1, ended.log
    assert "training diverged: the network's predictions are not finite numbers after epoch 1" in (ended.failure or "")
    assert ended.metrics["best_epoch"] == 0
    assert ended.model_files == MODEL
