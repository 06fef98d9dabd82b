"""What is said of an image before MXNet's reader sees it, and that the reader then decodes it as said."""

import io
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from PIL import Image

from drawn_channels import BOX, encoded, noise, picture, write_rec
from sagemaker_ssd.channels.images import examine_image, read_header

SIZE = (80, 48)


def photo() -> np.ndarray:
    """Smooth, so that JPEG is close; the same in no direction."""
    x, y = np.meshgrid(np.linspace(0, 200, SIZE[0]), np.linspace(0, 250, SIZE[1]))
    return np.stack([x, y, 255 - x], axis=2).astype(np.uint8)


def with_pillow(kind: str, mode: str = "RGB", **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(photo()[:, :, ::-1]).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def turned_jpeg(orientation: int, *, little: bool = False) -> bytes:
    exif = Image.Exif()
    exif.endian = "<" if little else ">"
    exif[0x0110] = "a camera"
    exif[0x0112] = orientation
    return with_pillow("JPEG", exif=exif, quality=95)


def seen_by_the_reader(image: bytes, folder: Path, size: tuple[int, int] = SIZE) -> np.ndarray:
    """The pixels that MXNet's reader makes of an image, (height, width, 3) in OpenCV's order."""
    path = write_rec(folder / "one.rec", [(BOX, image)])
    reader = mx.io.ImageDetRecordIter(
        path_imgrec=str(path),
        batch_size=1,
        data_shape=(3, size[1], size[0]),
        label_pad_width=7,
        round_batch=False,
        verbose=False,
    )
    return reader.next().data[0].asnumpy()[0].transpose(1, 2, 0)[:, :, ::-1]


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
    seen = seen_by_the_reader(examined.content, tmp_path)
    assert np.abs(seen - photo()).mean() <= error


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1"])
def test_images_with_fewer_colours_come_through_in_three(mode: str, tmp_path: Path) -> None:
    image = with_pillow("PNG", mode)
    examined = examine_image(image)
    assert (examined.fault, examined.content is image) == ("", True)
    expected = np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))[:, :, ::-1]
    np.testing.assert_array_equal(seen_by_the_reader(examined.content, tmp_path), expected)


def test_only_what_the_reader_does_not_know_is_coded_anew() -> None:
    assert [
        bool(examine_image(image).changed)
        for image in (with_pillow("JPEG"), with_pillow("PNG"), with_pillow("WEBP"), with_pillow("JPEG2000"))
    ] == [False, False, True, True]


def test_a_jpeg_cut_in_half_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    size = (80, 160)
    image = encoded(noise(3, size), ".jpg")
    half = image[: len(image) // 2]
    examined = examine_image(half)
    assert (examined.fault, examined.truncated, examined.content is half) == ("", True, True)
    whole, seen = (seen_by_the_reader(data, tmp_path, size) for data in (image, half))
    np.testing.assert_array_equal(seen[:60], whole[:60])
    np.testing.assert_array_equal(seen[80:], np.repeat(seen[80:81], 80, axis=0))


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
        with pytest.raises(mx.MXNetError):
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
            seen_by_the_reader(examined.content, tmp_path)
    assert outcomes == {False, True}


@pytest.mark.parametrize("size", [(11, 40), (40, 11)])
def test_images_too_small_for_a_crop_are_bad(size: tuple[int, int]) -> None:
    for ending in (".png", ".webp"):
        fault = examine_image(encoded(picture(1, size=size), ending)).fault
        assert fault == f"{size[0]}x{size[1]} px, smaller than 12 px a side"
    assert not examine_image(encoded(picture(1, size=(12, 12)))).fault


# What EXIF's orientations ask for, in Pillow's words: FLIP_LEFT_RIGHT, ROTATE_180, ...
TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}


@pytest.mark.parametrize("little", [False, True])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_image_turned_as_exif_says(orientation: int, little: bool, tmp_path: Path) -> None:
    image = turned_jpeg(orientation, little=little)
    header = read_header(image)
    assert header is not None
    assert (header.width, header.height, header.coding, header.orientation) == (*SIZE, "baseline", orientation)
    upright = Image.fromarray(photo())
    expected = np.asarray(upright if orientation == 1 else upright.transpose(TURNS[orientation]))
    for drawn_size in (None, (160.0, 96.0), (float(expected.shape[1]), float(expected.shape[0]))):
        examined = examine_image(image, drawn_size)
        assert (examined.content is image, examined.height, examined.width) == (True, *expected.shape[:2])
    assert np.abs(seen_by_the_reader(image, tmp_path, (examined.width, examined.height)) - expected).mean() < 3


@pytest.mark.parametrize("little", [False, True])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_drawn_on_the_pixels_as_stored_get_these(orientation: int, little: bool, tmp_path: Path) -> None:
    examined = examine_image(turned_jpeg(orientation, little=little), (float(SIZE[0]), float(SIZE[1])))
    assert (examined.width, examined.height) == SIZE
    assert examined.changed == "EXIF orientation taken out, since image_size is the size without it"
    assert np.abs(seen_by_the_reader(examined.content, tmp_path) - photo()).mean() < 3
    assert Image.open(io.BytesIO(examined.content)).getexif()[0x0112] == 1


def test_a_file_too_large_for_a_record_is_bad() -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return 600_000_000

    assert examine_image(Huge(b"x")).fault == "600,000,000 bytes, more than a record holds (500,000,000)"
