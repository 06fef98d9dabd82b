"""One server, asked everything that leaves it running."""

import base64
import gzip
import http.client
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cases.odd_pictures import exif, saved
from drawn_channels import encoded, noise
from model_server import Answer, ModelServer

# More than any of the pictures, less than what is sent as too large.
LIMIT_MB = 1
PICTURES = {
    "a.jpg": saved("JPEG"),
    "gray.png": saved("PNG", mode="L"),
    "transparent.png": saved("PNG", mode="RGBA"),
    "cmyk.jpg": saved("JPEG", mode="CMYK"),
    "turned.jpg": saved("JPEG", exif=exif(6)),
    "webp.webp": saved("WEBP"),
    "one.png": saved("PNG", Image.new("RGB", (1, 1), "red")),
    "tiff.tif": saved("TIFF"),
}


@pytest.fixture(scope="module")
def server(base: Path) -> Iterator[ModelServer]:
    with ModelServer(base, {"SAGEMAKER_MAX_PAYLOAD_IN_MB": str(LIMIT_MB)}) as server:
        server.wait_until_ready()
        yield server


@pytest.fixture(scope="module")
def predicted(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[list[float]]]:
    """What `predict` prints of the pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, content in PICTURES.items():
        (folder / name).write_bytes(content)
    command = [sys.executable, "-m", "sagemaker_ssd.predict", base / "model", *(folder / name for name in PICTURES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return {Path(answer["file"]).name: answer["prediction"] for answer in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", PICTURES)
def test_the_rows_are_those_of_predict(server: ModelServer, predicted: dict[str, list[list[float]]], name: str):
    answer = server.invoke(PICTURES[name])
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == {"prediction": predicted[name]}
    assert len(predicted[name]) > 10


def test_annotations_are_pixels_of_the_image_as_a_viewer_shows_it(
    server: ModelServer, predicted: dict[str, list[list[float]]]
):
    answer = server.invoke(PICTURES["turned.jpg"], Accept="application/json;annotation=1")
    content = answer.json()
    # Stored as 96x64, and shown turned.
    assert content["image_size"] == [{"width": 64, "height": 96, "depth": 3}]
    rows = predicted["turned.jpg"]
    assert [note["class_id"] for note in content["annotations"]] == [int(row[0]) for row in rows]
    assert [note["score"] for note in content["annotations"]] == [row[1] for row in rows]
    found = np.array([[note[key] for key in ("left", "top", "width", "height")] for note in content["annotations"]])
    left, top, right, bottom = (np.array(rows)[:, 2:] * [64, 96, 64, 96]).T
    assert np.abs(found - np.stack([left, top, right - left, bottom - top], axis=1)).max() <= 1
    assert content.keys() == {"image_size", "annotations"}


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "application/x-image",
        "image/jpeg",
        "application/octet-stream",
        "file-path/raw-bytes",
        "application/x-www-form-urlencoded",
    ],
)
def test_an_image_is_known_by_its_bytes(server: ModelServer, jpeg: bytes, content_type: str | None):
    headers = {} if content_type is None else {"Content_Type": content_type}
    answer = server.invoke(b"no image", **headers)
    assert (answer.status, answer.sentence) == (400, "the request's body: damaged or not an image")
    if content_type == "file-path/raw-bytes":
        assert server.invoke(jpeg, **headers).status == 200


def chunks(size: int) -> Iterator[bytes]:
    for _ in range(size // 65_536):
        yield bytes(65_536)


def png_header(side: int) -> bytes:
    """The begin of a PNG that says that it is a square, with the checksum that it must have."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


