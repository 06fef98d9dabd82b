"""Whether MXNet's reader can decode an image, and bytes that it can decode where the file's own will not do.

MXNet 1.9.1 decodes with an OpenCV 3.4.2 of its own, which differs from the cv2 module: it knows neither WebP
nor JPEG 2000, and takes a baseline JPEG that is cut off (its last row fills the rest) where newer ones refuse.
Both turn a JPEG as its EXIF orientation says, but only the newer one a PNG, and neither a WebP. Tried on damaged files
of every kind: what passes here, the reader decodes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import cv2
import numpy as np

from sagemaker_ssd.data.image_header import ImageHeader, read_header, webp_orientation, without_orientation
from sagemaker_ssd.data.image_kinds import undecodable

# A random crop keeps at least 0.09 of a side; below 12 px none of it can be left, and the reader fails.
MIN_SIDE = 12
# A RecordIO record holds 512 MB; the rest of it is for the label.
MAX_BYTES = 500_000_000
# Twice the largest camera's. A damaged header can claim more, and decoders take memory for what it claims.
MAX_PIXELS = 250_000_000
_END_OF_IMAGE = b"\xff\xd9"
_NOT_KNOWN = "coded as PNG, since it is neither JPEG nor PNG inside"
_RARE = "coded as PNG, since it is a JPEG of a rare kind"
_TURNED = "coded anew, turned as its EXIF orientation says"
_AS_DRAWN = "EXIF orientation taken out, since image_size is the size without it"
# What undoes EXIF's orientations.
_UPRIGHT: dict[int, Callable[[Any], Any]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: cv2.flip(pixels, 1),
    3: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_180),
    4: lambda pixels: cv2.flip(pixels, 0),
    5: cv2.transpose,
    6: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
    7: lambda pixels: cv2.transpose(cv2.rotate(pixels, cv2.ROTATE_180)),
    8: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
}


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """An image for the reader: its bytes, and the size in pixels that it decodes to.

    `fault` says why it cannot be used, else it is empty. `cut` marks a JPEG without its end; `changed` says how
    and why the bytes are not the file's own.
    """

    image: bytes
    width: int = 0
    height: int = 0
    fault: str = ""
    cut: bool = False
    changed: str = ""


class Verdict(StrEnum):
    """What decoding a file whose header is in order has shown."""

    WHOLE = "w"
    CUT = "c"
    DAMAGED = "d"


# Says what becomes of an image with a header when it is decoded.
Judge = Callable[[bytes, ImageHeader], Verdict]


def judge_image(image: bytes, header: ImageHeader) -> Verdict:
    """Decode an image as the reader would."""
    if _decodes(image):
        return Verdict.WHOLE
    return Verdict.CUT if header.coding == "baseline" and _decodes(image + _END_OF_IMAGE) else Verdict.DAMAGED


def examine_image(
    image: bytes, drawn_size: tuple[float, float] | None = None, judge: Judge = judge_image
) -> ImageFacts:
    """Look at an image as the reader would; `drawn_size` is the width and height its boxes were drawn on."""
    if not image:
        return ImageFacts(image, fault="empty, 0 bytes")
    if len(image) > MAX_BYTES:
        return ImageFacts(image, fault=f"{len(image):,} bytes, more than a record holds ({MAX_BYTES:,})")
    header = read_header(image)
    if header is not None and (fault := _size_fault(header.width, header.height)):
        return ImageFacts(image, fault=fault)
    if header is None or header.coding == "other":
        return _code_anew(image, webp_orientation(image), drawn_size, _NOT_KNOWN if header is None else _RARE)
    verdict = judge(image, header) if header.complete else Verdict.DAMAGED
    if verdict is Verdict.DAMAGED:
        return ImageFacts(image, fault="damaged or cut off")
    return _turned(image, header, drawn_size, cut=verdict is Verdict.CUT)


def _turned(image: bytes, header: ImageHeader, drawn_size: tuple[float, float] | None, *, cut: bool) -> ImageFacts:
    """Leave the turning to the reader, which knows only JPEG's, unless the boxes were drawn on the pixels as stored."""
    stored, turned = (header.width, header.height), (header.height, header.width)
    as_drawn = header.sideways and drawn_size == stored != turned
    if header.coding == "png":
        if header.orientation == 1 or as_drawn:
            return ImageFacts(image, *stored)
        return _code_anew(image, header.orientation, drawn_size, _TURNED)
    if as_drawn:
        return ImageFacts(without_orientation(image, header), *stored, cut=cut, changed=_AS_DRAWN)
    return ImageFacts(image, *(turned if header.sideways else stored), cut=cut)


def _decodes(image: bytes) -> bool:
    # An eighth of the size: for JPEG much cheaper, and still reads the whole stream.
    return _decode(image, cv2.IMREAD_REDUCED_COLOR_8 | cv2.IMREAD_IGNORE_ORIENTATION) is not None


def _decode(image: bytes, flags: int) -> Any:
    try:
        return cv2.imdecode(np.frombuffer(image, np.uint8), flags)
    except cv2.error:
        return None


def _code_anew(image: bytes, orientation: int, drawn_size: tuple[float, float] | None, changed: str) -> ImageFacts:
    pixels = _decode(image, cv2.IMREAD_COLOR | (cv2.IMREAD_IGNORE_ORIENTATION if orientation > 1 else 0))
    if pixels is None:
        return ImageFacts(image, fault=undecodable(image))
    height, width = pixels.shape[:2]
    if fault := _size_fault(width, height):
        return ImageFacts(image, fault=fault)
    if not (orientation >= 5 and drawn_size == (width, height) != (height, width)):
        pixels = _UPRIGHT[orientation](pixels)
        height, width = pixels.shape[:2]
    return ImageFacts(cv2.imencode(".png", pixels)[1].tobytes(), width, height, changed=changed)


def _size_fault(width: int, height: int) -> str:
    if min(width, height) < MIN_SIDE:
        return f"{width}x{height} px, smaller than {MIN_SIDE} px a side"
    if width * height > MAX_PIXELS:
        return f"{width}x{height} px, more than {MAX_PIXELS // 1_000_000} megapixels"
    return ""


def displayed_size(image: bytes) -> tuple[int, int]:
    """Return width and height of an image that has been checked, as a viewer shows it."""
    header = read_header(image)
    assert header is not None, "an image of a checked channel is JPEG or PNG"
    sides = header.width, header.height
    # A PNG of a checked channel is upright.
    return sides[::-1] if header.sideways and header.coding != "png" else sides
