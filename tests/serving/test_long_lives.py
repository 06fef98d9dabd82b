"""What takes its time: both networks on many pictures, several processes, a process that hangs, a body that stalls."""

import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from cases.odd_pictures import exif, saved
from drawn_channels import noise
from model_server import ModelServer, write_drawn_model

pytestmark = pytest.mark.long
SIZES = ((640, 480), (300, 300), (1000, 20), (31, 500), (1, 1))
HEAD = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"


def pictures() -> dict[str, bytes]:
    """Twenty: JPEG, grey PNG, CMYK JPEG and turned JPEG of every size."""
    found = {}
    for number, size in enumerate(SIZES):
        image = Image.fromarray(noise(number, size))
        found[f"{number}-colour.jpg"] = saved("JPEG", image)
        found[f"{number}-grey.png"] = saved("PNG", image, mode="L")
        found[f"{number}-cmyk.jpg"] = saved("JPEG", image, mode="CMYK")
        found[f"{number}-turned.jpg"] = saved("JPEG", image, exif=exif(2 + number))
    return found


@pytest.mark.parametrize("base_network", ["resnet-50", "vgg-16"])
def test_both_networks_answer_what_predict_prints(base_network: str, tmp_path: Path):
    write_drawn_model(tmp_path / "model", base_network)
    sent = pictures()
    for name, content in sent.items():
        (tmp_path / name).write_bytes(content)
    command = [sys.executable, "-m", "sagemaker_ssd.predict", tmp_path / "model", *(tmp_path / name for name in sent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    expected = {Path(answer["file"]).name: answer["prediction"] for answer in map(json.loads, done.stdout.splitlines())}
    assert len(expected) == 20
    with ModelServer(tmp_path) as server:
        server.wait_until_ready()
        for name, content in sent.items():
            assert server.invoke(content).json() == {"prediction": expected[name]}, name
            shown = server.invoke(content, Accept="application/json;annotation=1").json()["image_size"]
            image = Image.open(io.BytesIO(content))
            turned = image.getexif().get(0x0112, 1) >= 5
            width, height = image.size[::-1] if turned else image.size
            assert shown == [{"width": width, "height": height, "depth": 3}], name


def test_several_processes_share_the_work_and_one_that_is_killed_leaves_the_others(base: Path, jpeg: bytes):
    with ModelServer(base, {"SAGEMAKER_MODEL_SERVER_WORKERS": "2", "OMP_NUM_THREADS": "1"}) as server:
        server.wait_until_ready()
        server.wait_for_line("Ready after", 2)
        assert len(server.children()) == 2
        assert server.request("GET", "/execution-parameters").json()["MaxConcurrentTransforms"] == 4
        os.kill(server.children()[0], signal.SIGKILL)
        server.wait_for_line("killed by signal 9 .* it is started again")
        assert server.ping().status == 200
        assert server.invoke(jpeg).status == 200
        server.wait_for_line("Ready after", 3)
        assert len(server.children()) == 2


def test_a_process_that_hangs_is_replaced_and_a_body_that_stalls_is_refused(base: Path, jpeg: bytes):
    with ModelServer(base) as server:
        server.wait_until_ready()
        (child,) = server.children()
        os.kill(child, signal.SIGSTOP)
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=120) as stalled,
            socket.create_connection(("127.0.0.1", server.port), timeout=120) as waiting,
        ):
            begin = time.monotonic()
            stalled.sendall(HEAD + b"x")
            waiting.sendall(HEAD.replace(b"1000", str(len(jpeg)).encode()) + jpeg)
            assert b"408" in stalled.recv(100)
            assert 55 < time.monotonic() - begin < 75
            server.wait_for_line("the detection process hangs: nothing for 60 seconds after an image was sent to it")
            # It had not begun: the next process has detected on it.
            assert b"200 OK" in waiting.recv(100)
        assert server.ping().status == 200


def test_a_detection_that_takes_longer_than_a_stop_is_told_so(base: Path, jpeg: bytes):
    with ModelServer(base) as server:
        server.wait_until_ready()
        (child,) = server.children()
        os.kill(child, signal.SIGSTOP)
        with socket.create_connection(("127.0.0.1", server.port), timeout=120) as waiting:
            waiting.sendall(HEAD.replace(b"1000", str(len(jpeg)).encode()) + jpeg)
            time.sleep(1)
            begin = time.monotonic()
            server.send_signal(signal.SIGTERM)
            response = http.client.HTTPResponse(waiting)
            response.begin()
            assert response.status == 503
            assert json.loads(response.read()) == {"error": "this server is being stopped: send the request again"}
            assert time.monotonic() - begin < 60
        assert server.wait() == 0
        assert "Traceback" not in server.log
