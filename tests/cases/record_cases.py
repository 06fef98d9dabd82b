"""Odd labels, images and framing of a .rec."""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from image_cases import put
from numpy.typing import NDArray
from odd_channel import CHANGED, LEFT_OUT, STOPS, USED, Case, Channel, Given
from odd_pictures import LABEL, picture, saved, turned, viewed, with_segment

from sagemaker_ssd.channels.recordio import frame

GOOD, IMAGE = saved("PNG"), saved("JPEG")
EMPTY = [2, 5, 0, 0.5, 0.5, 0.5, 0.5]
NAN, INF = float("nan"), float("inf")
WHERE = "train/train.rec: record 1"


def record(label: Sequence[float] | float, image: bytes) -> bytes:
    """Put a record together as im2rec does; one number alone is what it writes without --pack-label."""
    if isinstance(label, int | float):
        return frame(struct.pack("<IfQQ", 0, label, 0, 0) + image)
    floats = np.array(label, "<f4")
    return frame(struct.pack("<IfQQ", len(floats), 0, 0, 0) + floats.tobytes() + image)


def label_case(
    name: str,
    outcome: str,
    says: str,
    label: Sequence[float] | float,
    image: bytes = IMAGE,
    *,
    group: str = "label in a .rec",
    seen: NDArray[np.uint8] | None = None,
) -> Case:
    """A record with this label behind a good one."""

    def make(folder: Path) -> Channel:
        put(folder / "train.rec", record(LABEL, GOOD) + record(label, image))
        given = [] if outcome == STOPS or isinstance(label, int | float) else [Given(label, image, seen)]
        return Channel(folder / "train.rec", None, [Given(LABEL, GOOD, viewed(GOOD)), *given])

    return Case(group, name, outcome, says, make)


def file_case(name: str, outcome: str, says: str, content: bytes, given: Sequence[bytes] = (), **beside: bytes) -> Case:
    """A .rec with these bytes, and files beside it; `given` are its images, each with the usual label."""

    def make(folder: Path) -> Channel:
        put(folder / "train.rec", content)
        for suffix, other in beside.items():
            put(folder / f"train.{suffix}", other)
        return Channel(folder / "train.rec", None, [Given(LABEL, image, viewed(image)) for image in given])

    return Case("framing of a .rec", name, outcome, says, make)


def boxes(*rows: Sequence[float], header: Sequence[float] = (2, 5)) -> list[float]:
    """Make a label of rows."""
    return [*header, *(value for row in rows for value in row)]


