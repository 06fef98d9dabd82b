"""What is said of an image before it is trained on, and that the decoder and the reader then see it as said."""

import io
import os
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from drawn_channels import BOX, encoded, noise, picture, write_rec
from sagemaker_ssd.batches.reader import LoaderOptions, TrainingLoader, evaluation_batches
from sagemaker_ssd.channels.check import check_recordio
from sagemaker_ssd.channels.findings import CheckOptions
from sagemaker_ssd.channels.images import (
    UndecodableImageError,
    decode,
    examine_image,
    lacks_pixels,
    orientation_without_header,
    read_header,
    upright_size,
)
from sagemaker_ssd.channels.record_file import RecordFile
from sagemaker_ssd.data_formats import OPENCV_PIXELS_VARIABLE
from sagemaker_ssd.errors import UserError

SIZE = (80, 48)
SIDE = 64
OPTIONS = LoaderOptions(batch_size=1, image_shape=SIDE, mean=(0, 0, 0), threads=1)


def photo() -> np.ndarray:
    """Smooth, so that JPEG is close; the same in no direction."""
    x, y = np.meshgrid(np.linspace(0, 200, SIZE[0]), np.linspace(0, 250, SIZE[1]))
    return np.stack([x, y, 255 - x], axis=2).astype(np.uint8)


def with_pillow(kind: str, mode: str = "RGB", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(photo()[:, :, ::-1]).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def turned(kind: str, orientation: int, *, little: bool = False) -> bytes:
    exif = Image.Exif()
    exif.endian = "<" if little else ">"
    exif[0x0110] = "a camera"
    exif[0x0112] = orientation
    return with_pillow(kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {"lossless": True}))


# What EXIF's orientations ask for, in Pillow's words: FLIP_LEFT_RIGHT, ROTATE_180, ...
TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}


def upright(orientation: int) -> np.ndarray:
    """The photo as a viewer shows it."""
    stored = Image.fromarray(photo())
    return np.asarray(stored if orientation == 1 else stored.transpose(TURNS[orientation]))


def seen_by_the_reader(image: bytes, folder: Path) -> np.ndarray:
    """The pixels that evaluation sees of an image that nothing has checked, (SIDE, SIDE, 3) in OpenCV's order."""
    path = write_rec(folder / "one.rec", [(BOX, image)])
    file = RecordFile(path, np.array([0, path.stat().st_size]), 1, (0, 1), 0, 1, 0)
    (batch,) = evaluation_batches(file, OPTIONS)
    return batch.data.asnumpy()[0].transpose(1, 2, 0)[:, :, ::-1]


def resized(pixels: np.ndarray) -> np.ndarray:
    return cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR).astype(np.float32)


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (with_pillow("JPEG", quality=95), 3),
        (with_pillow("JPEG", quality=95, progressive=True), 3),
        (with_pillow("JPEG", "CMYK", quality=95), 3),
        (with_pillow("PNG"), 0),
        (with_pillow("PNG", "RGBA"), 0),
        (encoded(photo().astype(np.uint16) * 257), 0),  # 16 bits a colour
        (with_pillow("WEBP", lossless=True), 0),
        (with_pillow("BMP"), 0),
        (with_pillow("TIFF", compression="tiff_lzw"), 0),
        (with_pillow("JPEG", quality=95) + b"behind the end", 3),
    ],
)
def test_the_reader_sees_the_picture(image: bytes, error: float, tmp_path: Path) -> None:
    examined = examine_image(image)
    assert (examined.fault, examined.width, examined.height, examined.truncated) == ("", *SIZE, False)
    assert (examined.content is image, examined.changed, upright_size(image)) == (True, "", SIZE)
    decoded = decode(examined.content).astype(np.float32)
    assert decoded.shape == photo().shape
    assert np.abs(decoded - photo()).mean() <= error
    assert np.abs(seen_by_the_reader(examined.content, tmp_path) - resized(photo())).mean() <= error


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1"])
def test_images_with_fewer_colours_come_through_in_three(mode: str, tmp_path: Path) -> None:
    image = with_pillow("PNG", mode)
    examined = examine_image(image)
    assert (examined.fault, examined.content is image) == ("", True)
    expected = np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))[:, :, ::-1]
    np.testing.assert_array_equal(decode(examined.content), expected)
    np.testing.assert_array_equal(seen_by_the_reader(examined.content, tmp_path), resized(expected))


