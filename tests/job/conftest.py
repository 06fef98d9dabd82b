"""Fixtures of whole jobs."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from job_runner import Job, Watched, draw


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., Job]:
    """Draw a job: make_job("--train", "6", epochs="1")."""

    def make(*options: str, **hyperparameters: str | None) -> Job:
        base, temporary = tmp_path / "opt_ml", tmp_path / "tmp"
        temporary.mkdir()
        draw(base, *options)
        job = Job(base, temporary)
        job.set(**hyperparameters)
        return job

    return make


@pytest.fixture
def watch() -> Iterator[Callable[..., Watched]]:
    """Start a job and watch it; whatever still runs at the test's end is killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(job: Job, *arguments: str) -> Watched:
        process = job.start(*arguments)
        started.append(process)
        return Watched(process)

    yield begin
    for process in started:
        process.kill()
        process.wait()
