"""SDK v2: Estimator(image_uri=..., instance_type="local").fit(...) with the image.

The SDK passes hyperparameters as str() of their Python values and the rest of the contract without
S3DistributionType and RecordWrapperType. It needs a region, and no AWS as long as output_path is a file:// address.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from sdk_runner import (
    MODEL,
    NETWORK,
    PASSED,
    SECRET,
    Ended,
    LocalMode,
    docker,
    documented,
    local_mode,
    packed,
    passed_values,
    predicted,
)

SDK_VERSION = 2
# The first test makes the environment.
pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize("content", ["images", "recordio"])
def test_fit_trains_and_finds_the_model(mode: LocalMode, content: str):
    ended = mode.train(content)
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


def test_two_hosts_train_together_into_one_model(mode: LocalMode):
    # The SDK mounts one folder as /opt/ml/model of both, and stops all containers when the first one ends.
    ended = mode.train(hosts=2, kv_store="dist_sync", epochs=2)
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


def test_a_failure_of_two_hosts_makes_fit_raise(mode: LocalMode):
    ended = mode.train(hosts=2)
    assert ended.code == 1
    assert "kv_store is not set, and the job has 2 hosts: set it to dist_sync" in ended.output


def test_a_wrong_hyperparameter_makes_fit_raise_and_is_said(mode: LocalMode):
    ended = mode.train(mini_batch_size=0)
    assert ended.code == 1
    assert "RuntimeError: Failed to run: " in ended.output
    failure = packed(ended.results / "output.tar.gz")["failure"].decode()
    assert "mini_batch_size" in failure
    assert failure in ended.output
    assert packed(ended.results / "model.tar.gz") == {}


def host(mode: LocalMode, *snippets: str) -> Ended:
    """Train, then run snippets; the pictures of the validation are in the folder `photos`, one is photo.jpg."""
    results = mode.results()
    arguments = mode.job(results)
    (mode.folder / "photos").mkdir()
    for photo in sorted((mode.folder / "job" / "input" / "data" / "validation").glob("*.jpg")):
        (mode.folder / "photos" / photo.name).write_bytes(photo.read_bytes())
    (mode.folder / "photo.jpg").write_bytes(photo.read_bytes())
    return mode.run("host", results, *arguments, json.dumps(snippets))


@pytest.fixture(scope="module")
def hosted(shared_mode: LocalMode) -> Ended:
    replaced = {'"ml.c6i.xlarge"': '"local"'}
    for folder in ("photos", "detections"):
        replaced[f"s3://my-bucket/{folder}/"] = f"file://{shared_mode.folder / folder}"
    ended = host(shared_mode, *documented(2, replaced))
    assert ended.code == 0, ended.output
    return ended


@pytest.fixture(scope="module")
def answers(hosted: Ended) -> dict[str, Any]:
    return json.loads((hosted.results / "answers.json").read_text())


def test_an_endpoint_after_fit_answers_what_predict_prints(shared_mode: LocalMode, hosted: Ended, answers: dict):
    rows = predicted(hosted.results / "model.tar.gz", shared_mode.folder / "photo.jpg")
    assert len(rows) > 10
    assert answers["rows"] == rows
    # The container's own lines reach the person, and no secret does.
    assert "POST /invocations 200 in" in hosted.output
    assert SECRET not in hosted.output


@pytest.mark.parametrize("serializer", ["default", "bytes", "path"])
def test_every_serializer_for_bytes_gets_the_same_answer(answers: dict, serializer: str):
    answer = answers[serializer]
    if serializer == "default":
        answer = json.loads(answer)
    assert answer == {"prediction": answers["rows"]}


def test_annotations_by_accept(answers: dict):
    shown = json.loads(answers["default, annotations"])
    assert shown.keys() == {"image_size", "annotations"}
    assert shown["annotations"] == answers["annotations"]
    assert [note["score"] for note in answers["annotations"]] == [row[1] for row in answers["rows"]]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("no image", "the request's body: damaged or not an image"),
        ("csv", "Content-Type is 'text/csv', which is no image: send the bytes of one image file"),
        ("npy", "Accept is 'application/x-npy', and this model answers in application/json or"),
    ],
)
def test_an_error_reaches_the_client_as_json(answers: dict, asked: str, sentence: str):
    answer = answers[asked]
    if isinstance(answer, str):
        answer = json.loads(answer)
    assert answer.keys() == {"error"}
    assert answer["error"].startswith(sentence)


def test_a_transform_writes_the_answer_of_every_file(shared_mode: LocalMode, hosted: Ended):
    photos = sorted((shared_mode.folder / "photos").iterdir())
    found = sorted((shared_mode.folder / "detections").rglob("*.out"))
    assert [path.name for path in found] == [f"{photo.name}.out" for photo in photos]
    assert len(found) == 2
    for path, photo in zip(found, photos, strict=True):
        rows = predicted(hosted.results / "model.tar.gz", photo)
        assert json.loads(path.read_text()) == {"prediction": rows}


def test_the_endpoint_and_the_transform_have_ended(shared_mode: LocalMode, hosted: Ended):
    assert shared_mode.containers() == []
    # Some versions of Compose leave the training's, the endpoint's and the transform's, ended.
    left = shared_mode.containers("--all")
    assert {docker("inspect", "--format", "{{.State.ExitCode}}", container).strip() for container in left} <= {"0"}


def test_what_a_program_leaves_that_dies_is_removed(image: str, tmp_path: Path):
    networks = docker("network", "ls", "--format", "{{.Name}}").split()
    folder = tmp_path / "mode"
    folder.mkdir()
    with local_mode(2, image, folder) as mode:
        dies = "estimator.deploy(1, 'local')\nimport os, signal\nos.killpg(0, signal.SIGKILL)"
        ended = host(mode, dies, "", "")
        assert ended.code == -9, ended.output
        containers = mode.containers()
        assert len(containers) == 1
    assert not set(containers) & set(docker("ps", "--all", "--quiet").split())
    assert not folder.exists()
    assert (NETWORK in docker("network", "ls", "--format", "{{.Name}}").split()) == (NETWORK in networks)
