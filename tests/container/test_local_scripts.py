"""local_test/train_local.sh, serve_local.sh and train_cluster.sh, as a person runs them."""

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import IMAGE
from container_runner import DEADLINE_SECONDS, ROOT
from ended_job import MODEL

pytestmark = pytest.mark.usefixtures("no_containers_left")


def script(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "local_test" / name, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_train_local_trains_on_what_the_folder_holds(make_job: Callable[..., Path]):
    base = make_job(epochs="1")
    ended = script("train_local.sh", IMAGE, base.parent)
    assert ended.returncode == 0, ended.stdout
    assert files(base / "model") == MODEL


def ask(port: int, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Ask on loopback; status 0 where nobody answers yet."""
    try:
        with urllib.request.urlopen(f"http://localhost:{port}{path}", body, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


def test_serve_local_hosts_what_train_local_has_trained(make_job: Callable[..., Path]):
    base = make_job(epochs="1")
    assert script("train_local.sh", IMAGE, base.parent).returncode == 0
    picture = next((base / "input" / "data" / "validation").glob("*.jpg")).read_bytes()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serving = subprocess.Popen(
        [ROOT / "local_test" / "serve_local.sh", IMAGE, base.parent],
        env={**os.environ, "PORT": str(port), "DOCKER_OPTIONS": "--env SAGEMAKER_SSD_SCORE=1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while ask(port, "/ping") != (200, b""):
            assert serving.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        # No score reaches 1: the option has come to the container.
        assert ask(port, "/invocations", picture) == (200, b'{"prediction": []}')
        status, body = ask(port, "/invocations", b"no image")
        assert (status, json.loads(body)) == (400, {"error": "the request's body: damaged or not an image"})
    finally:
        # What a person's Ctrl-C and a service manager send; docker hands it on.
        serving.terminate()
        log, _ = serving.communicate(timeout=60)
    assert serving.returncode == 0, log
    assert log.splitlines()[-1].endswith("Stopped")


def test_serve_local_without_a_model_says_so(tmp_path: Path):
    ended = script("serve_local.sh", IMAGE, tmp_path)
    assert ended.returncode == 1
    assert ended.stdout.endswith(
        "/opt_ml/model: there is no model; train one with train_local.sh, or unpack a model.tar.gz there\n"
    )


def test_train_local_draws_what_is_not_there_and_hands_on_the_exit_code(tmp_path: Path):
    (tmp_path / "opt_ml" / "model").mkdir(parents=True)
    # What the program writes first, to see whether it can.
    (tmp_path / "opt_ml" / "model" / ".writable.sagemaker-ignore").mkdir()
    ended = script("train_local.sh", IMAGE, tmp_path)
    assert ended.returncode == 1, ended.stdout
    assert "40 images to train, 12 to validate, as images" in ended.stdout
    assert "cannot write to /opt/ml/model" in (tmp_path / "opt_ml" / "output" / "failure").read_text()


def test_a_cluster_of_one_trains(make_job: Callable[..., Path]):
    base = make_job(epochs="1")
    ended = script("train_cluster.sh", 1, IMAGE, base.parent)
    assert ended.returncode == 0, ended.stdout
    assert "algo-1 | " in ended.stdout
    assert ended.stdout.endswith("algo-1 ended with exit code 0\n")
    assert files(base.parent / "opt_ml_cluster" / "algo-1" / "model") == MODEL


def test_a_cluster_of_two_trains_together(make_job: Callable[..., Path], tmp_path: Path):
    folder = tmp_path / "a job"
    folder.mkdir()
    make_job(epochs="2").rename(folder / "opt_ml")
    # Every host has it, as on SageMaker.
    (folder / "opt_ml" / "checkpoints").mkdir()
    ended = script("train_cluster.sh", 2, IMAGE, folder)
    assert ended.returncode == 0, ended.stdout
    assert "Create Store: dist_sync, 2 hosts" in ended.stdout
    assert (folder / "opt_ml" / "checkpoints" / "sagemaker-ssd-0001.json").is_file()
    for host in ("algo-1", "algo-2"):
        assert f"{host} ended with exit code 0\n" in ended.stdout
        assert f"#quality_metric: host={host}, epoch=1, batch=1 train cross_entropy <loss>=(" in ended.stdout
    assert ended.stdout.count("validation mAP <score>=") == 2
    cluster = folder / "opt_ml_cluster"
    assert (files(cluster / "algo-1" / "model"), files(cluster / "algo-2" / "model")) == (MODEL, set())


def test_a_cluster_of_three_shows_every_hosts_failure(make_job: Callable[..., Path]):
    base = make_job(epochs="1", kv_store="dist")
    ended = script("train_cluster.sh", 3, IMAGE, base.parent)
    assert ended.returncode == 1, ended.stdout
    for host in ("algo-1", "algo-2", "algo-3"):
        assert f"{host} ended with exit code 1\n" in ended.stdout
        assert f"{host} failed: hyperparameters.json: kv_store is 'dist'; it must be dist_sync" in ended.stdout


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("train_local.sh", ()), ("serve_local.sh", ()), ("train_cluster.sh", ("two", IMAGE)), ("train_cluster.sh", (2,))],
)
def test_a_wrong_call_shows_the_usage(name: str, arguments: tuple[object, ...]):
    ended = script(name, *arguments)
    assert ended.returncode == 64
    assert ended.stdout.startswith(f"usage: {name} ")


def test_an_image_that_is_not_there_leaves_nothing_behind(make_job: Callable[..., Path]):
    ended = script("train_cluster.sh", 2, "sagemaker-ssd:of-no-build", make_job(epochs="1").parent)
    assert ended.returncode != 0
