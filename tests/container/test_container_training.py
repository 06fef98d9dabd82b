"""Whole jobs in the image: the two ways of starting it, wrong input, and what it says of its version."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from container_runner import Engine
from ended_job import MODEL


def test_train_on_images(engine: Engine, make_job: Callable[..., Path]):
    ended = engine.run(make_job(epochs="2"), "train")
    assert ended.code == 0, ended.log
    assert ended.model_files == MODEL
    assert ended.failure is None
    assert len(ended.metrics["epochs"]) == 2
    assert "#progress_metric: host=algo-1, completed 100.0 % of epochs" in ended.log


def test_no_argument_on_recordio(engine: Engine, make_job: Callable[..., Path]):
    ended = engine.run(make_job("--content", "recordio", epochs="1"))
    assert ended.code == 0, ended.log
    assert ended.model_files == MODEL
    # The version is the same in the log, in the metrics and on the image.
    version = ended.metrics["versions"]["sagemaker-ssd"]
    assert f"sagemaker-ssd {version}, built for CPUs" in ended.log.splitlines()[0]
    assert engine.inspect()["Config"]["Labels"]["org.opencontainers.image.version"] == version


def test_pretrained_without_a_network(engine: Engine, make_job: Callable[..., Path]):
    base = make_job(epochs="1", base_network="vgg-16", use_pretrained_model="1")
    ended = engine.run(base, "train", options=("--network", "none", "--read-only", "--tmpfs", "/tmp"))
    assert ended.code == 0, ended.log
    assert ended.model_files == MODEL
    # What the weights are is the same in the log, in the metrics and on the image.
    start, label = ended.metrics["start"], engine.inspect()["Config"]["Labels"]["sagemaker-ssd.weights"]
    assert start["from"] == "pretrained"
    told = ", ".join(start[name] for name in ("source", "title", "checksum", "licence"))
    assert f"Start from pre-trained weights: {told}" in ended.log
    assert f"vgg-16: {told}" in label.split("; ")
    assert ({"fc6", "fc7"} < set(start["layers_starting_anew"])) == (start["source"] == "keras")
    assert not any(layer.startswith("conv") for layer in start["layers_starting_anew"])


def test_a_new_container_goes_on_from_the_checkpoint(engine: Engine, make_job: Callable[..., Path]):
    base = make_job(epochs="1")
    (base / "checkpoints").mkdir()
    assert engine.run(base, "train").code == 0
    # What a new instance has of the job before is its checkpoints.
    for folder in ("model", "output"):
        shutil.rmtree(base / folder)
        (base / folder).mkdir()
    config = base / "input" / "config" / "hyperparameters.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"epochs": "2"}))
    ended = engine.run(base, "train", options=("--network", "none"))
    assert ended.code == 0, ended.log
    assert "Resuming after epoch 0 of 2" in ended.log
    assert ended.model_files == MODEL
    assert [epoch["epoch"] for epoch in ended.metrics["epochs"]] == [0, 1]
    assert ended.metrics["start"]["resumed_after_epoch"] == 0


def test_resnet50_has_weights_where_the_build_asked_for_them(engine: Engine, make_job: Callable[..., Path]):
    ended = engine.run(make_job(epochs="1", use_pretrained_model="1"), "train")
    if "resnet-50: " in engine.inspect()["Config"]["Labels"]["sagemaker-ssd.weights"]:
        assert ended.code == 0, ended.log
        assert ended.metrics["start"]["from"] == "pretrained"
        return
    assert ended.code == 1
    for part in ("make image WEIGHTS=", "`pretrained` channel", "set use_pretrained_model to 0"):
        assert part in (ended.failure or "")


def test_wrong_hyperparameters_leave_the_failure_file(engine: Engine, make_job: Callable[..., Path]):
    ended = engine.run(make_job(epochs="0", learning_rate="0,001"), "train")
    assert ended.code == 1
    assert ended.failure is not None
    assert ended.failure.startswith("2 problems:")
    for part in ("epochs is '0'", "learning_rate is '0,001', which is not a number; write 0.001"):
        assert part in ended.failure
    assert ended.failure in ended.log
    assert "Traceback" not in ended.log


def test_wrong_data_leave_the_failure_file(engine: Engine, make_job: Callable[..., Path]):
    base = make_job(epochs="1")
    annotation = next((base / "input" / "data" / "train_annotation").iterdir())
    content = json.loads(annotation.read_text())
    content["annotations"] = [{"class_id": 7, "left": 1, "top": 1, "width": 9, "height": 9}]
    annotation.write_text(json.dumps(content))
    ended = engine.run(base, "train")
    assert ended.code == 1, ended.log
    assert annotation.name in (ended.failure or "")
    assert "class_id" in (ended.failure or "")
    assert ended.model_files == set()


@pytest.mark.parametrize("arguments", [("deploy",), ("train", "again"), ("python3",)])
def test_anything_but_train_is_refused(engine: Engine, tmp_path: Path, arguments: tuple[str, ...]):
    ended = engine.run(tmp_path, *arguments)
    assert ended.code == 1
    assert f"it was started with `{' '.join(arguments)}`" in (ended.failure or "")


def test_nothing_mounted_at_all(engine: Engine, tmp_path: Path):
    ended = engine.run(tmp_path, "train")
    assert ended.code == 1
    assert "there is no file /opt/ml/input/config/hyperparameters.json" in (ended.failure or "")