BAD = {
    "empty": (b"", {}, 400, "the request has no body: send the bytes of one image file"),
    "no image": (b"no image", {}, 400, "the request's body: damaged or not an image"),
    "cut off": (PICTURES["gray.png"][:-30], {}, 400, "the request's body: damaged or cut off"),
    "html": (b"<!doctype html><p>", {}, 400, "the request's body: an HTML page"),
    "gif": (saved("GIF", mode="P"), {}, 400, "the request's body: a GIF: save it as JPEG or PNG"),
    "json": (b'{"instances": []}', {"Content_Type": "application/json"}, 415, "Content-Type is 'application/json'"),
    "csv": (b"1,2", {"Content_Type": "text/csv; charset=utf-8"}, 415, "which is no image: send the bytes of one"),
    "npy": (b"\x93NUMPY\x01\x00", {"Content_Type": "application/x-npy"}, 415, "Content-Type is 'application/x-npy'"),
    "npy as bytes": (b"\x93NUMPY\x01\x00", {}, 415, "is an array of numpy"),
    "zip": (b"PK\x03\x04photos", {}, 415, "the request's body is a zip archive"),
    "base64": (base64.b64encode(PICTURES["a.jpg"]), {}, 415, "the request's body is a JPEG in base64, which is no"),
    "base64 of png": (base64.b64encode(PICTURES["gray.png"]), {}, 415, "the request's body is a PNG in base64"),
    "json as bytes": (b'{"instances": []}', {}, 415, "the request's body is JSON, which is no image: send the bytes"),
    "list as bytes": (b"[[0, 0, 0]]", {}, 415, "the request's body is JSON"),
    "base64 in json": (b'"/9j/4AAQ"', {}, 415, "the request's body is JSON"),
    "gzip": (gzip.compress(PICTURES["a.jpg"]), {}, 415, "the request's body is compressed by gzip, which is no image"),
    "a form as bytes": (b"--x\r\nContent-Disposition: form-data", {}, 415, "the request's body is a form"),
    "a form": (b"--x", {"Content_Type": "multipart/form-data; boundary=x"}, 415, "Content-Type is 'multipart/"),
    "accept": (PICTURES["a.jpg"], {"Accept": "application/x-npy"}, 406, "Accept is 'application/x-npy', and this"),
    "too large": (bytes((LIMIT_MB << 20) + 1), {}, 413, "the request's body has more than 1 MB"),
    "too large in chunks": (lambda: chunks((LIMIT_MB << 20) * 2), {}, 413, "the request's body has more than 1 MB"),
    "too many pixels": (png_header(20_000), {}, 413, "20000x20000 px, more than 100 megapixels"),
    "a JPEG without its end": (PICTURES["a.jpg"][:-50], {}, 400, "body: a JPEG that is cut off: send the whole file"),
    "large HDR": (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 12000 +X 12000\n", {}, 413, "more than 100 megapixels"),
    "large PFM": (b"PF\n12000 12000\n-1\n" + bytes(1000), {}, 413, "more than 100 megapixels"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_detected_on_is_told_in_a_sentence(server: ModelServer, case: str):
    body, headers, status, sentence = BAD[case]
    answer = server.invoke(body() if callable(body) else body, **headers)
    assert answer.status == status
    assert sentence in answer.sentence
    assert answer.seconds < 10


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("POST", "/invocations/", 404),
        ("GET", "/models", 404),
        ("GET", "/invocations", 405),
        ("PUT", "/invocations", 405),
        ("POST", "/ping", 405),
    ],
)
def test_what_there_is_not_is_told_in_json(server: ModelServer, method: str, path: str, status: int):
    answer = server.request(method, path)
    assert answer.status == status
    assert answer.sentence.endswith("there are GET /ping, POST /invocations and GET /execution-parameters")
    assert ("allow" in answer.headers) == (status == 405)


def raw(server: ModelServer, *parts: bytes) -> Answer:
    """Send bytes as they are and read one answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        for part in parts:
            connection.sendall(part)
        response = http.client.HTTPResponse(connection)
        response.begin()
        body = response.read()
        return Answer(response.status, {key.lower(): value for key, value in response.getheaders()}, body, 0)


POST = b"POST /invocations HTTP/1.1\r\nHost: x\r\n"
NO_HTTP = {
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "that can be read: illegal request line"),
    "no host": (b"GET /ping HTTP/1.1\r\n\r\n", 400, "that can be read: Missing mandatory Host: header"),
    "two lengths": (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400, "onflicting Content-Length"),
    "a bad chunk": (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "illegal chunk header"),
    "a coding": (
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        501,
        "Only Transfer-Encoding: chunked is supported",
    ),
    "headers": (POST + b"X-A: " + b"a" * 70_000, 431, "the request's headers have more than 64 KB"),
}


@pytest.mark.parametrize("case", NO_HTTP)
def test_what_is_no_http_is_told_in_json_and_in_the_log(server: ModelServer, case: str):
    sent, status, sentence = NO_HTTP[case]
    answer = raw(server, sent)
    assert (answer.status, answer.headers["connection"]) == (status, "close")
    assert sentence in answer.sentence
    server.wait_for_line(re.escape(f"{status}: {answer.sentence}"))


def test_rubbish_behind_a_refused_body_ends_the_connection_without_a_traceback(server: ModelServer):
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(POST + b"Content-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n")
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert (response.status, response.read()[:9]) == (415, b'{"error":')
        connection.sendall(b"no chunk\r\n")
        assert connection.recv(65_536) == b""
    server.wait_for_line("400: this is not an HTTP request that can be read: illegal chunk header")
    # What else is said of it is in the log by the next line.
    assert server.invoke(b"behind the rubbish").status == 400
    server.wait_for_line(r"POST /invocations 400 .*\n\Z")
    assert "Traceback" not in server.log


def test_requests_in_a_row_before_the_first_answer_are_answered_in_their_order(server: ModelServer, jpeg: bytes):
    def request(body: bytes) -> bytes:
        return POST + b"Content-Length: %d\r\n\r\n" % len(body) + body

    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(request(jpeg) + request(b"x") + b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n" + request(jpeg))
        stream = connection.makefile("rb")
        statuses = []
        for _ in range(4):
            statuses.append(int(stream.readline().split()[1]))
            lengths = [line for line in iter(stream.readline, b"\r\n") if line.startswith(b"content-length")]
            stream.read(int(lengths[0].split()[1]))
    assert statuses == [200, 400, 200, 200]


def test_empty_lines_before_a_request_are_passed_over(server: ModelServer, jpeg: bytes):
    """RFC 9112, 2.2: some clients send one behind the body of a POST."""
    post = POST + b"Content-Length: %d\r\n\r\n" % len(jpeg) + jpeg
    ping = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        stream = connection.makefile("rb")
        for parts in ((b"\r\n" + ping,), (post + b"\r\n" + ping,), (b"\r\n",), (b"\r", b"\n\r", b"\n" + ping)):
            for part in parts:
                connection.sendall(part)
                time.sleep(0.2)
            for _ in range(b"".join(parts).count(b"HTTP/1.1")):
                assert stream.readline().startswith(b"HTTP/1.1 200 ")
                lengths = [line for line in iter(stream.readline, b"\r\n") if line.startswith(b"content-length")]
                stream.read(int(lengths[0].split()[1]))
    assert raw(server, b"\r\nno request line\r\n\r\n").status == 400
    assert raw(server, b"\rGET /ping HTTP/1.1\r\nHost: x\r\n\r\n").status == 400


def test_http_1_0_and_head(server: ModelServer, jpeg: bytes):
    answer = raw(server, b"POST /invocations HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(jpeg) + jpeg)
    assert (answer.status, answer.json()) == (200, server.invoke(jpeg).json())
    assert (server.request("HEAD", "/ping").status, server.request("HEAD", "/ping").body) == (200, b"")


def test_who_waits_for_100_continue_is_refused_before_the_body(server: ModelServer):
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n"
    answer = raw(server, head)
    assert (answer.status, answer.headers["connection"]) == (413, "close")


@pytest.mark.parametrize(("method", "path", "status"), [("POST", "/invocation", 404), ("PUT", "/invocations", 405)])
def test_who_waits_for_100_continue_where_nothing_is_finds_the_connection_closed(
    server: ModelServer, method: str, path: str, status: int
):
    """Or the next request on it would be taken for the body."""
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\nExpect: 100-continue\r\n\r\n"
    answer = raw(server, head.encode())
    assert (answer.status, answer.headers["connection"]) == (status, "close")


def test_who_is_refused_after_100_continue_reads_why_and_goes_on(server: ModelServer):
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(head)
        stream = connection.makefile("rb")
        assert stream.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert stream.readline() == b"\r\n"
        for chunk in chunks(30 << 20):
            connection.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        connection.sendall(b"0\r\n\r\n")
        assert stream.readline().startswith(b"HTTP/1.1 413 ")
        headers = dict(line.lower().rstrip().split(b": ", 1) for line in iter(stream.readline, b"\r\n"))
        assert b"has more than 1 MB" in stream.read(int(headers[b"content-length"]))
        connection.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert stream.readline().startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("version", [b"HTTP/1.0\r\n", b"HTTP/1.1\r\nHost: x\r\nConnection: TE, close\r\n"])
@pytest.mark.parametrize(
    ("request_line", "status"), [(b"POST /invocation ", 404), (b"PUT /invocations ", 405), (b"POST /invocations ", 413)]
)
def test_a_refusal_reaches_a_client_that_sends_on_and_ends_the_connection(
    server: ModelServer, request_line: bytes, status: int, version: bytes
):
    body = bytes(30 << 20)
    answer = raw(server, request_line + version + b"Content-Length: %d\r\n\r\n" % len(body), body)
    assert answer.status == status
    assert answer.sentence


@pytest.mark.parametrize("ending", [".hdr", ".pfm", ".tiff"])
def test_images_whose_size_the_decoder_alone_reads_are_taken(server: ModelServer, ending: str):
    assert server.invoke(encoded(noise(1).astype(np.float32) / 255, ending)).status == 200


def test_a_connection_goes_on_after_a_refused_body(server: ModelServer, jpeg: bytes):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    for body, status in ((bytes(3 << 20), 413), (jpeg, 200), (b"", 400), (jpeg, 200)):
        connection.request("POST", "/invocations", body)
        response = connection.getresponse()
        response.read()
        assert response.status == status
    connection.close()


def test_answers_on_a_connection_that_stays_open_are_not_held_back(server: ModelServer):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    seconds = []
    for _ in range(41):
        begin = time.monotonic()
        connection.request("POST", "/invocations", b"no image")
        assert connection.getresponse().read()
        seconds.append(time.monotonic() - begin)
    connection.close()
    # A delayed acknowledgement takes 40 ms, and Linux does not delay the first ones of a connection.
    assert sorted(seconds)[20] < 0.03


def test_a_chunked_body_is_taken(server: ModelServer, jpeg: bytes, predicted: dict[str, list[list[float]]]):
    parts = (jpeg[begin : begin + 1000] for begin in range(0, len(jpeg), 1000))
    answer = server.invoke(parts)
    assert answer.status == 200
    assert answer.json() == server.invoke(jpeg).json()


def test_json_lines_are_one_line(server: ModelServer, jpeg: bytes):
    answer = server.invoke(jpeg, Accept="application/jsonlines")
    assert answer.headers["content-type"] == "application/jsonlines"
    assert answer.body.count(b"\n") == 1
    assert answer.json() == server.invoke(jpeg).json()


def test_custom_attributes_come_back_and_the_inference_id_is_in_the_log(server: ModelServer, jpeg: bytes):
    for body, status in ((jpeg, 200), (b"x", 400)):
        attributes = f"trace={status}"
        headers = {
            "X_Amzn_SageMaker_Custom_Attributes": attributes,
            "X_Amzn_SageMaker_Inference_Id": f"id-{status}",
        }
        answer = server.invoke(body, **headers)
        assert answer.status == status
        assert answer.headers["x-amzn-sagemaker-custom-attributes"] == attributes
        server.wait_for_line(rf"POST /invocations {status} in [\d.]+ s, inference id 'id-{status}': ")
    for method, path, status in (("POST", "/invocation", 404), ("PUT", "/invocations", 405)):
        answer = server.request(method, path, jpeg, {"X-Amzn-SageMaker-Custom-Attributes": "trace"})
        assert (answer.status, answer.headers["x-amzn-sagemaker-custom-attributes"]) == (status, "trace")


def test_an_image_of_16_bits_is_told_once_in_the_log_with_its_request(server: ModelServer):
    """With the values of 12 bits, which are nearly black once the upper 8 of 16 are read."""
    deep = encoded(noise(1).astype(np.uint16) * 16)
    for inference_id in ("deep-1", "deep-2"):
        assert server.invoke(deep, X_Amzn_SageMaker_Inference_Id=inference_id).status == 200
    server.wait_for_line("POST /invocations 200 in [^ ]+ s, inference id 'deep-2'")
    warnings = re.findall(r" WARNING \d+\] (.*'deep-\d'.*16 bits.*)", server.log)
    assert warnings == [
        f"POST /invocations, inference id '{inference_id}': the request's body: 16 bits a colour, of which the upper 8 "
        "are read, so that values of 12 bits would be nearly black: multiply those by 16"
        for inference_id in ("deep-1", "deep-2")
    ]


def test_execution_parameters_hold_for_the_platform(server: ModelServer):
    answer = server.request("GET", "/execution-parameters")
    assert answer.status == 200
    assert answer.json() == {"MaxConcurrentTransforms": 2, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": LIMIT_MB}


def test_execution_parameters_stay_within_what_the_platform_allows(base: Path):
    """Whatever larger bodies an asynchronous endpoint of the same model takes."""
    with ModelServer(base, {"SAGEMAKER_MAX_PAYLOAD_IN_MB": "1000"}) as server:
        server.wait_until_listening()
        asked = server.request("GET", "/execution-parameters").json()
    assert asked == {"MaxConcurrentTransforms": 1, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 100}


def test_a_ping_has_no_body(server: ModelServer):
    answer = server.ping()
    assert (answer.status, answer.body) == (200, b"")
    assert server.request("GET", "/ping?x=1").status == 200


def test_clients_that_left_are_dropped(server: ModelServer, jpeg: bytes):
    """Of ten that leave, the two whose images the process has already are detected on, and nobody else's."""
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
    left = r"POST /invocations 499 .*: the client left before the answer, and its image was "
    (child,) = server.children()
    os.kill(child, signal.SIGSTOP)
    try:
        clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(10)]
        for client in clients:
            client.sendall(head + jpeg)
        time.sleep(0.5)
        for client in clients:
            client.close()
        server.wait_for_line(left, 10)
    finally:
        os.kill(child, signal.SIGCONT)
    assert len(re.findall(left + "dropped", server.log)) == 8
    assert len(re.findall(left + "with a process already", server.log)) == 2
    assert server.invoke(jpeg).status == 200
