"""SDK v3: ModelTrainer(training_mode=Mode.LOCAL_CONTAINER, compute=Compute("local_cpu")).train(...) with the image.

The SDK passes strings as they are and JSON of all other hyperparameters, names a network interface that the container
does not have ("ethwe"), and gives no command, so that the image's entry point alone starts the job. It needs no AWS.
"""

import json
import subprocess
from pathlib import Path

import pytest
from sdk_runner import MODEL, PASSED, SECRET, LocalMode, documented, packed, passed_values, predicted

SDK_VERSION = 3
# The first test makes the environment.
pytestmark = pytest.mark.timeout(900)


def test_train_trains_and_leaves_the_model(mode: LocalMode):
    ended = mode.train()
    assert ended.code == 0, ended.output
    model = packed(ended.results / "compressed_artifacts" / "model.tar.gz")
    assert set(model) == MODEL
    assert all(model.values())
    assert {path.name for path in (ended.results / "artifacts" / "model").iterdir()} == MODEL
    assert passed_values(json.loads(model["hyperparams.json"])) == PASSED
    metrics = json.loads((ended.results / "artifacts" / "output" / "data" / "metrics.json").read_text())
    assert [epoch["epoch"] for epoch in metrics["epochs"]] == [0]
    assert "host=algo-1, epoch=0, batch=2 train cross_entropy <loss>=(" in ended.output
    assert "host=algo-1, epoch=0, validation mAP <score>=(" in ended.output
    assert "completed 100.0 % of epochs" in ended.output
    assert SECRET not in ended.output


def test_what_was_trained_is_hosted(mode: LocalMode):
    trained = mode.train()
    assert trained.code == 0, trained.output
    archive = trained.results / "compressed_artifacts" / "model.tar.gz"
    photo = next((mode.folder / "job" / "input" / "data" / "validation").glob("*.jpg"))
    (mode.folder / "photo.jpg").write_bytes(photo.read_bytes())
    written = "file:///home/me/my_job/results/compressed_artifacts/model.tar.gz"
    (snippet,) = documented(3, {'"sagemaker-ssd:cpu"': f'"{mode.image}"', written: f"file://{archive}"})
    hosted = mode.run("host", trained.results, trained.results, snippet)
    assert hosted.code == 0, hosted.output
    rows = predicted(archive, photo)
    assert len(rows) > 10
    assert json.loads((trained.results / "answers.json").read_text()) == rows
    assert mode.containers() == []


def test_two_hosts_train_together_into_one_model(mode: LocalMode):
    ended = mode.train(hosts=2, kv_store="dist_async")
    assert ended.code == 0, ended.output
    model = packed(ended.results / "compressed_artifacts" / "model.tar.gz")
    assert set(model) == MODEL
    assert json.loads(model["hyperparams.json"])["kv_store"] == "dist_async"
    for host in ("algo-1", "algo-2"):
        assert f"host={host}, epoch=0, batch=1 train cross_entropy <loss>=(" in ended.output


def test_a_wrong_hyperparameter_makes_train_raise_and_is_said(mode: LocalMode):
    ended = mode.train(mini_batch_size=0)
    assert ended.code == 1
    assert "RuntimeError: Failed to run: " in ended.output
    failure = (ended.results / "artifacts" / "output" / "failure").read_text()
    assert "mini_batch_size" in failure
    assert failure in ended.output
    assert packed(ended.results / "compressed_artifacts" / "model.tar.gz") == {}


def test_the_sdk_can_remove_what_the_container_wrote(image: str, tmp_path: Path):
    # What sagemaker/train/local/local_container.py, _rmtree, runs for everyone who is not root; when it fails, train()
    # raises after a job that went well.
    written = tmp_path / "written"
    written.mkdir(mode=0o700)
    command = ["docker", "run", "--rm", "-v", f"{tmp_path}:/delete", image, "chmod", "-R", "777", "/delete"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert written.stat().st_mode & 0o777 == 0o777