def test_no_kind_of_image_is_coded_anew() -> None:
    for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "JPEG2000"):
        image = with_pillow(kind)
        examined = examine_image(image)
        assert (examined.fault, examined.changed, examined.content is image) == ("", "", True)


@pytest.mark.parametrize(("reduction", "size"), [(1, (80, 48)), (2, (40, 24)), (4, (20, 12)), (8, (10, 6))])
def test_only_a_jpeg_is_decoded_smaller(reduction: int, size: tuple[int, int]) -> None:
    for orientation in (1, 3, 6):
        smaller = decode(turned("JPEG", orientation), reduction=reduction).astype(np.float32)
        expected = upright(orientation)
        assert smaller.shape == ((*size, 3) if orientation == 6 else (size[1], size[0], 3))
        expected = cv2.resize(expected, smaller.shape[1::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(smaller - expected).mean() < 3
        for kind in ("PNG", "WEBP"):
            np.testing.assert_array_equal(decode(turned(kind, orientation), reduction=reduction), upright(orientation))


def test_a_jpeg_cut_in_half_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    image = encoded(noise(3, (80, 160)), ".jpg")
    half = image[: len(image) // 2]
    examined = examine_image(half)
    assert (examined.fault, examined.truncated, examined.content is half) == ("", True, True)
    whole, decoded = decode(image), decode(half)
    np.testing.assert_array_equal(decoded[:60], whole[:60])
    np.testing.assert_array_equal(decoded[81:], 128)
    np.testing.assert_array_equal(seen_by_the_reader(half, tmp_path), resized(decoded))


def test_where_the_reader_fails_the_image_is_bad(tmp_path: Path) -> None:
    for image in (
        with_pillow("JPEG", progressive=True)[:-200],
        with_pillow("JPEG", progressive=True)[:-10],
        with_pillow("JPEG")[:100],
        with_pillow("PNG")[:-20],
        with_pillow("GIF"),
        b"some text",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
    ):
        assert examine_image(image).fault
        with pytest.raises(UndecodableImageError):
            decode(image)
        with pytest.raises(UserError, match=r"record 0 \(at byte 0\) can no longer be read"):
            seen_by_the_reader(image, tmp_path)


def test_damaged_bytes_are_bad_or_come_through(tmp_path: Path) -> None:
    random = np.random.RandomState(5)
    outcomes = set()
    for image in [with_pillow("JPEG"), with_pillow("PNG"), with_pillow("BMP")] * 12:
        damaged = bytearray(image)
        for place in random.randint(0, min(len(damaged), 900), 2):
            damaged[place] = random.randint(256)
        examined = examine_image(bytes(damaged))
        outcomes.add(bool(examined.fault))
        if not examined.fault:
            assert decode(examined.content).shape == (examined.height, examined.width, 3)
            seen_by_the_reader(examined.content, tmp_path)
    assert outcomes == {False, True}


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (3, 7), (11, 40), (40, 11)])
@pytest.mark.parametrize("ending", [".png", ".webp", ".jpg"])
def test_images_of_a_few_pixels_are_trained_on(size: tuple[int, int], ending: str, tmp_path: Path) -> None:
    image = encoded(picture(200, size=size), ending)
    examined = examine_image(image)
    assert (examined.fault, examined.content is image, (examined.width, examined.height)) == ("", True, size)
    path = write_rec(tmp_path / "drawn.rec", [(BOX, image)] * 40)
    checked = CheckOptions(name="train", num_classes=2, scratch=tmp_path, max_bad_images=0, label_width=350)
    file = check_recordio(path, checked)
    options = replace(OPTIONS, batch_size=40)
    (batch,) = evaluation_batches(file, options)
    assert np.abs(batch.data.asnumpy() - np.array([200, 100, 50]).reshape(1, 3, 1, 1)).max() <= 3
    (batch,) = TrainingLoader(file, options, seed=1, order=lambda epoch: np.arange(40), epochs=range(1)).batches(0)
    assert batch.data.shape == (40, 3, SIDE, SIDE)
    corners = np.concatenate(batch.labels)[:, 1:]
    assert len(corners) > 20
    assert ((corners >= 0) & (corners <= 1)).all()


def test_an_image_without_a_pixel_is_bad() -> None:
    image = with_pillow("PNG")
    for place, said in ((16, "0x48 px, without a pixel"), (20, "80x0 px, without a pixel")):
        assert examine_image(image[:place] + bytes(4) + image[place + 4 :]).fault == said
    image = with_pillow("JPEG")
    place = image.index(b"\xff\xc0") + 5
    assert examine_image(image[:place] + bytes(2) + image[place + 2 :]).fault == "80x0 px, without a pixel"


@pytest.mark.parametrize("little", [False, True])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_image_turned_as_exif_says(orientation: int, little: bool, tmp_path: Path) -> None:
    image = turned("JPEG", orientation, little=little)
    header = read_header(image)
    assert header is not None
    assert (header.width, header.height, header.coding, header.orientation) == (*SIZE, "baseline", orientation)
    expected = upright(orientation)
    height, width = map(float, expected.shape[:2])
    for drawn_size in (None, (100.0, 100.0), (width, height), (2 * width, 2 * height)):
        examined = examine_image(image, drawn_size)
        assert (examined.content is image, examined.height, examined.width) == (True, *expected.shape[:2])
    assert upright_size(image) == header.upright_size == (examined.width, examined.height)
    decoded = decode(image).astype(np.float32)
    assert decoded.shape == expected.shape
    assert np.abs(decoded - expected).mean() < 3
    assert np.abs(seen_by_the_reader(image, tmp_path) - resized(expected)).mean() < 3


@pytest.mark.parametrize("order", ["<", ">"])
def test_an_orientation_of_four_bytes_is_read(order: str) -> None:
    """Against the standard, but as some programs write it and viewers read it."""
    tiff = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IHHHIII", 8, 1, 0x112, 4, 1, 6, 0)
    plain = with_pillow("JPEG")
    exif = b"Exif\0\0" + tiff
    image = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:]
    assert ImageOps.exif_transpose(Image.open(io.BytesIO(image))).size == (SIZE[1], SIZE[0])
    assert upright_size(image) == (SIZE[1], SIZE[0])
    examined = examine_image(image, (float(SIZE[0]), float(SIZE[1])))
    assert (examined.width, examined.height) == upright_size(examined.content) == SIZE


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_png_and_webp_stay_and_are_turned_by_the_decoder(orientation: int, kind: str, tmp_path: Path) -> None:
    image, expected = turned(kind, orientation), upright(orientation)
    examined = examine_image(image)
    assert (examined.content is image, examined.changed, examined.fault) == (True, "", "")
    assert upright_size(image) == (examined.width, examined.height) == expected.shape[1::-1]
    np.testing.assert_array_equal(decode(image), expected)
    np.testing.assert_array_equal(seen_by_the_reader(image, tmp_path), resized(expected))