OBJECT = LABEL[2:]
FLAT = "box without area or inverted, dropped (1): record 1 box 1"
ONLY_FLAT = "image whose boxes all have no area, left out (1): record 1"
NO_LABEL = "most often the .rec was packed without --pack-label"
LABELS = [
    label_case("box as large as the image", USED, "", boxes([0, 0, 0, 1, 1])),
    label_case("box 1 px past the border", CHANGED, "clipped (1): record 1 box 0", boxes([0, -1 / 96, 0, 0.5, 1])),
    label_case("box 2 px past the border", CHANGED, "clipped (1): record 1 box 0", boxes([0, 0, 0, 0.5, 1 + 2 / 64])),
    label_case(
        "box 3 px past the border",
        STOPS,
        "is not inside its image. Coordinates are fractions",
        boxes([0, 0, 0, 1 + 3 / 96, 1]),
    ),
    label_case(
        "box in pixels",
        STOPS,
        f"{WHERE}, box 0 (xmin 12, ymin 8, xmax 48, ymax 24) is not inside",
        boxes([0, 12, 8, 48, 24]),
    ),
    label_case("inverted box beside another", USED, FLAT, boxes(OBJECT, [0, 0.5, 0.5, 0.2, 0.7])),
    label_case("no box but an inverted one", LEFT_OUT, ONLY_FLAT, boxes([0, 0.5, 0.5, 0.2, 0.7])),
    label_case("no box but one without area", LEFT_OUT, ONLY_FLAT, boxes([0, 0.5, 0.5, 0.5, 0.7])),
    label_case(
        "class id out of range",
        STOPS,
        f"{WHERE}, box 0 has class_id 3 (ids run from 0 to 2; num_classes is 3)",
        boxes([3, 0, 0, 1, 1]),
    ),
    label_case("class id negative", STOPS, "box 0 has class_id -1 (ids run", boxes([-1, 0, 0, 1, 1])),
    label_case("class id a fraction", STOPS, "box 0 has class_id 0.5 (ids run", boxes([0.5, 0, 0, 1, 1])),
    label_case("class id huge", STOPS, "box 0 has class_id 1e+30 (ids run", boxes([1e30, 0, 0, 1, 1])),
    label_case("class id NaN", STOPS, "box 0 has class_id nan (ids run", boxes([NAN, 0, 0, 1, 1])),
    label_case("coordinate NaN", STOPS, "has a coordinate that is not a number", boxes([0, NAN, 0, 1, 1])),
    label_case("coordinate infinite", STOPS, "has a coordinate that is not a number", boxes([0, 0, 0, INF, 1])),
    label_case("only a header: no objects", USED, "", [2, 5]),
    label_case("no objects, a box without area for MXNet's reader", USED, "", EMPTY),
    label_case("filled with -1", USED, "", boxes(OBJECT, [-1] * 5, [-1] * 5)),
    label_case("filled with -1, no objects", USED, "", boxes([-1] * 5, [-1] * 5)),
    label_case("500 boxes", USED, "label_width is 350, but the fullest image needs 2502", boxes(*[OBJECT] * 500)),
    label_case("difficult flag (object width 6)", USED, "", boxes([*OBJECT, 1], [*OBJECT, 0], header=(2, 6))),
    label_case("three more columns (object width 8)", USED, "", boxes([*OBJECT, 1, 7, -3], header=(2, 8))),
    label_case(
        "NaN in a sixth column", USED, "read as not difficult (1): record 1", boxes([*OBJECT, NAN], header=(2, 6))
    ),
    label_case("a confidence in it", USED, "read as difficult (1): record 1", boxes([*OBJECT, 0.97], header=(2, 6))),
    label_case("NaN in a seventh column", USED, "", boxes([*OBJECT, 0, NAN], header=(2, 7))),
    label_case("longer header (header width 4)", USED, "", boxes(OBJECT, header=(4, 5, 96, 64))),
    label_case("NaN in a longer header", USED, "", boxes(OBJECT, header=(4, 5, NAN, 64))),
    label_case("header width 1", STOPS, "has a label that begins 1, 5: no header_width", boxes(OBJECT, header=(1, 5))),
    label_case(
        "object width 4 (boxes without class)", STOPS, "begins 2, 4: no header_width", boxes(OBJECT[1:], header=(2, 4))
    ),
    label_case("object width beyond sense, no box", STOPS, "begins 2, 1e+30: no header_width", [2, 1e30]),
    label_case("header forgotten", STOPS, NO_LABEL, OBJECT),
    label_case("header NaN", STOPS, "has a label whose header is not a number", boxes(OBJECT, header=(NAN, 5))),
    label_case("box cut short", STOPS, "has a label of 6 numbers, which is not header_width 2 plus", boxes(OBJECT[:4])),
    label_case("one number: packed without --pack-label", STOPS, f"{WHERE} has no boxes, only the one number 7", 7.0),
]


def image_in_record(name: str, outcome: str, says: str, image: bytes, seen: bytes | None = None) -> Case:
    """A record with an odd image; `seen`: the file that shows what a viewer shows, if any."""
    shown = np.asarray(picture()) if seen is None and outcome in (USED, CHANGED) else None
    return label_case(name, outcome, says, LABEL, image, group="image in a .rec", seen=viewed(seen) if seen else shown)


