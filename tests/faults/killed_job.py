"""A small job with checkpoints that can be killed at any moment, and what is found of it afterwards."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import mxnet as mx
import numpy as np

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS)]

from ended_job import MODEL  # noqa: E402
from job_runner import Job, draw  # noqa: E402
from process_tree import descendants  # noqa: E402
from sagemaker_ssd.contract.model_folder import finish_publication  # noqa: E402

MAP_LINE = re.compile(r"epoch=\d+, validation mAP <score>=\(\S+\)")


def small_job(folder: Path, **hyperparameters: str) -> Job:
    """Draw a job of three images whose checkpoints go to `<base>/checkpoints`."""
    job = Job(folder / "opt_ml", folder / "tmp")
    job.temporary.mkdir(parents=True)
    draw(job.base, "--train", "3", "--validation", "2")
    (job.base / "checkpoints").mkdir()
    settings = {"mini_batch_size": "2", "num_training_samples": "3", "overlap_threshold": "0.1", **hyperparameters}
    job.set(**settings)
    return job


class Run:
    """`./train` with its log in a file."""

    def __init__(self, job: Job) -> None:
        self._path = job.temporary.parent / "log.txt"
        with self._path.open("w") as log:
            self._process = subprocess.Popen(
                [TESTS.parent / "train"],
                env={**os.environ, "SAGEMAKER_BASE_DIR": str(job.base), "TMPDIR": str(job.temporary)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.begun = time.monotonic()

    @property
    def log(self) -> str:
        return self._path.read_text()

    def ended(self) -> int | None:
        return self._process.poll()

    def until(self, text: str, count: int = 1) -> None:
        """Wait until the log holds a text so many times."""
        while self.log.count(text) < count:
            if self.ended() is not None:
                raise AssertionError(f"the job ended without {text!r}:\n{self.log}")
            time.sleep(0.005)

    def kill(self) -> None:
        """Kill the whole tree of processes, children first, and wait for its end."""
        tree = [self._process.pid, *descendants(self._process.pid)]
        for process in reversed(tree):
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait()
        while any(Path(f"/proc/{process}").exists() for process in tree):
            time.sleep(0.005)

    def wait(self) -> str:
        """Wait for the end, which must be a good one that nobody asked for, and return the log."""
        code = self._process.wait(timeout=3600)
        assert code == 0, self.log
        assert "Asked to stop" not in self.log, "somebody sent the job a signal to stop"
        return self.log


@dataclass
class Found:
    """What is in the checkpoint folder: the newest epoch, -1 for none, and everything that should not be so."""

    epoch: int = -1
    faults: list[str] = field(default_factory=list)


def checkpoint(job: Job) -> Found:
    """Judge the newest checkpoint, without the program's own code."""
    found, folder = Found(), job.base / "checkpoints"
    manifests = sorted(folder.glob("sagemaker-ssd-????.json"))
    if not manifests:
        return found
    manifest = json.loads(manifests[-1].read_text())
    found.epoch = manifest["epoch"]
    if manifests[-1].name != f"sagemaker-ssd-{found.epoch:04d}.json" or len(manifest["scores"]) != found.epoch + 1:
        found.faults.append(f"{manifests[-1].name} does not agree with itself")
    for name, facts in manifest["files"].items():
        content = (folder / name).read_bytes()
        if (len(content), hashlib.sha256(content).hexdigest()) != (facts["size"], facts["sha256"]):
            found.faults.append(f"{name} is not as its manifest says")
        elif not mx.nd.load(str(folder / name)):
            found.faults.append(f"{name} holds nothing")
    return found


def model_faults(job: Job) -> list[str]:
    """Judge the model as the next start would find it; MXNet must load it."""
    with tempfile.TemporaryDirectory(dir=job.temporary.parent) as folder:
        model = Path(folder) / "model"
        shutil.copytree(job.base / "model", model, copy_function=os.link)
        finish_publication(model)
        files = {path.name for path in model.iterdir()}
        if files != MODEL:
            return [f"model/ holds {sorted(files)}"]
        mx.model.load_checkpoint(str(model / "model_algo_1"), 0)
        json.loads((model / "hyperparams.json").read_text())
    return []


def largest_difference(one: Job, other: Job, epoch: int) -> tuple[float, float]:
    """Compare all arrays of two jobs' checkpoints of an epoch: of the network, and of the optimizer."""
    name = f"checkpoints/sagemaker-ssd-{epoch:04d}.params"
    first, second = (mx.nd.load(str(job.base / name)) for job in (one, other))
    assert first.keys() == second.keys()
    largest = [0.0, 0.0]
    for key, array in first.items():
        difference = float(np.abs(array.asnumpy().astype(np.float64) - second[key].asnumpy()).max())
        place = int(key.startswith("optimizer:"))
        largest[place] = max(largest[place], difference)
    return largest[0], largest[1]


def same_model(one: Job, other: Job) -> bool:
    """Say whether the parameters of two jobs' models are the same bits."""
    name = "model/model_algo_1-0000.params"
    return (one.base / name).read_bytes() == (other.base / name).read_bytes()
