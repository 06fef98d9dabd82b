"""SDK v2: Estimator(image_uri=..., instance_type="local").fit(...) with the image.

The SDK passes hyperparameters as str() of their Python values and the rest of the contract without
S3DistributionType and RecordWrapperType. It needs a region, and no AWS as long as output_path is a file:// address.
"""

import json
import re
from collections.abc import Callable

import pytest
from sdk_runner import MODEL, PASSED, SECRET, Ended, packed, passed_values

SDK_VERSION = 2
# The first test makes the environment.
pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize("content", ["images", "recordio"])
def test_fit_trains_and_finds_the_model(train: Callable[..., Ended], content: str):
    ended = train(content)
    assert ended.code == 0, ended.output
    archive = ended.results / "model.tar.gz"
    assert f"model_data: file://{archive}\n" in ended.output
    model = packed(archive)
    assert set(model) == MODEL
    assert all(model.values())
    assert passed_values(json.loads(model["hyperparams.json"])) == PASSED
    metrics = json.loads(packed(ended.results / "output.tar.gz")["data/metrics.json"])
    assert [epoch["epoch"] for epoch in metrics["epochs"]] == [0]
    assert ", epoch=0, batch=2 train cross_entropy <loss>=(" in ended.output
    assert ", epoch=0, validation mAP <score>=(" in ended.output
    assert "completed 100.0 % of epochs" in ended.output
    assert SECRET not in ended.output


def test_two_hosts_train_together_into_one_model(train: Callable[..., Ended]):
    # The SDK mounts one folder as /opt/ml/model of both, and stops all containers when the first one ends.
    ended = train(hosts=2, kv_store="dist_sync", epochs=2)
    assert ended.code == 0, ended.output
    model = packed(ended.results / "model.tar.gz")
    assert set(model) == MODEL
    assert json.loads(model["hyperparams.json"])["kv_store"] == "dist_sync"
    hosts = set(re.findall(r"host=(\S+), epoch=1, batch=1 train cross_entropy", ended.output))
    assert {host.partition("-")[0] for host in hosts} == {"algo"}
    assert len(hosts) == 2
    assert ended.output.count(", validation mAP <score>=(") == 2
    assert "Training is done. Model: /opt/ml/model" in ended.output
    metrics = json.loads(packed(ended.results / "output.tar.gz")["data/metrics.json"])
    assert metrics["epochs"][1]["train"]["images"] == 4


def test_a_failure_of_two_hosts_makes_fit_raise(train: Callable[..., Ended]):
    ended = train(hosts=2)
    assert ended.code == 1
    assert "kv_store is not set, and the job has 2 hosts: set it to dist_sync" in ended.output


def test_a_wrong_hyperparameter_makes_fit_raise_and_is_said(train: Callable[..., Ended]):
    ended = train(mini_batch_size=0)
    assert ended.code == 1
    assert "RuntimeError: Failed to run: " in ended.output
    failure = packed(ended.results / "output.tar.gz")["failure"].decode()
    assert "mini_batch_size" in failure
    assert failure in ended.output
    assert packed(ended.results / "model.tar.gz") == {}
