"""SDK v2: Estimator(image_uri=..., instance_type="local").fit(...) with the image.

The SDK passes hyperparameters as str() of their Python values and the rest of the contract without
S3DistributionType and RecordWrapperType. It needs a region, and no AWS as long as output_path is a file:// address.
"""

import json
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


def test_a_wrong_hyperparameter_makes_fit_raise_and_is_said(train: Callable[..., Ended]):
    ended = train(mini_batch_size=0)
    assert ended.code == 1
    assert "RuntimeError: Failed to run: " in ended.output
    failure = packed(ended.results / "output.tar.gz")["failure"].decode()
    assert "mini_batch_size" in failure
    assert failure in ended.output
    assert packed(ended.results / "model.tar.gz") == {}
