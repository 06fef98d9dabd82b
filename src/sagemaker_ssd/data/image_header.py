"""What a JPEG or PNG file says of itself: size, how it is coded, and how EXIF wants it turned; of WebP only that."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
# SOF markers are C0-CF without DHT (C4), JPG (C8) and DAC (CC): ITU-T T.81, table B.1.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BASELINE = frozenset({0xC0, 0xC1})
_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """Width and height as stored, before any turn; `coding` is png, baseline, progressive or other.

    `orientation` is EXIF's 1 (upright) to 8, and stands at byte `orientation_at` of a JPEG if there is one. `complete`
    is false for a PNG that ends before its last chunk does.
    """

    width: int
    height: int
    coding: str
    orientation: int = 1
    orientation_at: int = 0
    complete: bool = True

    @property
    def sideways(self) -> bool:
        """Whether EXIF swaps the sides."""
        return self.orientation >= 5


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


def without_orientation(image: bytes, header: ImageHeader) -> bytes:
    """Return the file with its EXIF orientation set to upright, and otherwise as it is."""
    place = header.orientation_at
    little = image[place] != 0  # a number up to 8 in two bytes
    return image[:place] + (b"\1\0" if little else b"\0\1") + image[place + 2 :]


def webp_orientation(image: bytes) -> int:
    """Return the EXIF orientation of a WebP file; 1 (upright) without one, and for anything else."""
    if image[:4] != b"RIFF" or image[8:12] != b"WEBP":
        return 1
    place = 12
    while place + 8 <= len(image):
        kind, length = image[place : place + 4], int.from_bytes(image[place + 4 : place + 8], "little")
        if kind == b"EXIF":
            return _read_orientation(image[place + 8 : place + 8 + length].removeprefix(b"Exif\0\0"))[0]
        place += 8 + length + length % 2
    return 1


def _read_png(image: bytes) -> ImageHeader:
    width, height = struct.unpack_from(">II", image, 16)
    orientation, place, complete = 1, len(_PNG_SIGNATURE), False
    # Length, kind, content, checksum.
    while not complete and place + 12 <= len(image):
        length, kind = int.from_bytes(image[place : place + 4], "big"), image[place + 4 : place + 8]
        if kind == b"eXIf":
            orientation, _ = _read_orientation(image[place + 8 : place + 8 + length])
        place += 12 + length
        complete = kind == b"IEND" and place <= len(image)
    return ImageHeader(width, height, "png", orientation, complete=complete)


def _read_jpeg(image: bytes) -> ImageHeader | None:
    orientation, orientation_at = 1, 0
    for marker, start, end in _segments(image):
        if marker == 0xE1 and image[start : start + 6] == b"Exif\0\0":
            orientation, place = _read_orientation(image[start + 6 : end])
            orientation_at = start + 6 + place
        elif marker in _START_OF_FRAME:
            bits, height, width = struct.unpack_from(">BHH", image, start)
            coding = "baseline" if marker in _BASELINE else "progressive" if marker == 0xC2 else "other"
            coding = coding if bits == 8 else "other"
            return ImageHeader(width, height, coding, orientation, orientation_at)
    return None


def _segments(image: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the marker, the begin and the end of the content of each segment before the first scan."""
    place = 2
    while image[place : place + 1] == b"\xff":
        marker = image[place + 1] if place + 1 < len(image) else _END_OF_IMAGE
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        if marker in (_START_OF_SCAN, _END_OF_IMAGE):
            return
        (length,) = struct.unpack_from(">H", image, place + 2)
        yield marker, place + 4, place + 2 + length
        place += 2 + length


def _read_orientation(exif: bytes) -> tuple[int, int]:
    """Find the orientation and its place in the first directory of a TIFF block; 1 (upright) without one."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1, 0
    try:
        (directory,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, directory)
        for entry in range(directory + 2, directory + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, entry)
            if tag == _ORIENTATION_TAG and 1 <= value <= 8:
                return int(value), entry + 8
    except struct.error:
        pass
    return 1, 0