GREY = saved("JPEG", mode="L")
IMAGES = [
    image_in_record("grey JPEG", USED, "", GREY, GREY),
    image_in_record("EXIF orientation 6: as a viewer shows it", USED, "", turned(6)),
    image_in_record("WebP", USED, "", saved("WEBP", lossless=True)),
    image_in_record("0 bytes", LEFT_OUT, "record 1 (empty, 0 bytes)", b""),
    image_in_record(
        "HTML page",
        LEFT_OUT,
        "record 1 (an HTML page: download the image again)",
        b"<html><body>404 Not Found</body></html>",
    ),
]

TWO = record(LABEL, GOOD) + record(LABEL, IMAGE)
MAGIC = struct.pack("<I", 0xCED7230A)


def _in_parts() -> bytes:
    """An image with RecordIO's magic number at every place of four, so that its record is cut into parts there."""
    return next(
        image
        for shift in range(4)
        if len(framed := record(LABEL, image := with_segment(IMAGE, 0xFE, b"." * shift + MAGIC * 3)))
        and framed.count(MAGIC) == 4
    )


PARTS = _in_parts()


def _damaged(place: Callable[[bytes], int], content: bytes) -> bytes:
    damaged = bytearray(TWO)
    at = place(TWO)
    damaged[at : at + len(content)] = content
    return bytes(damaged)


# Not a multiple of 4 bytes, so that zeros fill its record up.
_FILLED = GOOD + bytes(-len(GOOD) % 4 + 1)
SECOND = len(record(LABEL, GOOD))
FRAMING = [
    file_case("without .idx", USED, "", TWO, [GOOD, IMAGE]),
    file_case("with an .idx that is not its own", USED, "", TWO, [GOOD, IMAGE], idx=b"0\t0\n1\t99999\n2\t7\n"),
    file_case("record in several parts", USED, "", record(LABEL, GOOD) + record(LABEL, PARTS), [GOOD, PARTS]),
    file_case(
        "wrong magic number in the middle",
        STOPS,
        f"{WHERE} (at byte {SECOND:,}) does not begin with RecordIO's magic number",
        _damaged(lambda two: SECOND, b"1234"),
    ),
    file_case(
        "unknown flag",
        STOPS,
        f"{WHERE} (at byte {SECOND:,}) has the unknown flag 7",
        _damaged(lambda two: SECOND + 7, b"\xe0"),
    ),
    file_case(
        "parts in the wrong order",
        STOPS,
        f"{WHERE} (at byte {SECOND:,}) has its parts in the wrong order",
        _damaged(lambda two: SECOND + 7, b"\x60"),
    ),
    file_case("cut off in the last record", STOPS, f"{WHERE} (at byte {SECOND:,}) is cut off: it should be", TWO[:-30]),
    file_case(
        "cut off in a head",
        STOPS,
        f"{WHERE} (at byte {SECOND:,}) is cut off: the file ends inside its head",
        TWO[: SECOND + 6],
    ),
    file_case(
        "cut off in the filling of the last record",
        STOPS,
        "but the file ends after",
        (TWO + record(LABEL, _FILLED))[:-1],
    ),
    file_case("rubbish behind the last record", STOPS, "record 2 (at byte", TWO + b"rubbish!"),
    file_case("empty file", STOPS, "train: holds no image with an annotation", b""),
    file_case(
        "no RecordIO file (a JPEG)", STOPS, "record 0 (at byte 0) does not begin with RecordIO's magic number", IMAGE
    ),
    file_case(
        "record of JSON",
        STOPS,
        "record 0 has only 19 bytes, too few for an image record",
        frame(b'{"annotations": []}'),
    ),
    file_case("record wrapped once more", STOPS, "train/train.rec: record 0", frame(TWO)),
    file_case("empty record", STOPS, "record 0 has only 0 bytes", frame(b"")),
]
CASES = [*LABELS, *IMAGES, *FRAMING]
