"""An image file: what its header says, the one decoder of this program, and whether a channel can use the file.

The check, training, evaluation, `predict` and the report see the same pixels, since all of them decode here.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.data_formats import MAX_PIXELS

Pixels = NDArray[np.uint8]
# EXIF's tag of the orientation.
ORIENTATION_TAG: Final = 0x0112
_BITS_TAG: Final = 0x0102
# What the samples beyond the colours are: 2 is an alpha that the colours are not multiplied by, 1 one that they are.
_EXTRA_SAMPLES_TAG: Final = 0x0152
_UNASSOCIATED_ALPHA, _ASSOCIATED_ALPHA = 2, 1
# TIFF's number of a type of four bytes.
_LONG: Final = 4
# Of TIFF, and of BigTIFF, whose places and counts have eight bytes.
_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MOST_ENTRIES: Final = 0xFFFF
# JPEG 2000's first two markers, SOC and SIZ, which its files have behind their boxes: ITU-T T.800, annex A.
_JPEG_2000: Final = b"\xff\x4f\xff\x51"
# A RecordIO record holds 512 MB; the rest of it is for the label.
MAX_BYTES = 500_000_000
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_START_OF_SCAN, _END_OF_IMAGE, _APP1 = 0xDA, 0xD9, 0xE1
_END = bytes([0xFF, _END_OF_IMAGE])
_EXIF = b"Exif\0\0"
# Markers without a length behind them: TEM, RST0 to RST7, and FF 00, which is none.
_WITHOUT_CONTENT = frozenset({0x00, 0x01, *range(0xD0, 0xD8)})
# SOF markers are C0-CF without DHT (C4), JPG (C8) and DAC (CC): ITU-T T.81, table B.1.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BASELINE = frozenset({0xC0, 0xC1})
# OpenCV's code of an allocation that failed: the image may be a good one.
_TOO_MANY_PIXELS: Final = f"more than {MAX_PIXELS // 1_000_000} megapixels"
_NO_MEMORY: Final = cv2.Error.StsNoMem
_AS_DRAWN = "EXIF orientation taken out, since image_size is the size without it"
# OpenCV's flags by how many times smaller a JPEG is decoded. The orientation is applied here: OpenCV turns JPEG, some
# versions of it PNG, and none WebP. TIFF it turns always.
_FLAGS: Final = {
    factor: flag | cv2.IMREAD_IGNORE_ORIENTATION
    for factor, flag in {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }.items()
}
# What undoes EXIF's orientations.
_UNDO_ORIENTATION: dict[int, Callable[[Any], Any]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: cv2.flip(pixels, 1),
    3: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_180),
    4: lambda pixels: cv2.flip(pixels, 0),
    5: cv2.transpose,
    6: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
    7: lambda pixels: cv2.transpose(cv2.rotate(pixels, cv2.ROTATE_180)),
    8: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
_HTML = (b"<!doctype html", b"<html")
_SIGNATURES = (
    (b"GIF8", "a GIF: save it as JPEG or PNG"),
    (b"%PDF", "a PDF: save it as JPEG or PNG"),
    (b"version https://git-lfs", "a pointer of Git LFS: fetch the image itself with git lfs pull"),
    (b"\xff\xd8\xff", "damaged, or a JPEG of a rare kind: save it anew as an ordinary JPEG"),
    *(
        (begin, "damaged, or a TIFF of a kind that is not read, such as one of 32-bit numbers: save it as PNG")
        for begin in _TIFF
    ),
    # Each as a file of boxes, and as the bare codestream.
    *(
        (begin, "damaged, or a JPEG 2000 of a kind that is not read: save it as PNG")
        for begin in (b"\0\0\0\x0cjP  ", _JPEG_2000)
    ),
    *((begin, "a JPEG XL: save it as JPEG or PNG") for begin in (b"\0\0\0\x0cJXL ", b"\xff\x0a")),
)
# Of ISO 14496-12's file type box: the brands of HEIF and AV1 images.
_BRANDS = {
    b"heic": "HEIC",
    b"heix": "HEIC",
    b"mif1": "HEIC",
    b"msf1": "HEIC",
    b"hevc": "HEIC",
    b"hevx": "HEIC",
    b"avif": "AVIF",
    b"avis": "AVIF",
}


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Width and height as stored, before any turn; `coding` is png, baseline, progressive or other.

    `orientation` is EXIF's 1 (upright) to 8, and stands at byte `orientation_at` of a JPEG if there is one. `complete`
    is false for a PNG that ends before its last chunk does, and for a JPEG that ends before its first pixel. `bits` are
    those of each colour.
    """

    width: int
    height: int
    coding: str
    orientation: int = 1
    orientation_at: int = 0
    complete: bool = True
    bits: int = 8

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height of the picture as a viewer shows it."""
        return (self.height, self.width) if swaps_sides(self.orientation) else (self.width, self.height)


def swaps_sides(orientation: int) -> bool:
    """Return whether an image of this EXIF orientation, 1 to 8, is upright only with width and height swapped."""
    return orientation >= 5


def in_proportion(size: tuple[float, float], other: tuple[float, float]) -> bool:
    """Return whether two sizes, each width and height, are, give or take what rounding a side to a pixel does."""
    return abs(size[0] * other[1] - size[1] * other[0]) <= max(*size, *other) / 2


def has_sides_swapped(size: tuple[float, float], other: tuple[float, float]) -> bool:
    """Return whether a size is in proportion to another one only once its sides are swapped."""
    return in_proportion(size[::-1], other) and not in_proportion(size, other)


def read_header(image: bytes) -> ImageHeader | None:
    """Return the header of a JPEG or PNG file, or None for anything else and where it is damaged."""
    try:
        if image.startswith(_PNG_SIGNATURE) and image[12:16] == b"IHDR":
            return _read_png(image)
        if image.startswith(b"\xff\xd8\xff"):
            return _read_jpeg(image)
    except struct.error:
        pass
    return None


def without_orientation(image: bytes, place: int) -> bytes:
    """Return the file with its orientation, whose byte is at `place`, set to upright, and otherwise as it is."""
    return _with_byte(image, place, 1)


def _with_byte(image: bytes, place: int, value: int) -> bytes:
    return b"".join([image[:place], bytes([value]), image[place + 1 :]])


def orientation_without_header(image: bytes) -> int:
    """Return the orientation of a WebP or TIFF file; 1 (upright) without one, and for anything else."""
    return _tiff_orientation(image)[0] if image.startswith(_TIFF) else _webp_orientation(image)


def _tiff_orientation(image: bytes) -> tuple[int, int]:
    """Return the orientation of a TIFF file and the place of its byte; 1 (upright) for anything else."""
    return _read_orientation(image) if image.startswith(_TIFF) else (1, 0)


def _webp_orientation(image: bytes) -> int:
    if image[:4] != b"RIFF" or image[8:12] != b"WEBP":
        return 1
    place = 12
    while place + 8 <= len(image):
        kind, length = image[place : place + 4], int.from_bytes(image[place + 4 : place + 8], "little")
        if kind == b"EXIF":
            return _read_orientation(image[place + 8 : place + 8 + length].removeprefix(_EXIF))[0]
        place += 8 + length + length % 2
    return 1


def _read_png(image: bytes) -> ImageHeader:
    width, height, bits = struct.unpack_from(">IIB", image, 16)
    orientation, place, complete = 1, len(_PNG_SIGNATURE), False
    # Length, kind, content, checksum.
    while not complete and place + 12 <= len(image):
        length, kind = int.from_bytes(image[place : place + 4], "big"), image[place + 4 : place + 8]
        if kind == b"eXIf":
            orientation, _ = _read_orientation(image[place + 8 : place + 8 + length])
        place += 12 + length
        complete = kind == b"IEND" and place <= len(image)
    return ImageHeader(width, height, "png", orientation, complete=complete, bits=bits)


def _read_jpeg(image: bytes) -> ImageHeader | None:
    frame: tuple[int, int, str] | None = None
    # A block of more than 64 KB goes on in the next segment, which begins with Exif's name too.
    exif: list[range] = []
    has_pixels = False
    for marker, start, end in _segments(image):
        if marker == _APP1 and image[start : start + len(_EXIF)] == _EXIF:
            exif.append(range(start + len(_EXIF), min(end, len(image))))
        elif marker in _START_OF_FRAME and frame is None:
            bits, height, width = struct.unpack_from(">BHH", image, start)
            coding = "baseline" if marker in _BASELINE else "progressive" if marker == 0xC2 else "other"
            frame = width, height, coding if bits == 8 else "other"
        elif marker == _START_OF_SCAN:
            has_pixels = end < len(image)
    if frame is None:
        return None
    orientation, place = _read_orientation(b"".join(image[part.start : part.stop] for part in exif))
    return ImageHeader(*frame, orientation, _place_in(exif, place), complete=has_pixels)


def _segments(image: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the marker, the begin and the end of the content of each segment, the first scan's header the last.

    What is no marker where one should stand is passed over, as by libjpeg: jdmarker.c, `next_marker`.
    """
    place = 2
    while (place := image.find(b"\xff", place)) >= 0:
        while image[place : place + 1] == b"\xff":  # fill bytes
            place += 1
        if place + 3 > len(image) or image[place] == _END_OF_IMAGE:
            return
        marker = image[place]
        place += 1
        if marker in _WITHOUT_CONTENT:
            continue
        # The length counts its own two bytes.
        end = place + max(2, int.from_bytes(image[place : place + 2], "big"))
        yield marker, place + 2, end
        if marker == _START_OF_SCAN:
            return
        place = end


