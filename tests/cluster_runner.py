"""Several hosts of one machine: the real `./train` once for each, on 127.0.0.1, 127.0.0.2 and so on."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ended_job import Ended
from job_runner import ROOT, Job, draw
from process_tree import descendants

DEADLINE_SECONDS = 200
WEIGHTS_LINE = re.compile(r"same weights after epoch (\d+): sha256 (\w+)")
# Two steps an epoch on two hosts, of two images a host.
TINY = ("--train", "8", "--validation", "2", "--hyperparameter", "mini_batch_size=2")


def free_port() -> int:
    """Find a port that nobody listens on, outside of those that the system gives away by itself.

    Two processes of tests begin ten and more ports apart, since a job's scheduler takes the port above its own.
    """
    for port in range(20_000 + os.getpid() % 1_000 * 10, 32_000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


class Host:
    """One host's `./train`, with its log in a file."""

    def __init__(self, job: Job, name: str) -> None:
        self.job, self.name = job, name
        self._path = job.temporary.parent / "log.txt"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._path.open("w") as log:
            self.process = subprocess.Popen(
                [ROOT / "train"],
                env={
                    **os.environ,
                    "SAGEMAKER_BASE_DIR": str(self.job.base),
                    "TMPDIR": str(self.job.temporary),
                    **self.job.environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def log(self) -> str:
        return self._path.read_text()

    @property
    def failure(self) -> str | None:
        return Ended(0, "", self.job.base).failure

    def until(self, text: str, count: int = 1) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        assert self.process is not None
        while self.log.count(text) < count:
            assert self.process.poll() is None, f"{self.name} ended without {text!r}:\n{self.log}"
            assert time.monotonic() < deadline, f"{self.name}: no {text!r} in time:\n{self.log}"
            time.sleep(0.02)

    def end(self, deadline: float) -> Ended:
        """Wait for the end; it must come before `deadline`, a time of time.monotonic."""
        assert self.process is not None
        try:
            code = self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end in time:\n{self.log}") from None
        return Ended(code, self.log, self.job.base)

    def child(self, what: str) -> int:
        """Find the process id of "worker", "scheduler", "server" or "supervisor"; one that is about to start too."""
        assert self.process is not None
        if what == "supervisor":
            return self.process.pid
        deadline = time.monotonic() + 30
        while True:
            # A process may end while it is looked at.
            with suppress(OSError):
                if (found := self._child(what)) is not None:
                    return found
            assert time.monotonic() < deadline, f"{self.name} has no {what}"
            time.sleep(0.01)

    def _child(self, what: str) -> int | None:
        assert self.process is not None
        for process in descendants(self.process.pid):
            command = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
            if what == "worker" and b"sagemaker_ssd.worker" in command:
                return process
            environment = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
            if b"sagemaker_ssd.worker.parameter_server" in command and f"DMLC_ROLE={what}".encode() in environment:
                return process
        return None

    def weights(self) -> list[str]:
        """Return the digests of the weights that every epoch's line tells."""
        return [digest for _, digest in WEIGHTS_LINE.findall(self.log)]


@dataclass
class Hosts:
    """The hosts of one job, started together."""

    hosts: list[Host]

    def __getitem__(self, number: int) -> Host:
        return self.hosts[number]

    def start(self) -> None:
        for host in self.hosts:
            host.start()

    def run(self) -> list[Ended]:
        self.start()
        return self.end()

    def end(self, seconds: float = DEADLINE_SECONDS) -> list[Ended]:
        deadline = time.monotonic() + seconds
        return [host.end(deadline) for host in self.hosts]

    def set(self, **hyperparameters: str | None) -> None:
        for host in self.hosts:
            host.job.set(**hyperparameters)

    def environment(self, **variables: str) -> None:
        for host in self.hosts:
            host.job.environment |= variables

    def clean_up(self) -> None:
        for host in self.hosts:
            if host.process is None:
                continue
            for process in reversed([host.process.pid, *descendants(host.process.pid)]):
                try:
                    os.kill(process, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            host.process.wait()


def own_data(host: Host) -> Path:
    """Give a host a copy of the data that it may change alone."""
    data = host.job.base / "input" / "data"
    source = data.resolve()
    data.unlink()
    shutil.copytree(source, data)
    return data


def own_shard(host: Host, kept: slice) -> None:
    """Give a host a part of the train channel's images, in the order of their paths, as ShardedByS3Key does."""
    data = own_data(host)
    images = sorted((data / "train").rglob("*.jpg"))
    for image in set(images) - set(images[kept]):
        image.unlink()
        (data / "train_annotation" / image.relative_to(data / "train")).with_suffix(".json").unlink()
    config = host.job.config("inputdataconfig")
    channels = json.loads(config.read_text())
    for name in ("train", "train_annotation"):
        channels[name]["S3DistributionType"] = "ShardedByS3Key"
    config.write_text(json.dumps(channels))


def left_running(hosts: Hosts) -> list[str]:
    """Return the command lines of the processes that still work on these jobs."""
    bases = [f"SAGEMAKER_BASE_DIR={host.job.base}".encode() for host in hosts.hosts]
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(base in (process / "environ").read_bytes().split(b"\0") for base in bases):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            # It ended meanwhile.
            continue
    return found


def make_hosts(folder: Path, count: int, *options: str, **hyperparameters: str | None) -> Hosts:
    """Draw one data set and make a job on `count` hosts of it; all read the same folder of data."""
    data = folder / "drawn"
    draw(data, *(options or TINY))
    names = [f"127.0.0.{number}" for number in range(1, count + 1)]
    port = str(free_port())
    hosts = []
    for name in names:
        job = Job(folder / name / "opt_ml", folder / name / "tmp")
        job.temporary.mkdir(parents=True)
        shutil.copytree(data / "input" / "config", job.base / "input" / "config")
        (job.base / "input" / "data").symlink_to(data / "input" / "data")
        job.config("resourceconfig").write_text(json.dumps({"current_host": name, "hosts": names}))
        # Every host would take all processors for itself.
        job.environment = {"SAGEMAKER_SSD_PORT": port, "SAGEMAKER_SSD_SILENCE_SECONDS": "5", "OMP_NUM_THREADS": "1"}
        job.set(**{"kv_store": "dist_sync", "epochs": "2", **hyperparameters})
        hosts.append(Host(job, name))
    return Hosts(hosts)