def tiff(
    pixels: np.ndarray, orientation: int, order: str, *, big: bool, kind: int = 3, alpha: int | None = None
) -> bytes:
    """Write BGR pixels as TIFF, or BigTIFF, without compression; kind: 3 for an orientation of two bytes, 4 of four.

    alpha: of all pixels, by which the colours are not multiplied.
    """
    height, width, _ = pixels.shape
    samples = 3 if alpha is None else 4
    stored = (
        pixels[:, :, ::-1] if alpha is None else np.dstack([pixels[:, :, ::-1], np.full_like(pixels[..., 0], alpha)])
    )
    data = stored.astype(pixels.dtype.newbyteorder(order)).tobytes()
    bits = struct.pack(f"{order}{samples}H", *[8 * pixels.itemsize] * samples)
    code, room, head = ("Q", 8, 16) if big else ("I", 4, 8)
    behind = head + (8 if big else 2) + (8 + samples) * (4 + 2 * room) + room
    entries = [
        (0x100, 3, 1, width), (0x101, 3, 1, height), (0x102, 3, samples, None), (0x103, 3, 1, 1), (0x106, 3, 1, 2),
        (0x111, 4, 1, behind + len(bits)), (0x112, kind, 1, orientation), (0x115, 3, 1, samples), (0x116, 3, 1, height),
        (0x117, 4, 1, len(data)), (0x11C, 3, 1, 1), (0x152, 3, 1, 2),
    ]  # fmt: skip
    entries = entries[: 8 + samples]
    out = {"<": b"II", ">": b"MM"}[order] + struct.pack(
        *((f"{order}HHHQ", 43, 8, 0, 16) if big else (f"{order}HI", 42, 8))
    )
    out += struct.pack(f"{order}{'Q' if big else 'H'}", len(entries))
    for tag, number, count, value in entries:
        if value is None:  # three numbers or four, which BigTIFF has room for
            content = bits if big else struct.pack(f"{order}I", behind)
        else:
            content = struct.pack(f"{order}{'H' if number == 3 else 'I'}", value)
        out += struct.pack(f"{order}HH{code}", tag, number, count) + content.ljust(room, b"\0")
    return out + bytes(room) + bits + data


