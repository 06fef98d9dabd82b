"""Hosting beside a plain loop of MXNet on the same pictures, and beside gunicorn and Flask around the same detector.

`python tests/benchmarks/serving_speed.py [--network resnet-50] [--rounds 5] [--images 24]`: images a second of all by
turns, with 1, 4 and 16 clients for the two servers, and how long a client waits; then seconds from the start of each
server until its first good /ping, by turns too, and the memory of its processes. The loop decodes and detects in one
process, without HTTP. The clients' own time is within the servers' images a second, not within their core seconds,
which do not depend on what else a machine does as seconds do. gunicorn has one process, since each holds
the model, and 16 threads; it is in an environment of its own, .venv-gunicorn, of requirements-gunicorn.lock.
"""

import argparse
import http.client
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(HERE.parent)]

from PIL import Image  # noqa: E402
from turns import Side, core_seconds, surroundings  # noqa: E402

from drawn_channels import noise  # noqa: E402
from model_server import ModelServer, write_drawn_model  # noqa: E402
from process_tree import descendants  # noqa: E402
from request_load import percentile_95, send_load  # noqa: E402
from serving import serve  # noqa: E402

CLIENTS = (1, 4, 16)
GUNICORN = ROOT / ".venv-gunicorn" / "lib" / "python3.11" / "site-packages"
START_SECONDS = 120


def write_pictures(folder: Path) -> list[Path]:
    """Write eight JPEGs of 640x480, of some 70 KB."""
    paths = []
    for number in range(8):
        image = Image.fromarray(noise(number, (80, 60))).resize((640, 480), Image.Resampling.BICUBIC)
        paths.append(folder / f"{number}.jpg")
        image.save(paths[-1], quality=80)
    return paths


def loop(model: Path, pictures: Sequence[Path], images: int) -> Callable[[], object]:
    """Decode and detect, one picture after the other."""
    from sagemaker_ssd.hosting.images import prepare
    from sagemaker_ssd.hosting.model import load_detectors

    detectors = load_detectors(model, None, 1, ())
    bodies = [picture.read_bytes() for picture in pictures]

    def detect() -> None:
        for number in range(images):
            detectors.detect([prepare(bodies[number % len(bodies)], detectors.model.network).input])

    return detect


