"""The payload of an image record, and its label: a header, then class_id, xmin, ymin, xmax, ymax of each box.

Layout: MXNet, `src/io/image_recordio.h` (the payload) and `src/io/image_det_aug_default.cc` (the label).
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_HEADER = struct.Struct("<IfQQ")
# MXNet's reader aborts on a label without a box, but drops a box without area.
NO_OBJECT: NDArray[np.float32] = np.array([2, 5, 0, 0.5, 0.5, 0.5, 0.5], np.float32)
_SHORTEST = 7
# Up to here a float32 tells every whole number; numpy takes no array much wider, not even an empty one.
_WIDEST = 1 << 24
NO_LABEL_HINT = (
    "A label is header_width (2 or more), object_width (5 or more), then class_id, xmin, ymin, xmax, ymax of "
    "each box; most often the .rec was packed without --pack-label, or its .lst has no boxes"
)


class LabelError(ValueError):
    """A record without a label that MXNet's reader could read; the text tells why."""


@dataclass(frozen=True, slots=True)
class Payload:
    """An image record taken apart: its id, `label` as the floats it stands as, the image file's bytes."""

    identity: int
    label: NDArray[np.float32]
    image: bytes


def split_payload(payload: bytes) -> Payload:
    """Take an image record apart; raises LabelError for one without label floats."""
    if len(payload) < _HEADER.size:
        raise LabelError(f"has only {len(payload)} bytes, too few for an image record")
    count, number, identity, _ = _HEADER.unpack_from(payload)
    if count == 0:
        raise LabelError(f"has no boxes, only the one number {number:g} as its label")
    end = _HEADER.size + 4 * count
    if end > len(payload):
        raise LabelError(f"claims a label of {count:,} numbers, but is only {len(payload):,} bytes long")
    return Payload(identity, np.frombuffer(payload, "<f4", count, _HEADER.size), payload[end:])


def join_payload(payload: Payload) -> bytes:
    """Put an image record together."""
    label = payload.label.astype("<f4")
    return b"".join([_HEADER.pack(len(label), 0.0, payload.identity, 0), label.tobytes(), payload.image])


def split_label(label: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the boxes of a label as a view (boxes, object_width); raises LabelError for a bad header.

    Rows of -1, the filling of labels of equal width, count as boxes here: see `filling`.
    """
    if len(label) < 2:
        raise LabelError(f"has a label of one number, {label[0]:g}")
    if not np.isfinite(label[:2]).all():
        raise LabelError("has a label whose header is not a number")
    header_width, object_width = (int(number) for number in label[:2])
    if (header_width, object_width) != tuple(label[:2]) or header_width < 2 or not 5 <= object_width <= _WIDEST:
        raise LabelError(f"has a label that begins {label[0]:g}, {label[1]:g}: no header_width and object_width")
    if header_width > len(label) or (len(label) - header_width) % object_width:
        raise LabelError(
            f"has a label of {len(label):,} numbers, which is not header_width {header_width} plus boxes of "
            f"{object_width} each"
        )
    return label[header_width:].reshape(-1, object_width)


def filling(objects: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell which rows of (boxes, object_width) only fill a label up: -1 throughout, dropped by the reader."""
    mask: NDArray[np.bool_] = (objects[:, :5] == -1).all(axis=1)
    return mask


def is_empty(objects: NDArray[np.float32]) -> bool:
    """Whether (boxes, object_width) holds nothing but filling and the pseudo object of an empty image."""
    pseudo = (objects[:, :5] == NO_OBJECT[2:]).all(axis=1)
    return bool((pseudo | filling(objects)).all())


def readable(label: NDArray[np.float32]) -> bool:
    """Whether the reader takes a label of this length."""
    return len(label) >= _SHORTEST


def label_of(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the label of boxes (n, 5) in fractions of the image; without any, that of an empty image."""
    if not len(boxes):
        return NO_OBJECT
    return np.concatenate([np.array([2, 5], np.float32), boxes.ravel()])