@pytest.mark.parametrize("alpha", [0, 128])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_transparency_of_tiff_is_dropped(order: str, big: bool, alpha: int, tmp_path: Path) -> None:
    image = tiff(photo(), 6, order, big=big, alpha=alpha)
    assert examine_image(image).content is image
    np.testing.assert_array_equal(decode(image), upright(6))
    np.testing.assert_array_equal(seen_by_the_reader(image, tmp_path), resized(upright(6)))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF", "JPEG2000"])
def test_transparency_is_dropped(kind: str) -> None:
    transparent = Image.fromarray(np.dstack([photo()[:, :, ::-1], np.full(photo().shape[:2], 100, np.uint8)]))
    content = io.BytesIO()
    transparent.save(content, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    np.testing.assert_array_equal(decode(content.getvalue()), photo())


@pytest.mark.parametrize("kind", [3, 4])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_is_turned_unless_its_boxes_were_drawn_on_the_pixels_as_stored(
    orientation: int, order: str, big: bool, kind: int, tmp_path: Path
) -> None:
    image, expected = tiff(photo(), orientation, order, big=big, kind=kind), upright(orientation)
    examined = examine_image(image)
    assert (examined.content is image, examined.changed, examined.fault, examined.deep) == (True, "", "", False)
    assert upright_size(image) == (examined.width, examined.height) == expected.shape[1::-1]
    np.testing.assert_array_equal(decode(image), expected)
    np.testing.assert_array_equal(seen_by_the_reader(image, tmp_path), resized(expected))
    for scale in (1.0, 2.0):
        examined = examine_image(image, (scale * SIZE[0], scale * SIZE[1]))
        assert (examined.width, examined.height) == upright_size(examined.content)
        if orientation < 5:
            assert examined.content is image
        else:
            assert examined.changed == "EXIF orientation taken out, since image_size is the size without it"
            np.testing.assert_array_equal(decode(examined.content), photo())


def jpeg_2000(kind: str) -> bytes:
    """The photo with 16 bits a colour; a codestream alone, or in a file."""
    image = encoded(photo().astype(np.uint16), ".jp2")
    return image if kind == "file" else image[image.index(b"\xff\x4f\xff\x51") :]


@pytest.mark.parametrize(
    ("image", "deep"),
    [
        (tiff(photo().astype(np.uint16), 1, "<", big=False), True),
        (tiff(photo().astype(np.uint16), 6, ">", big=False), True),
        (tiff(photo().astype(np.uint16), 1, ">", big=True), True),
        (tiff(photo().astype(np.uint16), 6, "<", big=True), True),
        (encoded(photo()[:, :, 0].astype(np.uint16), ".tiff"), True),
        (encoded(photo()[:, :, 0], ".tiff"), False),
        (with_pillow("TIFF", "1"), False),
        (jpeg_2000("file"), True),
        (jpeg_2000("codestream"), True),
        (encoded(photo(), ".jp2"), False),
        (encoded(photo(), ".bmp"), False),
        (with_pillow("WEBP"), False),
    ],
)
def test_images_of_16_bits_are_told_from_those_of_8(image: bytes, deep: bool) -> None:
    """Such as those whose values, to 255, are all too small for the upper 8 bits."""
    for drawn_size in (None, SIZE):
        examined = examine_image(image, drawn_size)
        assert (examined.fault, examined.deep) == ("", deep)
    if deep:
        assert decode(image).max() <= 1


def test_a_directory_of_tiff_that_leads_nowhere_has_no_orientation() -> None:
    image = tiff(photo(), 6, "<", big=True)
    assert orientation_without_header(image) == 6
    for directory in (2**64 - 1, 2**63, len(image) - 1):
        damaged = image[:8] + struct.pack("<Q", directory) + image[16:]
        assert orientation_without_header(damaged) == 1
        assert examine_image(damaged, SIZE).fault == OTHER_TIFF
    assert orientation_without_header(image[:9]) == 1


OTHER_TIFF = "damaged, or a TIFF of a kind that is not read, such as one of 32-bit numbers: save it as PNG"
OTHER_JPEG_2000 = "damaged, or a JPEG 2000 of a kind that is not read: save it as PNG"


def test_images_of_kinds_that_are_not_read_are_named() -> None:
    """Of numbers with 32 bits, as of thermal cameras; of HEIC, JPEG XL and JPEG 2000 the beginnings alone."""
    opened = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.float32)).save(opened, "TIFF")
    assert examine_image(opened.getvalue(), SIZE).fault == OTHER_TIFF
    for begin, fault in {
        b"\0\0\0\x18ftyphevc": "HEIC: save it as JPEG or PNG",
        b"\xff\x0a": "a JPEG XL: save it as JPEG or PNG",
        b"\0\0\0\x0cJXL \r\n\x87\n": "a JPEG XL: save it as JPEG or PNG",
        b"\0\0\0\x0cjP  \r\n\x87\n": OTHER_JPEG_2000,
        b"\xff\x4f\xff\x51": OTHER_JPEG_2000,
    }.items():
        assert examine_image(begin + bytes(200), SIZE).fault == fault