def _place_in(parts: list[range], place: int) -> int:
    """Return where in a file byte `place` of its parts put together stands; 0 behind them."""
    for part in parts:
        if place < len(part):
            return part[place]
        place -= len(part)
    return 0


def _read_orientation(exif: bytes) -> tuple[int, int]:
    """Find the orientation and the place of its byte in the first directory of a TIFF block; 1 (upright) without one.

    Of the two bytes of a number up to 8 that is the one that is not 0.
    """
    for tag, value, place in _read_directory(exif):
        if tag == ORIENTATION_TAG and 1 <= value <= 8:
            return value, place
    return 1, 0


def _read_directory(tiff: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield tag, value and the place of the value's lower byte of the entries of a TIFF block's first directory.

    As far as that goes. Values are those of two bytes, of several the first.
    """
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return
    try:
        is_big = struct.unpack_from(f"{order}H", tiff, 2) == (43,)
        # Of places and counts: code, bytes; of the number of entries too, which TIFF gives in two bytes.
        (code, room), (count_code, behind_count) = (("Q", 8), ("Q", 8)) if is_big else (("I", 4), ("H", 2))
        (directory,) = struct.unpack_from(f"{order}{code}", tiff, room)
        (entries,) = struct.unpack_from(f"{order}{count_code}", tiff, directory)
        start, length = directory + behind_count, 4 + 2 * room
        for entry in range(start, start + length * min(entries, _MOST_ENTRIES), length):
            tag, kind, count = struct.unpack_from(f"{order}HH{code}", tiff, entry)
            place = entry + 4 + room
            if tag == _BITS_TAG and 2 * count > room:
                (place,) = struct.unpack_from(f"{order}{code}", tiff, place)
            elif kind == _LONG and order == ">":
                # An orientation is a SHORT; some programs write a LONG, whose last two bytes are then the number.
                place += 2
            yield int(tag), int(struct.unpack_from(f"{order}H", tiff, place)[0]), int(place) + (order == ">")
    except (struct.error, OverflowError):
        return


def _bits_without_header(image: bytes) -> int:
    """Return the bits of each colour of a TIFF or JPEG 2000 file; 8 for anything else."""
    if image.startswith(_TIFF):
        return next((value for tag, value, _ in _read_directory(image) if tag == _BITS_TAG), 8)
    # Of the components' sizes that of the first one, less 1; its upper bit says whether it has a sign.
    place = image.find(_JPEG_2000) + 42
    if image[4:8] == b"jP  " or image.startswith(_JPEG_2000):
        return (image[place] & 0x7F) + 1 if 42 <= place < len(image) else 8
    return 8


class UndecodableImageError(ValueError):
    """An image file that no decoder takes; the text says what it is instead, and what to do about it."""


def decode(image: bytes, header: ImageHeader | None = None, *, reduction: int = 1) -> Pixels:
    """Decode an image file to (height, width, 3) BGR, upright as its EXIF orientation says.

    header: what `read_header` gives of the file, where the caller has it already. reduction: 1, 2, 4 or 8, by which a
    JPEG is decoded smaller, each pixel the mean of so many a side; other files are decoded whole.
    A baseline JPEG without its end gets one: what is missing is grey, as most viewers show it.
    Raises UndecodableImageError, and MemoryError where the memory is too little for the image.
    """
    header = read_header(image) if header is None else header
    flags = _FLAGS[1 if header is None or header.coding == "png" else reduction]
    pixels = _imdecode(image, flags)
    if pixels is None and header is not None and header.coding == "baseline":
        pixels = _imdecode(image + _END, flags)
    if pixels is None:
        raise UndecodableImageError(_describe_undecodable(image))
    upright: Pixels = _UNDO_ORIENTATION[_orientation(image, header)](pixels)
    return upright


def lacks_pixels(image: bytes) -> bool:
    """Say whether a baseline JPEG without its end lacks a part of the picture too, and not the end's marker alone.

    Some cameras leave the marker out. Data that follows a whole picture is skipped; where a part of the picture is
    missing, it is taken for that part, and the pixels are others.
    """
    more = image.rstrip(b"\xff") + b"\x55" * 64
    pixels, with_more = (_imdecode(data + _END, _FLAGS[1]) for data in (image, more))
    return with_more is None or not np.array_equal(pixels, with_more)


def upright_size(image: bytes) -> tuple[int, int]:
    """Return width and height of an image as a viewer shows it; raises UndecodableImageError."""
    header = read_header(image)
    if header is None:
        height, width = decode(image).shape[:2]
        return width, height
    return header.upright_size


def _orientation(image: bytes, header: ImageHeader | None) -> int:
    # OpenCV turns TIFF itself, whatever its flags say.
    return _webp_orientation(image) if header is None else header.orientation


def _imdecode(image: bytes, flags: int) -> Any:
    """Decode a file, None where that fails; raises MemoryError where the memory is too little for the image."""
    try:
        return cv2.imdecode(np.frombuffer(_with_colours_kept(image), np.uint8), flags)
    except cv2.error as error:
        # std::bad_alloc comes without a code.
        if error.code == _NO_MEMORY or "bad_alloc" in str(error):
            raise MemoryError(f"the memory is too little to decode an image: {error}") from error
        return None


def is_beyond_decoder(image: bytes) -> bool:
    """Say whether OpenCV refuses an image for its size, which its limit (OPENCV_PIXELS_VARIABLE) does undecoded."""
    try:
        cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        return "MAX_IMAGE_PIXELS" in str(error)
    return False


def _with_colours_kept(image: bytes) -> bytes:
    """Return a TIFF file with colours that libtiff does not multiply by its alpha, and any other file as it is."""
    for tag, value, place in _read_directory(image) if image.startswith(_TIFF) else ():
        if (tag, value) == (_EXTRA_SAMPLES_TAG, _UNASSOCIATED_ALPHA):
            return _with_byte(image, place, _ASSOCIATED_ALPHA)
    return image


@dataclass(frozen=True, slots=True)
class ExaminedImage:
    """An image as a channel uses it: the bytes of its file, and the size in pixels that it decodes to.

    `fault` says why it cannot be used, else it is empty. `truncated` marks a JPEG that lacks a part of the picture,
    `deep` one of 16 bits a colour; `changed` says how and why the bytes are not the file's own.
    """

    content: bytes
    width: int = 0
    height: int = 0
    fault: str = ""
    truncated: bool = False
    changed: str = ""
    deep: bool = False


class DecodeResult(StrEnum):
    """What decoding a file whose header is in order has shown."""

    COMPLETE = "c"
    TRUNCATED = "t"
    DAMAGED = "d"


# Says what comes of an image with a header when it is decoded: `try_decode`, or another host's result of it.
Decode = Callable[[bytes, ImageHeader], DecodeResult]


def try_decode(image: bytes, header: ImageHeader) -> DecodeResult:
    """Find out whether an image decodes."""
    # An eighth of the size: for JPEG much cheaper, and it still reads the whole stream.
    flags = _FLAGS[8 if min(header.width, header.height) >= 8 else 1]
    if _imdecode(image, flags) is not None:
        return DecodeResult.COMPLETE
    if header.coding == "baseline" and _imdecode(image + _END, flags) is not None:
        return DecodeResult.TRUNCATED if lacks_pixels(image) else DecodeResult.COMPLETE
    return DecodeResult.DAMAGED


def examine_image(
    image: bytes, drawn_size: tuple[float, float] | None = None, decode: Decode = try_decode
) -> ExaminedImage:
    """Find out whether a channel can use an image; `drawn_size`: the width and height that its boxes were drawn on.

    decode: how to find out whether an image with a header decodes, where another host may have done it.
    """
    if not image:
        return ExaminedImage(image, fault="empty, 0 bytes")
    if len(image) > MAX_BYTES:
        return ExaminedImage(image, fault=f"more than the {MAX_BYTES:,} bytes that a record holds")
    header = read_header(image)
    if header is None:
        return _examine_without_header(image, drawn_size)
    if fault := _size_fault(header.width, header.height):
        return ExaminedImage(image, fault=fault)
    result = decode(image, header) if header.complete else DecodeResult.DAMAGED
    if result is DecodeResult.DAMAGED:
        rare = header.coding == "other"
        return ExaminedImage(image, fault=_describe_undecodable(image) if rare else "damaged or cut off")
    truncated = result is DecodeResult.TRUNCATED
    stored = header.width, header.height
    swaps = header.upright_size != stored
    if swaps and drawn_size is not None and has_sides_swapped(drawn_size, header.upright_size):
        # Its boxes were drawn on the pixels as they are stored.
        if header.coding == "png":
            return _as_drawn(image)
        return ExaminedImage(
            without_orientation(image, header.orientation_at), *stored, truncated=truncated, changed=_AS_DRAWN
        )
    return ExaminedImage(image, *header.upright_size, truncated=truncated, deep=header.bits > 8)


def _examine_without_header(image: bytes, drawn_size: tuple[float, float] | None) -> ExaminedImage:
    """Examine what is neither JPEG nor PNG inside, such as WebP, BMP, TIFF or JPEG 2000, whatever its ending."""
    pixels = _imdecode(image, _FLAGS[1])
    if pixels is None and is_beyond_decoder(image):
        return ExaminedImage(image, fault=_TOO_MANY_PIXELS)
    if pixels is None:
        return ExaminedImage(image, fault=_describe_undecodable(image))
    height, width = pixels.shape[:2]
    if fault := _size_fault(width, height):
        return ExaminedImage(image, fault=fault)
    # Less is made 8 by the decoder.
    deep = _bits_without_header(image) == 16
    orientation, place = _tiff_orientation(image)
    if swaps_sides(orientation) and drawn_size is not None and has_sides_swapped(drawn_size, (width, height)):
        return ExaminedImage(without_orientation(image, place), height, width, changed=_AS_DRAWN, deep=deep)
    if swaps_sides(_webp_orientation(image)) and width != height:
        if drawn_size is not None and has_sides_swapped(drawn_size, (height, width)):
            return _as_drawn(image)
        return ExaminedImage(image, height, width)
    return ExaminedImage(image, width, height, deep=deep)


def _as_drawn(image: bytes) -> ExaminedImage:
    """Code an image anew without its orientation, where that cannot be taken out of its bytes."""
    pixels = _imdecode(image, _FLAGS[1])
    height, width = pixels.shape[:2]
    return ExaminedImage(cv2.imencode(".png", pixels)[1].tobytes(), width, height, changed=_AS_DRAWN)


def _size_fault(width: int, height: int) -> str:
    if min(width, height) < 1:
        return f"{width}x{height} px, without a pixel"
    if width * height > MAX_PIXELS:
        return f"{width}x{height} px, {_TOO_MANY_PIXELS}"
    return ""


def _describe_undecodable(image: bytes) -> str:
    """Say what a file is that no decoder takes, and what to do about it."""
    if image[:64].lstrip().lower().startswith(_HTML):
        return "an HTML page: download the image again"
    for signature, text in _SIGNATURES:
        if image.startswith(signature):
            return text
    if image[4:8] == b"ftyp" and image[8:12] in _BRANDS:
        return f"{_BRANDS[image[8:12]]}: save it as JPEG or PNG"
    return "damaged or not an image"
