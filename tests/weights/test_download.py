"""Downloads from addresses on real sockets: the file, another file, half a file, and no answer at all."""

import functools
import http.server
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sagemaker_ssd.errors import UserError
from sagemaker_ssd.weights.download import ANSWER_SECONDS, download
from sagemaker_ssd.weights.sources import Source, find_source

CONTENT = bytes(range(256)) * 20_000
# Nothing listens on it.
CLOSED = "http://127.0.0.1:9/x.onnx"
SHA256 = "sha256:13fbe33cdd58fa5b9025c6eebae5b36b2d822086ad9a93a82a2ec18bb7d0531a"


class Handler(http.server.SimpleHTTPRequestHandler):
    """Leads /elsewhere to the file, says no to /forbidden, and breaks off in the middle of /half."""

    def do_GET(self) -> None:
        if self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", "/x.onnx")
            self.end_headers()
        elif self.path == "/forbidden":
            self.send_error(403)
        elif self.path == "/half":
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:1000])
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "x.onnx").write_bytes(CONTENT)
    (folder / "other").write_bytes(b"<html>")
    handler = functools.partial(Handler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def silent() -> Iterator[str]:
    """A host that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/x.onnx"


def source(*addresses: str) -> Source:
    found = find_source("resnet-50", "onnx-zoo")
    return replace(found, file="x.onnx", checksum=SHA256, addresses=addresses)


def fault(folder: Path, *addresses: str, seconds: float = 2) -> str:
    with pytest.raises(UserError) as caught:
        download(source(*addresses), folder, seconds)
    sentence = caught.value.sentence
    assert sentence.startswith("could not download Gluon's resnet50_v2 of the ONNX model zoo, resnet50-v2-7.onnx: ")
    remedy = (
        f"Where the network is closed, get x.onnx elsewhere (its sha256 is {SHA256[7:]}), and install it by `python -m "
        "sagemaker_ssd.weights fetch resnet-50 --source onnx-zoo --file FILE`"
    )
    assert sentence.endswith(remedy)
    return sentence


def test_the_page_has_the_seconds_that_addresses_have():
    text = " ".join((Path(__file__).parents[2] / "docs" / "starting-weights.md").read_text().split())
    assert len(find_source("resnet-50", "onnx-zoo").addresses) == len(find_source("vgg-16", "onnx-zoo").addresses) == 2
    assert (
        f"addresses of a source have {ANSWER_SECONDS:g} seconds to answer, shared out evenly: each of the two of "
        f"`onnx-zoo` has {ANSWER_SECONDS / 2:g}." in text
    )


@pytest.mark.parametrize("name", ["x.onnx", "elsewhere"])
def test_the_file_and_where_it_came_from(served: str, tmp_path: Path, name: str, capsys):
    found, origin = download(source(f"{served}/{name}"), tmp_path)
    assert (found.name, found.read_bytes(), origin) == ("x.onnx", CONTENT, f"{served}/{name}")
    assert capsys.readouterr().err.startswith(
        "Fetching Gluon's resnet50_v2 of the ONNX model zoo, resnet50-v2-7.onnx (102 MB) from http://127.0.0.1:"
    )


@pytest.mark.parametrize("first", ["other", "forbidden", "half"])
def test_the_second_address_where_the_first_does_not_give_the_file(served: str, tmp_path: Path, first: str):
    found, origin = download(source(f"{served}/{first}", f"{served}/x.onnx"), tmp_path)
    assert (found.read_bytes(), origin) == (CONTENT, f"{served}/x.onnx")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("other", "it gave another file, whose sha256 is b7d082ee12e91b75"),
        ("forbidden", "it answers with status 403"),
        ("half", "the connection broke off"),
    ],
)
def test_what_is_wrong_with_every_address_is_told(served: str, tmp_path: Path, name: str, reason: str):
    told = fault(tmp_path, CLOSED, f"{served}/{name}")
    assert f": {CLOSED}: no connection; {served}/{name}: {reason}" in told


def test_a_host_that_says_nothing(silent: str, tmp_path: Path):
    begun = time.monotonic()
    told = fault(tmp_path, silent, silent, seconds=2)
    assert 2 <= time.monotonic() - begun < 4
    assert told.count("no answer within 1 seconds") == 2


@pytest.mark.long
def test_a_host_that_says_nothing_is_told_within_20_seconds(silent: str, tmp_path: Path):
    begun = time.monotonic()
    with pytest.raises(UserError):
        download(source(silent, silent), tmp_path)
    assert time.monotonic() - begun < 20