class Gunicorn:
    """gunicorn with flask_app.py; as a context it is ended."""

    def __init__(self, base: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        if not (GUNICORN / "gunicorn").exists():
            raise SystemExit("there is no .venv-gunicorn: `make .venv-gunicorn/.complete` makes it")
        path = os.pathsep.join([str(GUNICORN), str(HERE), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, "-m", "gunicorn", "--workers", "1", "--threads", "16", "--timeout", "120"]
        self.process = subprocess.Popen(
            [*command, "--bind", f"127.0.0.1:{self.port}", "flask_app:app"],
            # gunicorn leaves a folder in HOME.
            env={**surroundings(worker=True), "PYTHONPATH": path, "MODEL": str(base / "model"), "HOME": str(base)},
            stdout=subprocess.DEVNULL,
            stderr=None if "VERBOSE" in os.environ else subprocess.DEVNULL,
        )

    def __enter__(self) -> "Gunicorn":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


OURS = "this server"
SERVERS: dict[str, Callable[[Path], ModelServer | Gunicorn]] = {OURS: ModelServer, "gunicorn, Flask": Gunicorn}


def until_ready(server: ModelServer | Gunicorn, begin: float) -> float:
    """Ask /ping until it is answered with 200; return the seconds since `begin`."""
    while time.monotonic() - begin < START_SECONDS:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=START_SECONDS)
        try:
            connection.request("GET", "/ping")
            if connection.getresponse().status == 200:
                return time.monotonic() - begin
        except OSError:
            pass
        finally:
            connection.close()
        if server.process.poll() is not None:
            break
        time.sleep(0.02)
    raise SystemExit(f"a server was not ready within {START_SECONDS} seconds; VERBOSE=1 shows what it says")


def starts(base: Path, rounds: int) -> dict[str, list[float]]:
    """Start each server and end it again, by turns."""
    seconds: dict[str, list[float]] = {name: [] for name in SERVERS}
    for _ in range(rounds):
        for name, server in SERVERS.items():
            begin = time.monotonic()
            with server(base) as started:
                seconds[name].append(until_ready(started, begin))
    return seconds


def memory(process: int) -> tuple[float, float]:
    """Return the resident memory of a process in MB, now and at its peak."""
    status = Path(f"/proc/{process}/status").read_text()
    found = dict(re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", status))
    return int(found["VmRSS"]) / 1024, int(found["VmHWM"]) / 1024


@dataclass
class Figures:
    """Of one server with so many clients: of each round images a second and core seconds an image; all answers.

    of_parents: of these core seconds those of the server's first process alone.
    """

    rates: list[float] = field(default_factory=list)
    of_cores: list[float] = field(default_factory=list)
    of_parents: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)

    def measure(self, server: ModelServer | Gunicorn, bodies: Sequence[bytes], clients: int, images: int) -> None:
        parent = server.process.pid
        (child,) = descendants(parent)
        before, of_child = core_seconds(parent), core_seconds(child)
        load = send_load(server.port, bodies, clients, images)
        if set(load.statuses) != {200}:
            raise SystemExit(f"{clients} clients were answered {dict(load.statuses)}")
        self.rates.append(load.rate)
        in_all = core_seconds(parent) - before
        self.of_cores.append(in_all / images)
        self.of_parents.append((in_all - core_seconds(child) + of_child) / images)
        self.answers.extend(load.answers)


def measure(base: Path, network: str, rounds: int, images: int) -> None:
    """Let the loop and both servers work by turns; print the tables."""
    pictures = write_pictures(base)
    bodies = [picture.read_bytes() for picture in pictures]
    print(f"\n{network}, 300 px; pictures of 640x480, {statistics.mean(map(len, bodies)) / 1000:.0f} KB", flush=True)
    command = [sys.executable, __file__, "--side", "loop", "--model", base / "model", "--images", images]
    plain = Side("loop", [*command, "--pictures", *pictures], worker=True)
    figures = {(name, clients): Figures() for name in SERVERS for clients in CLIENTS}
    of_loop: list[float] = []
    with ModelServer(base) as ours, Gunicorn(base) as flask:
        servers = dict(zip(SERVERS, (ours, flask), strict=True))
        for server in servers.values():
            until_ready(server, time.monotonic())
            send_load(server.port, bodies, 16, 32)
        plain.start()
        try:
            for _ in range(rounds):
                for clients in CLIENTS:
                    plain.turn()
                    of_loop.append(images / plain.seconds[-1])
                    for name, server in servers.items():
                        # So that as many are measured behind the first one of each client.
                        figures[name, clients].measure(server, bodies, clients, images + clients)
        finally:
            plain.end()
        columns = "clients | images/s, median | least to most | loop is | core s an image | answer, median s | 95 % s"
        print(f"| | {columns} |\n" + "|---" * 8 + "|")
        print(
            f"| loop | | {statistics.median(of_loop):.2f} | {min(of_loop):.2f} to {max(of_loop):.2f} | 1.00 x "
            f"| {statistics.median(plain.core_seconds) / images:.3f} | | |"
        )
        for (name, clients), found in figures.items():
            # With the loop's turn just before: the machine's speed changes.
            beside = of_loop[CLIENTS.index(clients) :: len(CLIENTS)]
            ratio = statistics.median(theirs / rate for theirs, rate in zip(beside, found.rates, strict=True))
            print(
                f"| {name} | {clients} | {statistics.median(found.rates):.2f} "
                f"| {min(found.rates):.2f} to {max(found.rates):.2f} | {ratio:.3f} x "
                f"| {statistics.median(found.of_cores):.3f} "
                f"| {statistics.median(found.answers):.3f} | {percentile_95(found.answers):.3f} |"
            )
        of_fronts = [seconds for (name, _), found in figures.items() if name == OURS for seconds in found.of_parents]
        print(f"\nThe front's own core seconds: {1000 * statistics.median(of_fronts):.1f} ms an image.")
        print("\n| process | MB | at the peak |\n|---|---|---|")
        (child,) = descendants(ours.process.pid)
        (worker,) = descendants(flask.process.pid)
        for name, process in (
            ("this server's front", ours.process.pid),
            ("its child", child),
            ("gunicorn", flask.process.pid),
            ("its worker", worker),
        ):
            now, peak = memory(process)
            print(f"| {name} | {now:.0f} | {peak:.0f} |")
        print(f"| loop | | {plain.megabytes:.0f} |", flush=True)
    print("\n| server | seconds until /ping is 200, median | least to most |\n|---|---|---|")
    for name, seconds in starts(base, rounds).items():
        print(f"| {name} | {statistics.median(seconds):.1f} | {min(seconds):.1f} to {max(seconds):.1f} |", flush=True)


def main() -> None:
    """Measure, or be the side that loops."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet-50", choices=("resnet-50", "vgg-16"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=24, help="of each turn")
    parser.add_argument("--side", choices=("loop",), help="used inside")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--pictures", type=Path, nargs="+")
    options = parser.parse_args()
    if options.side:
        serve(loop(options.model, options.pictures, options.images))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_drawn_model(Path(folder) / "model", options.network)
        measure(Path(folder), options.network, options.rounds, options.images)


if __name__ == "__main__":
    main()
