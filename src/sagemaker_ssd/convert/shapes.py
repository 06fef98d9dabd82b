"""Shapes that tools draw, and the corners of the upright box around each: xmin, ymin, xmax, ymax."""

import math
from collections.abc import Callable, Sequence
from typing import Final

from pycocotools import mask as masks

from sagemaker_ssd.boxes import BORDER_PIXELS
from sagemaker_ssd.data_formats import MAX_PIXELS
from sagemaker_ssd.errors import UserError

Corners = tuple[float, float, float, float]
Size = tuple[int, int]
# Where a point (x, y) of the pixels as stored, w x h, lies in the upright image, by EXIF's orientation.
_UPRIGHT: Final[dict[int, Callable[[float, float, float, float], tuple[float, float]]]] = {
    1: lambda x, y, w, h: (x, y),
    2: lambda x, y, w, h: (w - x, y),
    3: lambda x, y, w, h: (w - x, h - y),
    4: lambda x, y, w, h: (x, h - y),
    5: lambda x, y, w, h: (y, x),
    6: lambda x, y, w, h: (h - y, x),
    7: lambda x, y, w, h: (h - y, w - x),
    8: lambda x, y, w, h: (y, w - x),
}


def read_corners(values: Sequence[object]) -> Corners:
    """Read four numbers, or texts that are numbers; raises UserError for anything else."""
    try:
        xmin, ymin, xmax, ymax = (float(str(value)) for value in values)
    except ValueError as error:
        raise UserError(f"has a coordinate that is not a number: {_joined(values)}") from error
    corners = (xmin, ymin, xmax, ymax)
    if not all(map(math.isfinite, corners)):
        raise UserError(f"has a coordinate that is not a number: {_joined(values)}")
    return corners


def check_border(corners: Corners, size: Size) -> None:
    """Raise UserError for corners in pixels that are too far outside of `size` for the training job to clip them.

    The job allows a hundredth of a pixel more, since fractions are stored in float32.
    """
    width, height = size
    past = max(-min(corners), max(corners[0], corners[2]) - width, max(corners[1], corners[3]) - height)
    if past > BORDER_PIXELS:
        raise UserError(
            f"(xmin, ymin, xmax, ymax {_joined([_short(value) for value in corners])}) is {past:,.0f} px past the "
            f"border of {width}x{height}"
        )


def has_area(corners: Corners) -> bool:
    """Whether a box encloses any."""
    return corners[2] > corners[0] and corners[3] > corners[1]


def from_fractions(corners: Corners, size: Size) -> Corners:
    """Return corners in pixels of `size`."""
    return corners[0] * size[0], corners[1] * size[1], corners[2] * size[0], corners[3] * size[1]


def around_rotated(corners: Corners, degrees: float, size: Size) -> Corners:
    """Return the box around one that is turned by `degrees` about its centre, clipped to the image of `size`.

    That of an inverted box is inverted too. Raises UserError where the centre lies outside of the image.
    """
    width, height = size
    x, y = (corners[0] + corners[2]) / 2, (corners[1] + corners[3]) / 2
    if not (0 <= x <= width and 0 <= y <= height):
        raise UserError(
            f"is turned by {degrees:g} degrees about its centre, {_short(x)}, {_short(y)}, which is outside of the "
            f"image of {width}x{height}"
        )
    sine, cosine = abs(math.sin(math.radians(degrees))), abs(math.cos(math.radians(degrees)))
    half_width, half_height = abs(corners[2] - corners[0]) / 2, abs(corners[3] - corners[1]) / 2
    across = half_width * cosine + half_height * sine
    along = half_width * sine + half_height * cosine
    # Its own corners may lie outside without the object doing so.
    left, top, right, bottom = max(x - across, 0), max(y - along, 0), min(x + across, width), min(y + along, height)
    if corners[2] < corners[0]:
        left, right = right, left
    if corners[3] < corners[1]:
        top, bottom = bottom, top
    return left, top, right, bottom


def read_degrees(value: object) -> float:
    """Read an angle in degrees, 0 to 360, as a number or a text, perhaps with its unit; 0 for anything else."""
    text = str(value).strip().lower().removesuffix("degrees").removesuffix("deg").removesuffix("°")
    try:
        degrees = float(text) if isinstance(value, str) or is_number(value) else 0.0
    except (ValueError, OverflowError):  # an attribute of the person's own, in words
        return 0.0
    return degrees % 360 if math.isfinite(degrees) else 0.0


def turned_upright(corners: Corners, size: Size, orientation: int) -> Corners:
    """Return corners on the pixels as stored, of `size`, as corners of the upright image; `orientation` is EXIF's.

    Those of an inverted box are inverted too.
    """
    place = _UPRIGHT[orientation]
    left, top = place(corners[0], corners[1], *size)
    right, bottom = place(corners[2], corners[3], *size)
    # An axis that the turn reverses has the corners of every box the other way round.
    first, last = place(0, 0, *size), place(*size, *size)
    if last[0] < first[0]:
        left, right = right, left
    if last[1] < first[1]:
        top, bottom = bottom, top
    return left, top, right, bottom


def around_points(xs: Sequence[float], ys: Sequence[float]) -> Corners | None:
    """Return the box around a polygon's points; None without a point, or where one is not a number."""
    if not xs or len(xs) != len(ys) or not all(map(math.isfinite, (*xs, *ys))):
        return None
    return min(xs), min(ys), max(xs), max(ys)


def around_segmentation(segmentation: object) -> Corners | None:
    """Return the box around COCO's polygons or RLE; None for what is neither, or holds nothing."""
    if isinstance(segmentation, dict):
        return _around_rle(segmentation)
    if not isinstance(segmentation, list) or not segmentation:
        return None
    polygons = segmentation if isinstance(segmentation[0], list) else [segmentation]
    points: list[float] = []
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) % 2 or not all(map(is_number, polygon)):
            return None
        try:
            points += map(float, polygon)
        except OverflowError:  # a whole number of more digits than any coordinate
            return None
    return around_points(points[::2], points[1::2])


def _around_rle(rle: dict[str, object]) -> Corners | None:
    size, counts = rle.get("size"), rle.get("counts")
    # Checked here, since the C code behind this checks nothing: a height of 0 would end the process.
    if not isinstance(size, list) or len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        return None
    height, width = size
    # No channel takes an image of more pixels, and the C code counts them in 32 bits.
    if height * width > MAX_PIXELS:
        return None
    runs = _decompress(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(isinstance(run, int) and run >= 0 for run in runs):
        return None
    if sum(runs) != height * width:
        return None
    rle = masks.frPyObjects({"size": size, "counts": runs}, height, width)
    left, top, across, along = (float(value) for value in masks.toBbox(rle))
    corners = (left, top, left + across, top + along)
    return corners if has_area(corners) else None


def _decompress(counts: str) -> list[int]:
    """Return the lengths of the runs of a compressed RLE, whatever its text is.

    Source: pycocotools, `rleFrString`: each is written in groups of 5 bits from the lowest on, with 32 for more to come
    and the last group's 16 for the sign; from the fourth on, as the difference to the one before the last.
    """
    runs: list[int] = []
    number = shift = 0
    for character in counts:
        group = ord(character) - 48
        number |= (group & 31) << shift
        shift += 5
        if not group & 32:
            if group & 16:
                number -= 1 << shift
            runs.append(number + (runs[-2] if len(runs) > 2 else 0))
            number = shift = 0
    return runs


def is_number(value: object) -> bool:
    """Whether a value of a JSON is a number, which true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _joined(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))


def _short(value: float) -> str:
    return f"{value:.10g}"
