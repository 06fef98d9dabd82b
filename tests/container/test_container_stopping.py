"""`docker stop`, and process 1's other duty: orphans."""

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

from container_runner import Engine, docker
from ended_job import MODEL

# docker stop kills after ten seconds; the job has to be quicker.
GRACE_SECONDS = 10.0
STATES = """
import pathlib
for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
    print(path.read_text().rpartition(") ")[2].split()[0])
"""


def digests(model: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in model.iterdir()}


def test_a_stop_within_an_epoch_keeps_the_best_model(engine: Engine, make_job: Callable[..., Path]):
    base = make_job(epochs="50")
    container = engine.start(base, "train")
    container.until("completed 2.0 % of epochs")
    time.sleep(0.5)
    before = digests(base / "model")
    seconds = container.stop()
    ended = container.end()
    assert ended.code == 0, ended.log
    assert seconds < GRACE_SECONDS
    assert "completed 4.0 %" not in ended.log
    assert "Stopped on request, the best model so far is in place" in ended.log
    assert set(before) == MODEL
    assert digests(base / "model") == before
    assert json.loads((base / "model" / "model_algo_1-symbol.json").read_text())["nodes"]
    assert len(ended.metrics["epochs"]) == 1
    assert ended.failure is None


def test_a_stop_before_the_first_model_is_a_failure(engine: Engine, make_job: Callable[..., Path]):
    container = engine.start(make_job(epochs="1"), "train")
    container.until("built for CPUs")
    seconds = container.stop()
    ended = container.end()
    assert ended.code == 2, ended.log
    assert seconds < GRACE_SECONDS
    assert "stopped on request before the first model was saved" in (ended.failure or "")
    assert ended.model_files == set()


def test_orphans_are_reaped_and_the_worker_is_not_taken_for_one(engine: Engine, make_job: Callable[..., Path]):
    container = engine.start(make_job(epochs="1"), "train")
    container.until("Start training.")
    for _ in range(3):
        docker("exec", container.name, "sh", "-c", "sleep 0.1 & sleep 0.1 &")
    time.sleep(1)
    states = docker("exec", container.name, "python3", "-c", STATES).split()
    assert "Z" not in states
    # The supervisor, the worker and the one that asks.
    assert len(states) == 3
    ended = container.end()
    assert ended.code == 0, ended.log
