"""Channels drawn for these tests: images of one colour each, so that every one can be distinguished from the others."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import mxnet as mx
import numpy as np

WIDTH, HEIGHT = 80, 40
BOX = [2, 5, 1, 0.25, 0.25, 0.5, 0.75]


def picture(red: int, green: int = 100, blue: int = 50, size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    """A plain image in OpenCV's order of colours; size is width and height."""
    return np.full((size[1], size[0], 3), (blue, green, red), np.uint8)


def noise(seed: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    """An image that compresses badly."""
    return np.random.RandomState(seed).randint(0, 256, (size[1], size[0], 3), np.uint8)


def encoded(pixels: np.ndarray, ending: str = ".png", options: Sequence[int] = ()) -> bytes:
    return cv2.imencode(ending, pixels, list(options))[1].tobytes()


def png(red: int) -> bytes:
    return encoded(picture(red))


def write_rec(path: Path, records: Sequence[tuple[Any, bytes]]) -> Path:
    """Write (label, image bytes) with MXNet's own writer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = mx.recordio.MXRecordIO(str(path), "w")
    for number, (label, image) in enumerate(records):
        writer.write(mx.recordio.pack(mx.recordio.IRHeader(0, label, number, 0), image))
    writer.close()
    return path


def read_rec(path: Path) -> list[tuple[Any, bytes]]:
    """Read (label, image bytes) with MXNet's own reader of records."""
    reader = mx.recordio.MXRecordIO(str(path), "r")
    records = []
    while (payload := reader.read()) is not None:
        header, image = mx.recordio.unpack(payload)
        records.append((np.array(header.label).tolist(), image))
    reader.close()
    return records


def json_box(class_id: Any, left: Any, top: Any, width: Any, height: Any) -> dict[str, Any]:
    return {"class_id": class_id, "left": left, "top": top, "width": width, "height": height}


def write_annotation(path: Path, boxes: Sequence[Any], *, file: str | None = None, **more: Any) -> None:
    """Write one JSON; `file` None leaves the key out, image_size is the drawn one unless given (None: left out)."""
    content: dict[str, Any] = {"annotations": list(boxes)}
    size = more.pop("image_size", [{"width": WIDTH, "height": HEIGHT, "depth": 3}])
    content |= {"image_size": size} if size is not None else {}
    content |= {"file": file} if file is not None else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content | more))


def write_image(path: Path, image: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(image)


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder, with its time of change and its bytes; and the folders' times."""
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in [folder, *sorted(folder.rglob("*"))]
    }