@pytest.mark.parametrize("little", [False, True])
@pytest.mark.parametrize("scale", [1.0, 2.0, 0.33])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_drawn_on_the_pixels_as_stored_get_these(
    orientation: int, scale: float, little: bool, tmp_path: Path
) -> None:
    examined = examine_image(
        turned("JPEG", orientation, little=little), (round(scale * SIZE[0]), round(scale * SIZE[1]))
    )
    assert (examined.width, examined.height) == SIZE
    assert examined.changed == "EXIF orientation taken out, since image_size is the size without it"
    assert np.abs(decode(examined.content).astype(np.float32) - photo()).mean() < 3
    assert np.abs(seen_by_the_reader(examined.content, tmp_path) - resized(photo())).mean() < 3
    assert Image.open(io.BytesIO(examined.content)).getexif()[0x0112] == 1


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_png_and_webp_with_boxes_drawn_on_the_pixels_as_stored_are_coded_anew(orientation: int, kind: str) -> None:
    examined = examine_image(turned(kind, orientation), (float(SIZE[0]), float(SIZE[1])))
    assert (examined.width, examined.height) == upright_size(examined.content) == SIZE
    assert examined.changed == "EXIF orientation taken out, since image_size is the size without it"
    np.testing.assert_array_equal(decode(examined.content), photo())


def segment(content: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content


def long_exif(orientation: int) -> list[bytes]:
    """Exif's block in segments as a program must cut it that puts a large preview into it."""
    header = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)
    block = header + bytes(70_000)
    return [b"Exif\0\0" + block[at : at + 65_000] for at in range(0, len(block), 65_000)]


def odd_jpeg(what: str, orientation: int) -> bytes:
    """A JPEG that libjpeg and Pillow read, and that is upright only once turned."""
    image = turned("JPEG", orientation)
    exif, tables = image.index(b"\xff\xe1"), image.index(b"\xff\xdb")
    own = image[exif : exif + 2 + int.from_bytes(image[exif + 2 : exif + 4], "big")]
    scan = image.index(b"\xff\xda")
    if what == "Exif in two segments":
        return image[:exif] + b"".join(map(segment, long_exif(orientation))) + image[exif + len(own) :]
    if what == "a second Exif":
        other = segment(b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0")
        return image[: exif + len(own)] + other + image[exif + len(own) :]
    if what == "Exif behind the frame":
        return image[:exif] + image[exif + len(own) : scan] + own + image[scan:]
    if what == "XMP":
        return image[: exif + len(own)] + segment(b"http://ns.adobe.com/xap/1.0/\0<x/>") + image[exif + len(own) :]
    junk = {"a zero": b"\0", "text": b"ab", "no marker": b"\0\xff\0", "fill bytes": b"\xff\xff\xff"}[what]
    return image[:tables] + junk + image[tables:]


@pytest.mark.parametrize("orientation", [3, 6, 8])
@pytest.mark.parametrize(
    "what",
    ["Exif in two segments", "a second Exif", "Exif behind the frame", "XMP", "a zero", "text", "no marker",
     "fill bytes"],
)  # fmt: skip
def test_odd_jpegs_are_turned_as_opencv_and_pillow_turn_them(what: str, orientation: int) -> None:
    image = odd_jpeg(what, orientation)
    expected = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decode(image), expected)
    viewed = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(image))).convert("RGB"))[:, :, ::-1]
    assert viewed.shape == expected.shape
    assert np.abs(viewed.astype(np.float32) - expected).mean() < 1
    header = read_header(image)
    assert header is not None
    assert (header.width, header.height, header.coding, header.orientation) == (*SIZE, "baseline", orientation)
    if orientation != 3:
        examined = examine_image(image, (float(SIZE[0]), float(SIZE[1])))
        assert (examined.width, examined.height) == upright_size(examined.content) == SIZE
        assert np.abs(decode(examined.content).astype(np.float32) - photo()).mean() < 3


