"""The real `serve` on loopback: its front, its child process with MXNet, and clients that speak HTTP."""

import http.client
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import mxnet as mx
import numpy as np

from process_tree import descendants
from sagemaker_ssd.artifacts.model_files import write_model
from sagemaker_ssd.artifacts.params_file import arguments_and_states
from sagemaker_ssd.contract.model_folder import CONFIGURATION, PARAMETERS, SYMBOL
from sagemaker_ssd.scoring.detector import Weights
from sagemaker_ssd.ssd.graphs import saved_graph
from sagemaker_ssd.ssd.initial_values import initial_parameters
from sagemaker_ssd.ssd.network import Network, NmsSettings

ROOT = Path(__file__).parent.parent
READY_SECONDS = 120
# The platform's.
PING_SECONDS = 2.0
CLASSES = 3


def write_drawn_model(
    folder: Path, base_network: str = "resnet-50", seed: int = 3, heads: float = 0.003, **settings: str
) -> None:
    """Write the three files of a network of random values that finds many objects.

    heads: the deviation of the heads' weights; of a tenth of it no score is all but 1, and few are equal.
    """
    network = Network(base_network, 300, CLASSES, nms=NmsSettings(threshold=0.3))
    values = initial_parameters(saved_graph(network), 300, seed=1)
    for name, array in values.arguments.items():
        if name.endswith("_pred_conv_weight"):
            array[:] = np.random.RandomState(seed).normal(0, heads, array.shape)
    folder.mkdir(parents=True, exist_ok=True)
    own = {"image_shape": "300", "nms_threshold": "0.3", "nms_topk": "400", "base_network": base_network}
    write_model(folder, saved_graph(network), values, {**own, **settings})


def write_mxnet_ssd_model(folder: Path) -> Weights:
    """Write a drawn resnet-50 with the statistics of photos minus (123, 117, 104), and return it as it is written."""
    write_drawn_model(folder, heads=0.0003)
    arrays = mx.nd.load(str(folder / PARAMETERS))
    arrays["aux:bn_data_moving_mean"] = mx.nd.array([-6.5, -5.2, 0.3])
    arrays["aux:bn_data_moving_var"] = mx.nd.array([3412, 3263, 3305])
    mx.nd.save(str(folder / PARAMETERS), arrays)
    return Weights(mx.cpu(), *arguments_and_states(arrays))


def write_overflowing_model(model: Path, folder: Path) -> Path:
    """Copy the files of a model, with values that are finite, as the reader demands, and too large to compute with."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (SYMBOL, CONFIGURATION):
        shutil.copy(model / name, folder)
    arrays = mx.nd.load(str(model / PARAMETERS))
    for name in arrays:
        if name.endswith("_pred_conv_weight"):
            arrays[name][:] = np.finfo(np.float32).max
    mx.nd.save(str(folder / PARAMETERS), arrays)
    return folder


@dataclass(frozen=True)
class Answer:
    """What came back; seconds: from the request's first byte to the answer's last one."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def sentence(self) -> str:
        """The sentence of an error, whose form is checked."""
        assert self.status >= 400
        assert self.headers["content-type"] == "application/json"
        content = self.json()
        assert content.keys() == {"error"}
        assert "Traceback" not in content["error"]
        return content["error"]


