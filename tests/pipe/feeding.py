"""Streams for the tests: what is in them, and the feeder as a process."""

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sagemaker_ssd.channels.recordio import frame

FEEDER = Path(__file__).with_name("feeder.py")


class Feeders:
    """Starts feeders below a folder, and kills what still runs of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.running: list[subprocess.Popen[str]] = []

    def start(self, fifo: Path, data: bytes | Sequence[Path], **options: Any) -> subprocess.Popen[str]:
        """Feed bytes, or the bytes of files; fifo: the path without _0. options: stall_after=1000, pause=0.1, ..."""
        if isinstance(data, bytes):
            source = self._folder / f"{len(self.running)}.stream"
            source.write_bytes(data)
            data = [source]
        fifo.parent.mkdir(parents=True, exist_ok=True)
        words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        command = [sys.executable, FEEDER, fifo, *data, *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.running.append(process)
        return process

    def end(self) -> None:
        for process in self.running:
            process.kill()
            process.communicate()


def wait_for(path: Path, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)


def wrapped(payloads: Iterable[bytes]) -> bytes:
    """What RecordWrapperType RecordIO makes of objects or attributes: a record each."""
    return b"".join(map(frame, payloads))


def manifest(pairs: Iterable[tuple[bytes, Sequence[Any]]], **more: Any) -> bytes:
    """The stream of an augmented manifest: (image, boxes) each as two records; image_size is that of drawn images."""
    label = {"image_size": [{"width": 80, "height": 40, "depth": 3}], **more}
    return wrapped(
        payload
        for image, boxes in pairs
        for payload in (image, json.dumps({**label, "annotations": list(boxes)}).encode())
    )


def folder_manifest(images: Path, annotations: Path) -> bytes:
    """The stream of an augmented manifest with the images of a channel in the order of their paths."""
    files = sorted(images.rglob("*.jpg"), key=lambda file: file.relative_to(images).as_posix())
    jsons = [annotations / file.relative_to(images).with_suffix(".json") for file in files]
    return wrapped(
        payload
        for file, described in zip(files, jsons, strict=True)
        for payload in (file.read_bytes(), described.read_bytes())
    )
