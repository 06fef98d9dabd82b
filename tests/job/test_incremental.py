"""Incremental training: whole jobs that continue from a model in the model channel."""

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from ended_job import MODEL, Ended
from job_runner import Job, draw
from sagemaker_ssd.contract.hyperparameters import ARTIFACT_KEYS
from sagemaker_ssd.ssd.graphs import saved_graph
from sagemaker_ssd.ssd.initial_values import initial_parameters
from sagemaker_ssd.ssd.network import Network

pytestmark = pytest.mark.long

PARAMETERS = "model_algo_1-0000.params"
QUICK = {"epochs": "1", "mini_batch_size": "2", "num_training_samples": "1"}
# The specification's lower bound: with it the trained values stay where they begin.
STILL = {"learning_rate": "1e-12", "weight_decay": "0"}


def with_model(job: Job, files: dict[str, bytes]) -> Path:
    """Add a model channel with these files packed as SageMaker packs them."""
    config = job.config("inputdataconfig")
    channel = {"ContentType": "application/x-sagemaker-model", "TrainingInputMode": "File"}
    config.write_text(json.dumps({**json.loads(config.read_text()), "model": channel}))
    archive = job.base / "input" / "data" / "model" / "model.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz", compresslevel=0) as packed:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    return archive


def assert_begun_with(ended: Ended, given: dict[str, mx.nd.NDArray]) -> None:
    saved = mx.nd.load(str(ended.base / "model" / PARAMETERS))
    assert saved.keys() == given.keys()
    for name, array in saved.items():
        if name.startswith("arg:"):
            np.testing.assert_allclose(array.asnumpy(), given[name].asnumpy(), atol=1e-6, err_msg=name)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A job of one epoch from random values."""
    base, temporary = tmp_path_factory.mktemp("opt_ml"), tmp_path_factory.mktemp("tmp")
    base.rmdir()
    draw(base, "--train", "1", "--validation", "1")
    job = Job(base, temporary)
    job.set(**QUICK, seed="11")
    ended = job.run()
    assert ended.code == 0, ended.log
    assert ended.metrics["start"]["from"] == "scratch"
    return ended


def test_a_job_continues_from_an_earlier_jobs_model(make_job: Callable[..., Job], earlier: Ended):
    job = make_job("--train", "1", "--validation", "1", **QUICK, **STILL, seed="12")
    given = {name: (earlier.base / "model" / name).read_bytes() for name in MODEL}
    archive = with_model(job, given)
    ended = job.run()
    assert ended.code == 0, ended.log
    assert ended.model_files == MODEL
    assert_begun_with(ended, mx.nd.load(str(earlier.base / "model" / PARAMETERS)))
    start = ended.metrics["start"]
    assert (start["from"], start["file"]) == ("model", "model/model.tar.gz")
    assert start["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert (start["layers_starting_anew"], start["unused_parameters"]) == ([], [])
    assert start["hyperparameters"] == json.loads(given["hyperparams.json"])
    told = re.search(r"Continue training from model/model.tar.gz: (\d+) of (\d+) parameters", ended.log)
    assert told is not None
    assert told[1] == told[2]
    assert (
        "It was trained with other hyperparameters: learning_rate 0.001 (now 1e-12), weight_decay 0.0005 (now 0.0)\n"
        in (ended.log)
    )
    # The first epoch's losses are those of the earlier model, not those of random values.
    assert ended.metrics["epochs"][0]["train"]["cross_entropy"] != pytest.approx(
        earlier.metrics["epochs"][0]["train"]["cross_entropy"], rel=1e-3
    )
    assert job.left_in_scratch() == []


def one_class_only(job: Job) -> None:
    for path in (job.base / "input" / "data").glob("*_annotation/**/*.json"):
        content = json.loads(path.read_text())
        for annotation in content["annotations"]:
            annotation["class_id"] = 0
        path.write_text(json.dumps(content))


def test_a_model_with_the_builtins_files_continues_at_another_image_shape(make_job: Callable[..., Job], tmp_path: Path):
    graph = saved_graph(Network("resnet-50", 512, 1))
    values = initial_parameters(graph, 512, seed=21)
    given = {f"arg:{name}": array for name, array in values.arguments.items()}
    given |= {f"aux:{name}": array for name, array in values.states.items()}
    mx.nd.save(str(tmp_path / "params"), given)
    settings = {
        "label_width": "150", "early_stopping_min_epochs": "10", "epochs": "50", "overlap_threshold": "0.5",
        "lr_scheduler_factor": "0.1", "_num_kv_servers": "auto", "weight_decay": "0.0005", "mini_batch_size": "16",
        "use_pretrained_model": "1", "freeze_layer_pattern": "", "lr_scheduler_step": "10", "early_stopping": "False",
        "early_stopping_patience": "5", "momentum": "0.9", "num_training_samples": "1408", "optimizer": "sgd",
        "_tuning_objective_metric": "", "early_stopping_tolerance": "0.0", "learning_rate": "0.001",
        "kv_store": "device", "nms_threshold": "0.45", "num_classes": "4", "base_network": "resnet-50",
        "nms_topk": "400", "_kvstore": "device", "image_shape": "512",
    }  # fmt: skip
    assert settings.keys() == ARTIFACT_KEYS
    job = make_job("--train", "1", "--validation", "1", **QUICK, **STILL, num_classes="1", image_shape="300")
    one_class_only(job)
    parameters = (tmp_path / "params").read_bytes()
    with_model(
        job,
        {
            "hyperparams.json": json.dumps(settings).encode(),
            "model_algo_1-symbol.json": graph.tojson().encode(),
            "model_algo_1-0000.params": parameters,
            # What people add: the same parameters for a graph that only detects.
            "deploy_model_algo_1-0000.params": parameters,
        },
    )
    ended = job.run()
    assert ended.code == 0, ended.log
    assert_begun_with(ended, given)
    assert ended.metrics["start"]["layers_starting_anew"] == []
    assert "image_shape 512 (now 300)" in ended.log
    # Such settings of another training were found beside a real artifact's graph.
    assert "hyperparams.json says num_classes 4, but the parameters are of 1: these count" in ended.log


def test_another_network_than_the_models_is_refused_before_the_data_are_read(
    make_job: Callable[..., Job], earlier: Ended
):
    job = make_job("--train", "1", "--validation", "1", **QUICK, num_classes="4", base_network="vgg-16")
    with_model(job, {PARAMETERS: (earlier.base / "model" / PARAMETERS).read_bytes()})
    ended = job.run()
    assert ended.code == 1, ended.log
    assert ended.failure == (
        "2 problems:\n"
        "- model/model.tar.gz: its model has base_network resnet-50, but this job has base_network vgg-16: set "
        "base_network to resnet-50, or remove the model channel\n"
        "- model/model.tar.gz: its model has num_classes 3, but this job has num_classes 4: set num_classes to 3 and "
        "use data with the same classes, or remove the model channel"
    )
    assert "Traceback" not in ended.log
    assert "train: 1 image" in earlier.log
    assert "train: 1 image" not in ended.log
    assert job.left_in_scratch() == []


def test_an_archive_that_is_none_is_refused(make_job: Callable[..., Job]):
    job = make_job("--train", "1", "--validation", "1", **QUICK)
    with_model(job, {}).write_bytes(b"not an archive" * 99)
    ended = job.run()
    assert ended.code == 1, ended.log
    assert (ended.failure or "").startswith(
        "model/model.tar.gz: it is neither a gzip file nor a tar archive; make one by `tar -czf model.tar.gz "
    )
    assert "Traceback" not in ended.log
    assert job.left_in_scratch() == []