def test_an_orientation_that_only_a_second_exif_has_is_none() -> None:
    image = odd_jpeg("a second Exif", 6)
    first, second = image.index(b"\xff\xe1"), image.rindex(b"\xff\xe1")
    end = second + 2 + int.from_bytes(image[second + 2 : second + 4], "big")
    swapped = image[:first] + image[second:end] + image[first:second] + image[end:]
    assert ImageOps.exif_transpose(Image.open(io.BytesIO(swapped))).size == upright_size(swapped) == SIZE
    np.testing.assert_array_equal(decode(swapped), cv2.imdecode(np.frombuffer(swapped, np.uint8), cv2.IMREAD_COLOR))


def test_a_jpeg_cut_off_within_its_head_keeps_the_size_that_it_tells() -> None:
    image = with_pillow("JPEG")
    frame = image.index(b"\xff\xc0")
    header = read_header(image[: frame + 30])
    assert header is not None
    assert (header.width, header.height) == SIZE
    assert read_header(image[: frame + 5]) is None


@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_too_little_memory_is_no_damage(ending: str, tmp_path: Path) -> None:
    """A good image is not left out, nor its replacement asked for, because this machine is small."""
    path = tmp_path / f"large{ending}"
    path.write_bytes(encoded(np.zeros((1500, 2000, 3), np.uint8), ending))
    program = f"""
import resource
from pathlib import Path
import cv2
from sagemaker_ssd.channels.images import decode, examine_image, read_header
cv2.setNumThreads(1)
image = Path({str(path)!r}).read_bytes()
read_header(image)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (6 << 20),) * 2)
try:
    {"examine_image(image)" if ending == ".png" else "decode(image)"}
except MemoryError as error:
    print(error)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.startswith("the memory is too little to decode an image: "), ended.stderr


@pytest.mark.parametrize("ending", [".tiff", ".bmp", ".webp", ".jp2"])
def test_what_has_too_many_pixels_is_not_decoded(ending: str, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(encoded(noise(0, (64, 48)), ending))
    program = """
import sys
from pathlib import Path
from sagemaker_ssd.channels.images import examine_image
print(examine_image(Path(sys.argv[1]).read_bytes()).fault)
"""
    said = {
        limit: subprocess.run(
            [sys.executable, "-c", program, tmp_path / "image"],
            # OpenCV's limit, which jobs set to theirs.
            env={**os.environ, OPENCV_PIXELS_VARIABLE: str(limit)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for limit in (64 * 48, 64 * 48 - 1)
    }
    assert list(said.values()) == ["\n", "more than 250 megapixels\n"]


def test_a_file_too_large_for_a_record_is_bad() -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return 600_000_000

    assert examine_image(Huge(b"x")).fault == "more than the 500,000,000 bytes that a record holds"


def test_a_jpeg_of_which_the_header_alone_is_left_is_bad() -> None:
    image = encoded(noise(1, (64, 48)), ".jpg")
    scan = image.index(b"\xff\xda")
    begin = scan + 2 + int.from_bytes(image[scan + 2 : scan + 4], "big")
    assert examine_image(image[:begin]).fault == "damaged or cut off"
    some = examine_image(image[: begin + 100])
    assert (some.fault, some.truncated) == ("", True)


def test_a_jpeg_that_lacks_its_end_marker_alone_has_all_its_pixels() -> None:
    """The marker has two bytes; a byte before them that ends in FF is what the search for more data could trip over."""
    for seed in range(20):
        image = encoded(noise(seed, (64, 48)), ".jpg")
        assert image[-2:] == b"\xff\xd9"
        assert np.array_equal(decode(image[:-2]), decode(image))
        assert not lacks_pixels(image[:-2])
        assert not lacks_pixels(image[:-1])
        # A few bytes less than these can be colours finer than what is shown.
        assert lacks_pixels(image[:-64])
        assert lacks_pixels(image[: len(image) // 2])