@dataclass
class ModelServer:
    """`serve` with its model in base/model; as a context it is killed at the end, if it still runs.

    program: that of another checkout.
    """

    base: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    program: Path = ROOT / "serve"

    def __post_init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._lines: list[str] = []
        self.process = subprocess.Popen(
            [self.program],
            env={
                **os.environ,
                "SAGEMAKER_BASE_DIR": str(self.base),
                "SAGEMAKER_BIND_TO_PORT": str(self.port),
                **self.environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.append(line)

    def request(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, **options: Any
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        begin = time.monotonic()
        try:
            connection.request(method, path, body, dict(headers or {}), **options)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, content, time.monotonic() - begin)

    def ping(self) -> Answer:
        return self.request("GET", "/ping")

    def invoke(self, body: Any, **headers: str) -> Answer:
        return self.request("POST", "/invocations", body, {key.replace("_", "-"): headers[key] for key in headers})

    def load(self, name: object, url: object) -> Answer:
        return self.request("POST", "/models", json.dumps({"model_name": name, "url": str(url)}))

    def invoke_model(self, name: str, body: Any, **headers: str) -> Answer:
        names = {key.replace("_", "-"): headers[key] for key in headers}
        return self.request("POST", f"/models/{name}/invoke", body, names)

    def wait_until_listening(self) -> None:
        self.wait_for_line("Listening on port")

    def wait_until_ready(self) -> float:
        """Ping until the model is served; return the seconds."""
        self.wait_until_listening()
        begin = time.monotonic()
        while self.ping().status != 200:
            assert time.monotonic() - begin < READY_SECONDS, self.log
            assert self.process.poll() is None, self.log
            time.sleep(0.1)
        return time.monotonic() - begin

    def wait_for_line(self, pattern: str, count: int = 1) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while len(re.findall(pattern, self.log)) < count:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)

    def children(self) -> list[int]:
        return [child for child in descendants(self.process.pid) if b"sagemaker_ssd.hosting" in command_line(child)]

    def send_signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = 60) -> int:
        """Wait for the end and return the exit code."""
        code = self.process.wait(seconds)
        self._reader.join(10)
        return code

    @property
    def log(self) -> str:
        return "".join(self._lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.wait()


class Clients:
    """Threads that ask again and again until `stop`, and what they were answered; None where the connection broke.

    pause: seconds before the next question. Pings without one leave a process that computes on the same core next to
    nothing of it, with Linux 6.18's groups of processes.
    """

    def __init__(self, count: int, ask: Callable[[], Answer], pause: float = 0.0) -> None:
        self.answers: list[Answer | None] = []
        self._ask, self._pause, self._stopping = ask, pause, threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                answer = self._ask()
            except OSError:
                self.answers.append(None)
                return
            self.answers.append(answer)
            self._stopping.wait(0.1 if answer.status == 503 else self._pause)

    def stop(self) -> Counter[int | None]:
        """Wait for the last answers, and count all by their status."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(120)
        return Counter(answer.status if answer else None for answer in self.answers)


def shed_what_would_take_too_long(server: ModelServer, jpeg: bytes, paths: Sequence[str]) -> None:
    """While the process is held, more clients of the first path come than it could serve in a minute.

    Those of the other paths are then refused too, and forgotten when they leave.
    """
    (child,) = server.children()
    clients: list[socket.socket] = []
    os.kill(child, signal.SIGSTOP)
    try:
        for path, most in zip(paths, (900, *[20] * (len(paths) - 1)), strict=True):
            request = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode() + jpeg
            answered = select.poll()
            before = len(clients)
            while not (ready := answered.poll(0 if len(clients) < before + most else 5000)):
                assert len(clients) < before + most, f"nobody is refused at {path}"
                for _ in range(20):
                    clients.append(socket.create_connection(("127.0.0.1", server.port)))
                    clients[-1].sendall(request)
                    answered.register(clients[-1], select.POLLIN)
                time.sleep(0.1)
            refused = next(client for client in clients if client.fileno() == ready[0][0])
            response = http.client.HTTPResponse(refused)
            response.begin()
            assert response.status == 503
            assert int(response.headers["retry-after"]) >= 1
            sentence = json.loads(response.read())["error"]
            assert sentence.startswith("too many requests: ")
            # However slow the machine is.
            expected = re.search(r"would take about (\d+) seconds", sentence)
            assert expected is not None
            assert int(expected[1]) >= 60
        assert server.ping().seconds < PING_SECONDS
    finally:
        for client in clients:
            client.close()
        os.kill(child, signal.SIGCONT)
    # It has forgotten all but those that were with the process.
    for path in paths:
        answer = server.request("POST", path, jpeg)
        assert answer.status == 200
        assert answer.seconds < 10


def command_line(process: int) -> bytes:
    try:
        return (Path("/proc") / str(process) / "cmdline").read_bytes()
    except OSError:
        return b""
