"""A picture with a red object on it, in every kind of file."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

WIDTH, HEIGHT = 96, 64
# Where the object is: left, top, width, height in pixels, and xmin, ymin, xmax, ymax in fractions.
OBJECT = (12, 8, 36, 16)
CORNERS = (12 / WIDTH, 8 / HEIGHT, 48 / WIDTH, 24 / HEIGHT)
LABEL = [2.0, 5.0, 1.0, *CORNERS]
RED = (230, 20, 20)
# EXIF orientation: how the upright picture is stored, so that a viewer who obeys it sees it upright.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def picture() -> Image.Image:
    """Smooth, so that JPEG is close; the same in no direction."""
    x, y = np.meshgrid(np.linspace(0, 180, WIDTH), np.linspace(60, 250, HEIGHT))
    pixels = np.stack([x / 2, y, 255 - x], axis=2).astype(np.uint8)
    left, top, width, height = OBJECT
    pixels[top : top + height, left : left + width] = RED
    return Image.fromarray(pixels)


def saved(kind: str, image: Image.Image | None = None, mode: str = "RGB", **options: Any) -> bytes:
    """Save the picture with Pillow."""
    image = picture() if image is None else image
    if image.mode != mode:
        image = image.convert(mode)
    if kind == "JPEG":
        options = {"quality": 95, "subsampling": 0, **options}
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def viewed(data: bytes) -> NDArray[np.uint8]:
    """What a viewer shows: turned as EXIF says, colours beneath transparency; (height, width, 3) RGB."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    return np.asarray(image.convert("RGB"))


def exif(orientation: int) -> Image.Exif:
    """Make an EXIF block with an orientation."""
    block = Image.Exif()
    block[0x0110] = "a camera"
    block[0x0112] = orientation
    return block


def turned(orientation: int, kind: str = "JPEG", **options: Any) -> bytes:
    """Save the picture so that a viewer sees it upright through the EXIF orientation."""
    how = STORED[orientation]
    stored = picture() if how is None else picture().transpose(how)
    return saved(kind, stored, exif=exif(orientation), **options)


def with_segment(jpeg: bytes, marker: int, content: bytes) -> bytes:
    """Put a segment behind a JPEG's first two bytes."""
    return jpeg[:2] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + jpeg[2:]


def interlaced_png() -> bytes:
    """Write the picture as PNG in Adam7's seven passes, which Pillow reads but does not write."""
    pixels = np.asarray(picture())
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = [b"\0" + row.tobytes() for top, left, down, right in passes for row in pixels[top::down, left::right]]
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 1)
    return png_of(header, zlib.compress(b"".join(rows)))


def deep_png() -> bytes:
    """Write the picture as PNG with 16 bits a colour, which Pillow does not write."""
    pixels = np.asarray(picture()).astype(">u2") * 257
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return png_of(struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 2, 0, 0, 0), zlib.compress(rows))


def png_of(header: bytes, data: bytes) -> bytes:
    """Put a PNG together."""
    chunks = [(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def flat_jpeg(start_of_frame: int, bits: int) -> bytes:
    """Write a plain grey JPEG by hand: C3 is lossless, C1 with 12 bits the kind of medical images.

    One Huffman code, `0`, means "no difference" (and in a table of AC: end of block), `10` a difference of n bits.
    """
    side, lossless = 64, start_of_frame == 0xC3
    size = 6 if lossless else 8
    dc = bytes([0x00, 1, 1, *[0] * 14, 0, size])
    ac = bytes([0x10, 1, 1, *[0] * 14, 0, 1])
    frame = struct.pack(">BHHBBBB", bits, side, side, 1, 1, 0x11, 0)
    scan = bytes([1, 1, 0x00, 1 if lossless else 0, 0 if lossless else 63, 0])
    values = side * side if lossless else (side // 8) ** 2
    # The first value differs from the predictor (or from 0) by the largest number of `size` bits.
    text = "10" + "1" * size + ("" if lossless else "0") + ("0" if lossless else "00") * (values - 1)
    text += "1" * (-len(text) % 8)
    stream = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
    segments = [(0xDB, bytes([0, *[1] * 64])), (start_of_frame, frame), (0xC4, dc), (0xC4, ac), (0xDA, scan)]
    head = b"".join(struct.pack(">BBH", 0xFF, kind, len(content) + 2) + content for kind, content in segments)
    return b"\xff\xd8" + head + stream + b"\xff\xd9"
