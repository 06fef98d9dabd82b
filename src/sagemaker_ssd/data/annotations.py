"""One JSON annotation: the format that AWS publishes for Object Detection's image channels, read and checked.

Source: Amazon SageMaker developer guide, `object-detection.md`, "Train with the Image Format".
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.data.boxes import id_range, valid_class_ids

_KEYS = ("class_id", "left", "top", "width", "height")


@dataclass(frozen=True, slots=True)
class Annotation:
    """One JSON: its `path` below the channel, the image's name `file` ("" if it has none), the size of the image.

    `boxes` (boxes, 5) holds class_id, left, top, width, height in pixels of `size`; `size` None means the image's.
    """

    path: str
    file: str
    size: tuple[float, float] | None
    boxes: NDArray[np.float64]


class _FaultError(ValueError):
    """What is wrong with the JSON, in words that continue its name."""


def read_annotation(root: Path, path: str, *, num_classes: int) -> tuple[Annotation, list[str]]:
    """Read `path` below `root`; return it with what is wrong with it, each text to continue the file's name.

    A JSON with faults comes without boxes.
    """
    try:
        text = (root / path).read_bytes()
    except OSError as error:
        return Annotation(path, "", None, _no_boxes()), [f"cannot be read: {error.strerror}"]
    return parse_annotation(text, path, num_classes=num_classes)


def parse_annotation(text: bytes, path: str, *, num_classes: int) -> tuple[Annotation, list[str]]:
    """Read a JSON that is called `path`, as `read_annotation` does."""
    no_boxes = _no_boxes()
    file = ""
    try:
        content = _load(text)
        file = _file(content)
        size = _size(content.get("image_size"))
        boxes, faults = _boxes(_annotations(content), num_classes)
    except _FaultError as fault:
        return Annotation(path, file, None, no_boxes), [str(fault)]
    return Annotation(path, file, size, no_boxes if faults else boxes), faults


def _no_boxes() -> NDArray[np.float64]:
    return np.empty((0, len(_KEYS)))


def _load(text: bytes) -> dict[str, Any]:
    if not text.strip():
        raise _FaultError('is empty; for an image without objects write {"annotations": []}')
    try:
        content = json.loads(text)
    except RecursionError as error:
        raise _FaultError("is not JSON: nested too deeply") from error
    except UnicodeDecodeError as error:
        raise _FaultError(f"is not UTF-8 text (byte {error.start + 1:,}); save it as UTF-8") from error
    except ValueError as error:
        if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data" and error.doc[error.pos] == "{":
            raise _FaultError("holds more than one JSON object; write one for each image") from error
        raise _FaultError(f"is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise _FaultError('holds no JSON object; write {"file": ..., "image_size": ..., "annotations": [...]}')
    return content


def _file(content: dict[str, Any]) -> str:
    file = content.get("file", "")
    if not isinstance(file, str):
        raise _FaultError(f'has the "file" {_short(file)}, which is not a name')
    return file


def _annotations(content: dict[str, Any]) -> Sequence[Any]:
    annotations = content.get("annotations")
    if not isinstance(annotations, list):
        raise _FaultError('has no list "annotations"; for an image without objects write "annotations": []')
    return annotations


def _size(image_size: Any) -> tuple[float, float] | None:
    """Take the width and height from an object, or from a list of one."""
    if isinstance(image_size, list):
        image_size = image_size[0] if image_size else None
    if image_size is None:
        return None
    if not isinstance(image_size, dict):
        example = '[{"width": 500, "height": 400, "depth": 3}]'
        raise _FaultError(f'has the "image_size" {_short(image_size)}; write {example}')
    sides = [_number(image_size.get(side)) for side in ("width", "height")]
    if not all(side is not None and side > 0 for side in sides):
        raise _FaultError(f'has an "image_size" without a width and height above 0: {_short(image_size)}')
    return float(sides[0] or 0), float(sides[1] or 0)


def _boxes(annotations: Sequence[Any], num_classes: int) -> tuple[NDArray[np.float64], list[str]]:
    rows, faults = [], []
    for number, box in enumerate(annotations):
        try:
            rows.append(_box(box, num_classes))
        except _FaultError as fault:
            faults.append(f"box {number} {fault}")
    return np.array(rows, np.float64).reshape(-1, len(_KEYS)), faults


def _box(box: Any, num_classes: int) -> list[float]:
    if not isinstance(box, dict):
        raise _FaultError(f"is {_short(box)}, not an object with {', '.join(_KEYS)}")
    missing = [key for key in _KEYS if key not in box]
    if missing:
        raise _FaultError(f"has no {', '.join(missing)}")
    values = [_number(box[key]) for key in _KEYS]
    wrong = [f"{key} {_short(box[key])}" for key, value in zip(_KEYS, values, strict=True) if value is None]
    if wrong:
        raise _FaultError(f"has {', '.join(wrong)}, not a number")
    numbers = [value for value in values if value is not None]
    if not valid_class_ids(np.array(numbers[:1]), num_classes).all():
        raise _FaultError(f"has class_id {numbers[0]:g} ({id_range(num_classes)})")
    return numbers


def _number(value: Any) -> float | None:
    """Read a number, or a string that is one; None for anything else and for what is not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _short(value: Any) -> str:
    try:
        text = json.dumps(value)
    except RecursionError:  # reading takes a little more depth than writing
        text = "something nested deeply"
    return text if len(text) <= 40 else f"{text[:37]}..."
