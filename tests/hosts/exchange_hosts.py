"""Several hosts on 127.0.0.1: a scheduler, and a server and a worker for each, as processes."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from hosts.exchange_program import Plan

TESTS = Path(__file__).parent.parent
Values = dict[str, np.ndarray]


@dataclass(frozen=True)
class Result:
    """What a host noted: weights by "epoch.step" and "epoch", and facts by epoch."""

    facts: dict
    weights: dict[str, Values]


class Hosts:
    """The processes of one job after the other; `close` kills those that are left."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._processes = folder, []
        self._jobs = 0

    def run(self, plan: Plan, *, seconds: float = 120, delay: Callable[[], float] = lambda: 0) -> list[Result]:
        """Run a job to its end; `delay` gives how long after the first start each process starts."""
        self._jobs += 1
        folder = self._folder / str(self._jobs)
        folder.mkdir(parents=True)
        (folder / "plan.json").write_text(json.dumps(asdict(plan)))
        count = len(plan.epochs[0][0])
        results = [folder / f"{host}.npz" for host in range(count)]
        program = str(TESTS / "hosts" / "exchange_program.py")
        serve = [sys.executable, "-c", "import mxnet"]
        starts = [("scheduler", serve), *[("server", serve)] * count]
        starts += [
            ("worker", [sys.executable, program, str(folder / "plan.json"), str(host), str(result)])
            for host, result in enumerate(results)
        ]
        try:
            workers = self._start(starts, count, folder, delay)
            self._wait(workers, folder, time.monotonic() + seconds)
        finally:
            self.close()
        return [read(result) for result in results]

    def _start(self, starts, count: int, folder: Path, delay: Callable[[], float]) -> list[subprocess.Popen]:
        begin, port, workers = time.monotonic(), free_port(), []
        delayed = sorted(((delay(), number) for number in range(len(starts))), key=lambda pair: pair[0])
        for seconds, number in delayed:
            time.sleep(max(0, begin + seconds - time.monotonic()))
            role, command = starts[number]
            with (folder / f"{number}-{role}.log").open("w") as log:
                process = subprocess.Popen(
                    command, env=environment(role, count, port), stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            self._processes.append(process)
            if role == "worker":
                workers.append(process)
        return workers

    def _wait(self, workers: list[subprocess.Popen], folder: Path, deadline: float) -> None:
        while (codes := {worker.poll() for worker in workers}) != {0}:
            ended = [process.poll() for process in self._processes if process not in workers]
            if codes - {0, None} or any(code not in (0, None) for code in ended) or time.monotonic() > deadline:
                logs = [f"{path.name}:\n{path.read_text()[-3000:]}" for path in sorted(folder.glob("*.log"))]
                raise AssertionError(f"workers {codes}, others {ended}\n" + "\n".join(logs))
            time.sleep(0.05)

    def close(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        self._processes.clear()


@contextlib.contextmanager
def started_hosts(folder: Path) -> Iterator[Hosts]:
    hosts = Hosts(folder)
    try:
        yield hosts
    finally:
        hosts.close()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def environment(role: str, count: int, port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DMLC_") and name != "PORT"}
    return {
        **kept,
        "DMLC_ROLE": role,
        "DMLC_NUM_WORKER": str(count),
        "DMLC_NUM_SERVER": str(count),
        "DMLC_PS_ROOT_URI": "127.0.0.1",
        "DMLC_PS_ROOT_PORT": str(port),
        "DMLC_NODE_HOST": "127.0.0.1",
        # So low that arrays of the small network are spread over several servers, as large ones are.
        "MXNET_KVSTORE_BIGARRAY_BOUND": "500",
        "OMP_NUM_THREADS": "1",
        "MXNET_SUBGRAPH_VERBOSE": "0",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")])),
    }


def read(path: Path) -> Result:
    with np.load(path) as arrays:
        weights: dict[str, Values] = {}
        for key in arrays.files:
            if key != "facts":
                moment, name = key.split("/")
                weights.setdefault(moment, {})[name] = arrays[key]
        return Result(json.loads(str(arrays["facts"])), weights)


def difference(one: Values, other: Values) -> float:
    """Return the largest difference of any weight, relative to the largest weight of its array."""
    assert one.keys() == other.keys()
    return max(
        float(np.abs(value - other[name]).max() / max(np.abs(value).max(), np.finfo(np.float32).tiny))
        for name, value in one.items()
    )
