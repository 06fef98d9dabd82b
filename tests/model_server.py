"""The real `serve` on loopback: its front, its child process with MXNet, and clients that speak HTTP."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from process_tree import descendants
from sagemaker_ssd.artifacts.model_files import write_model
from sagemaker_ssd.ssd.graphs import saved_graph
from sagemaker_ssd.ssd.initial_values import initial_parameters
from sagemaker_ssd.ssd.network import Network, NmsSettings

ROOT = Path(__file__).parent.parent
READY_SECONDS = 120
CLASSES = 3


def write_drawn_model(folder: Path, base_network: str = "resnet-50", heads: float = 0.003, **settings: str) -> None:
    """Write the three files of a network of random values that finds many objects.

    heads: the deviation of the heads' weights; of a tenth of it no score is all but 1, and few are equal.
    """
    network = Network(base_network, 300, CLASSES, nms=NmsSettings(threshold=0.3))
    values = initial_parameters(saved_graph(network), 300, seed=1)
    for name, array in values.arguments.items():
        if name.endswith("_pred_conv_weight"):
            array[:] = np.random.RandomState(3).normal(0, heads, array.shape)
    folder.mkdir(parents=True, exist_ok=True)
    own = {"image_shape": "300", "nms_threshold": "0.3", "nms_topk": "400", "base_network": base_network}
    write_model(folder, saved_graph(network), values, {**own, **settings})


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
    """`serve` with its model in base/model; as a context it is killed at the end, if it still runs."""

    base: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._lines: list[str] = []
        self.process = subprocess.Popen(
            [ROOT / "serve"],
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


def command_line(process: int) -> bytes:
    try:
        return (Path("/proc") / str(process) / "cmdline").read_bytes()
    except OSError:
        return b""
