"""What becomes of a server: under load, when its child process is killed, when it is stopped."""

import http.client
import json
import os
import select
import signal
import socket
import time
from pathlib import Path

import pytest

from command_runner import run_command
from model_server import PING_SECONDS, Clients, ModelServer, command_line, shed_what_would_take_too_long


def test_a_server_from_its_start_to_its_stop(base: Path, jpeg: bytes):
    """Loads, bears 16 clients, replaces a killed process, sheds what would take too long, and answers when stopped."""
    # One thread: a minute is then enough for few images on every machine.
    with ModelServer(base, {"OMP_NUM_THREADS": "1"}) as server:
        server.wait_until_listening()
        ping, early = server.ping(), server.invoke(jpeg)
        assert (ping.status, ping.sentence) == (503, "the model is being loaded: try again")
        assert (early.status, early.headers["retry-after"]) == (503, "10")
        server.wait_until_ready()

        pings = Clients(1, server.ping, pause=0.02)
        clients = Clients(16, lambda: server.invoke(jpeg))
        while len(clients.answers) < 16:
            time.sleep(0.1)
        (child,) = server.children()
        os.kill(child, signal.SIGKILL)
        killed = time.monotonic()
        while server.ping().status == 200:
            time.sleep(0.02)
        assert server.ping().sentence == "the detection process ended and is being replaced: try again"
        while server.ping().status != 200:
            time.sleep(0.1)
        recovered = time.monotonic() - killed
        by_status = clients.stop()
        assert set(pings.stop()) == {200, 503}
        # The one image that was detected on; what waited was detected on by the next process.
        failed = [answer for answer in clients.answers if answer and answer.status == 500]
        assert len(failed) <= 1
        assert all("the detection process was killed by signal 9 (SIGKILL)" in answer.sentence for answer in failed)
        assert by_status[200] >= 16
        assert set(by_status) <= {200, 500, 503}
        slowest = max(answer.seconds for answer in pings.answers if answer)
        print(f"200 again after {recovered:.1f} s; slowest ping {slowest * 1000:.0f} ms; answers {dict(by_status)}")
        assert slowest < PING_SECONDS

        shed_what_would_take_too_long(server, jpeg, ("/invocations",))

        clients = Clients(6, lambda: server.invoke(jpeg))
        while len(clients.answers) < 6:
            time.sleep(0.05)
        begin = time.monotonic()
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
        assert time.monotonic() - begin < 10
        last = clients.stop()
        # None: connections that came after it had stopped to accept them.
        assert set(last) == {200, 503, None}
        stopped = [answer for answer in clients.answers if answer and answer.status == 503]
        assert {answer.sentence for answer in stopped} == {"this server is being stopped: send the request again"}
        assert "Traceback" not in server.log


def test_three_deaths_without_an_image_between_are_the_end(base: Path):
    with ModelServer(base) as server:
        for deaths in range(3):
            server.wait_until_listening()
            while not server.children():
                time.sleep(0.05)
            os.kill(server.children()[0], signal.SIGKILL)
            server.wait_for_line("killed by signal 9", deaths + 1)
        assert server.process.poll() is None
        answer = server.ping()
        assert answer.status == 503
        assert "killed by signal 9" in answer.sentence
        assert answer.sentence.endswith("It ended 3 times without having detected on an image between")
        # No image has come: what helps is memory.
        assert "smaller images" not in answer.sentence
        assert "raise MemorySizeInMB of a serverless endpoint, or what `docker run --memory` allows" in answer.sentence
        assert server.wait(10) == 2


@pytest.mark.long
def test_all_classes_of_an_anchor_are_answered_where_the_environment_asks_for_them(
    base: Path, jpeg: bytes, tmp_path: Path
):
    (tmp_path / "a.jpg").write_bytes(jpeg)
    printed = [
        run_command("predict", base / "model", tmp_path / "a.jpg", "--detections", kind).stdout
        for kind in ("all-classes", "best-class")
    ]
    with ModelServer(base, {"SAGEMAKER_SSD_DETECTIONS": "all-classes"}) as server:
        server.wait_until_ready()
        answered = server.invoke(jpeg).json()
        assert "resnet-50 at 300 px, 3 classes, detections of all-classes" in server.log
    every, best = (json.loads(line) for line in printed)
    assert answered == every
    assert len(every["prediction"]) > len(best["prediction"]) > 10


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"SAGEMAKER_SSD_SCORE": "2"}, "environment variable SAGEMAKER_SSD_SCORE is '2'; it must be a number from 0"),
        ({"OMP_NUM_THREADS": "4,2"}, "environment variable OMP_NUM_THREADS is '4,2'; it must be a whole number from 1"),
        ({}, "model: there is no such folder; the model.tar.gz of a training job, unpacked by the platform, must be"),
    ],
)
def test_what_cannot_be_served_is_told_to_the_first_ping(tmp_path: Path, environment: dict[str, str], sentence: str):
    with ModelServer(tmp_path, environment) as server:
        server.wait_for_line("ERROR")
        assert server.process.poll() is None
        invocation = server.invoke(b"x")
        assert invocation.status == 500
        assert sentence in invocation.sentence
        answer = server.ping()
        assert answer.status == 503
        assert answer.sentence == invocation.sentence
        assert server.wait(10) == 1
        assert server.log.count(sentence) >= 1
        assert "Traceback" not in server.log


def test_a_stop_while_the_model_loads(base: Path):
    with ModelServer(base) as server:
        server.wait_until_listening()
        server.send_signal(signal.SIGTERM)
        assert server.wait(10) == 0


def test_a_stop_does_not_wait_for_bodies(base: Path):
    """Not for one that stalls, nor for one that was refused and comes on."""
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
    with ModelServer(base) as server:
        server.wait_until_ready()
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=30) as stalled,
            socket.create_connection(("127.0.0.1", server.port), timeout=30) as refused,
        ):
            stalled.sendall(head + b"\r\nx")
            refused.sendall(head + b"Content-Type: text/csv\r\nConnection: close\r\n\r\nx")
            # Until both are being read.
            time.sleep(1)
            begin = time.monotonic()
            server.send_signal(signal.SIGTERM)
            while not select.select([refused], [], [], 0.2)[0]:
                assert time.monotonic() - begin < 20
                refused.sendall(b"x")
            for connection, status, sentence in (
                (stalled, 503, "this server is being stopped: send the request again"),
                (refused, 415, "Content-Type is 'text/csv', which is no image"),
            ):
                response = http.client.HTTPResponse(connection)
                response.begin()
                assert response.status == status
                assert sentence in json.loads(response.read())["error"]
        assert server.wait() == 0
        assert time.monotonic() - begin < 20
        assert "Traceback" not in server.log


def test_no_process_outlives_a_front_that_is_killed(base: Path):
    with ModelServer(base) as server:
        while not server.children():
            time.sleep(0.05)
        (child,) = server.children()
        server.process.kill()
        deadline = time.monotonic() + 20
        while b"hosting" in command_line(child):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_a_port_in_use_is_told(base: Path):
    with ModelServer(base) as server:
        server.wait_until_listening()
        with ModelServer(base, {"SAGEMAKER_BIND_TO_PORT": str(server.port)}) as second:
            assert second.wait(10) == 1
            assert f"cannot listen on port {server.port}: Address already in use. End the program" in second.log


def test_no_arguments(base: Path):
    with ModelServer(base, {"SAGEMAKER_BIND_TO_PORT": "x"}) as server:
        assert server.wait(10) == 1
        assert "environment variable SAGEMAKER_BIND_TO_PORT is 'x'; it must be a whole number from 1" in server.log
