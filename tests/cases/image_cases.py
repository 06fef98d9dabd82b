"""Odd image files in a channel of images with JSON."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odd_channel import CHANGED, LEFT_OUT, STOPS, USED, Case, Channel, Given
from odd_pictures import (
    HEIGHT,
    LABEL,
    OBJECT,
    WIDTH,
    deep_png,
    exif,
    flat_jpeg,
    interlaced_png,
    picture,
    saved,
    turned,
    viewed,
    with_segment,
)
from PIL import Image, ImageCms

GOOD = saved("PNG")
JPEG = saved("JPEG")
PROGRESSIVE = saved("JPEG", progressive=True)
PILLOW = "what Pillow shows"


def json_of(file: str, size: tuple[int, int] | None = (WIDTH, HEIGHT), **more: Any) -> str:
    """Write the JSON of the picture."""
    box = dict(zip(("left", "top", "width", "height"), OBJECT, strict=True))
    content = {"file": file, "annotations": [{"class_id": 1, **box}], **more}
    if size is not None:
        content["image_size"] = [{"width": size[0], "height": size[1], "depth": 3}]
    return json.dumps(content)


def put(path: Path, content: bytes | str) -> None:
    """Write a file and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def channel_of(folder: Path, images: dict[str, bytes], jsons: dict[str, str | bytes], given: list[Given]) -> Channel:
    """Write a good image, a.png, and what is given beside it."""
    for name, data in {"a.png": GOOD, **images}.items():
        put(folder / "train" / name, data)
    for name, text in {"a.json": json_of("a.png"), **jsons}.items():
        put(folder / "train_annotation" / name, text)
    return Channel(folder / "train", folder / "train_annotation", [Given(LABEL, GOOD, viewed(GOOD)), *given])


def image_case(
    name: str,
    outcome: str,
    says: str,
    data: bytes | Callable[[], bytes],
    *,
    ending: str = ".jpg",
    seen: NDArray[np.uint8] | str | None = PILLOW,
    size: tuple[int, int] | None = (WIDTH, HEIGHT),
    label: list[float] | None = None,
) -> Case:
    """One odd image file beside a good one. `seen`: None where the result is not compared."""

    def make(folder: Path) -> Channel:
        image = data if isinstance(data, bytes) else data()
        shown = viewed(image) if isinstance(seen, str) and outcome in (USED, CHANGED) else seen
        assert not isinstance(shown, str) or outcome in (LEFT_OUT, STOPS)
        given = Given(LABEL if label is None else label, image, None if isinstance(shown, str) else shown)
        return channel_of(folder, {f"odd{ending}": image}, {"odd.json": json_of(f"odd{ending}", size)}, [given])

    return Case("image", name, outcome, says, make)


def files_case(
    name: str, outcome: str, says: str, images: dict[str, bytes], jsons: dict[str, str | bytes], kept: list[bytes]
) -> Case:
    """Several files beside the good ones; `kept` are the images that a person would expect in the result."""
    given = [Given(LABEL, image, viewed(image)) for image in kept]
    return Case("names", name, outcome, says, lambda folder: channel_of(folder, images, jsons, given))


def _with_transparency(mode: str) -> bytes:
    image = picture().convert(mode)
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return saved("PNG", image, image.mode)


def _moving_png() -> bytes:
    return saved("PNG", save_all=True, append_images=[Image.new("RGB", (WIDTH, HEIGHT), "white")])


def _large() -> bytes:
    return saved("JPEG", Image.new("RGB", (8660, 5774), (200, 60, 20)), subsampling=2)


def _as_stored(orientation: int) -> bytes:
    return saved("JPEG", exif=exif(orientation))


def claiming_png() -> bytes:
    """Say of a chunk that it has 2 GB."""
    at = GOOD.index(b"IDAT") - 4
    return GOOD[:at] + struct.pack(">I", 2**31 - 1) + GOOD[at + 4 :]


def claiming_jpeg() -> bytes:
    """Say of a small image that it has four gigapixels."""
    at = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:at] + struct.pack(">HH", 65_000, 65_000) + JPEG[at + 4 :]


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
NO_EFFECT = "EXIF orientation taken out, since image_size is the size without it (1): odd"
DEEP = "image of 16 bits, of which the upper 8 are read, so that values of 12 bits would be nearly black (1): odd.png"
RARE = "damaged, or a JPEG of a rare kind: save it anew as an ordinary JPEG"

KINDS = [
    image_case("grey JPEG", USED, "", saved("JPEG", mode="L")),
    image_case("grey PNG", USED, "", saved("PNG", mode="L"), ending=".png"),
    image_case("PNG of 1 bit", USED, "", saved("PNG", mode="1"), ending=".png"),
    image_case("palette PNG", USED, "", saved("PNG", mode="P"), ending=".png"),
    image_case("palette PNG with a transparent colour", USED, "", saved("PNG", mode="P", transparency=0)),
    image_case("PNG with alpha, colours (RGBA)", USED, "", _with_transparency("RGB"), ending=".png"),
    image_case("PNG with alpha, grey (LA)", USED, "", _with_transparency("L"), ending=".png"),
    image_case("PNG of 16 bits a colour", USED, DEEP, deep_png(), ending=".png"),
    image_case(
        "PNG of 16 bits, grey",
        USED,
        DEEP,
        saved("PNG", Image.fromarray(np.asarray(picture().convert("L")).astype(np.uint16) * 257), mode="I;16"),
        ending=".png",
    ),
    image_case("interlaced PNG", USED, "", interlaced_png(), ending=".png"),
    image_case("CMYK JPEG", USED, "", saved("JPEG", mode="CMYK")),
    image_case("JPEG stored as RGB", USED, "", saved("JPEG", keep_rgb=True)),
    image_case("JPEG with colours at half the size (4:2:0)", USED, "", saved("JPEG", subsampling=2)),
    image_case("progressive JPEG", USED, "", PROGRESSIVE),
    image_case("JPEG with a colour profile (not applied)", USED, "", saved("JPEG", icc_profile=PROFILE)),
    image_case("PNG named .jpg", USED, "", GOOD),
    image_case("JPEG named .png", USED, "", JPEG, ending=".png"),
    image_case("ending .JPEG in capitals", USED, "", JPEG, ending=".JPEG"),
    image_case("animated PNG (first picture)", USED, "", _moving_png(), ending=".png"),
    image_case("WebP named .jpg", USED, "", saved("WEBP", lossless=True)),
    image_case("BMP named .jpg", USED, "", saved("BMP")),
    image_case("TIFF named .jpg", USED, "", saved("TIFF", compression="tiff_lzw")),
    image_case("JPEG 2000 named .jpg", USED, "", saved("JPEG2000")),
    image_case("12-bit JPEG", LEFT_OUT, f"odd.jpg ({RARE})", flat_jpeg(0xC1, 12)),
    image_case("lossless JPEG", LEFT_OUT, f"odd.jpg ({RARE})", flat_jpeg(0xC3, 8)),
    image_case("50 megapixels", USED, "image_size is not the image's own size", _large),
    image_case("12x12 px", USED, "image_size is not the", saved("PNG", picture().resize((12, 12)))),
    image_case("1x1 px", USED, "image_size is not the", saved("PNG", picture().resize((1, 1)))),
    image_case("0x64 px", LEFT_OUT, "odd.jpg (0x64 px, without a pixel)", GOOD[:16] + bytes(4) + GOOD[20:]),
]
DAMAGED = [
    image_case("0 bytes", LEFT_OUT, "odd.jpg (empty, 0 bytes)", b""),
    image_case(
        "JPEG cut in half",
        USED,
        "JPEG that is cut off, used as far as it goes (1): odd.jpg",
        JPEG[: len(JPEG) // 2],
        seen=None,
    ),
    image_case("JPEG cut in its header", LEFT_OUT, "odd.jpg (damaged", JPEG[:200]),
    image_case(
        "progressive JPEG cut in half", LEFT_OUT, "odd.jpg (damaged or cut off)", PROGRESSIVE[: len(PROGRESSIVE) // 2]
    ),
    image_case("PNG cut in half", LEFT_OUT, "odd.png (damaged or cut off)", GOOD[: len(GOOD) // 2], ending=".png"),
    image_case("JPEG with rubbish behind its end", USED, "", JPEG + b"rubbish" * 99),
    image_case("PNG with rubbish behind its end", USED, "", GOOD + b"rubbish" * 99, ending=".png"),
    image_case("PNG without its last chunk", LEFT_OUT, "odd.png (damaged or cut off)", GOOD[:-12], ending=".png"),
    image_case(
        "PNG with a chunk that claims 2 GB", LEFT_OUT, "odd.png (damaged or cut off)", claiming_png(), ending=".png"
    ),
    image_case(
        "JPEG that claims 65,000x65,000 px", LEFT_OUT, "odd.jpg (65000x65000 px, more than 250", claiming_jpeg()
    ),
    image_case(
        "GIF named .png", LEFT_OUT, "odd.png (a GIF: save it as JPEG or PNG", saved("GIF", mode="P"), ending=".png"
    ),
    image_case(
        "HTML page named .jpg",
        LEFT_OUT,
        "odd.jpg (an HTML page: download the image again)",
        b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    ),
    image_case(
        "HEIC named .jpg",
        LEFT_OUT,
        "odd.jpg (HEIC: save it as JPEG or PNG)",
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200),
    ),
    image_case(
        "pointer file of Git LFS",
        LEFT_OUT,
        "odd.jpg (a pointer of Git LFS: fetch the image itself",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
    ),
]
TURNED = [
    *(
        image_case(
            f"EXIF orientation {number}, boxes drawn as a viewer shows it",
            USED,
            "",
            turned(number),
            seen=np.asarray(picture()),
        )
        for number in range(1, 9)
    ),
    image_case("EXIF orientation 6, no image_size: as a viewer shows it", USED, "", turned(6), size=None),
    *(
        image_case(
            f"EXIF orientation {number}, boxes and image_size of the pixels as stored",
            CHANGED,
            NO_EFFECT,
            _as_stored(number),
            seen=np.asarray(picture()),
        )
        for number in range(5, 9)
    ),
    image_case("EXIF orientation 3: always as a viewer shows it", USED, "", _as_stored(3)),
    *(
        image_case(
            f"orientation {number} in a PNG",
            USED,
            "",
            turned(number, "PNG"),
            ending=".png",
            seen=np.asarray(picture()),
        )
        for number in range(2, 9)
    ),
    image_case(
        "orientation 6 in a PNG, boxes and image_size of the pixels as stored",
        CHANGED,
        NO_EFFECT,
        saved("PNG", exif=exif(6)),
        ending=".png",
        seen=np.asarray(picture()),
    ),
    image_case(
        "orientation 6 in a WebP named .jpg",
        USED,
        "",
        turned(6, "WEBP", lossless=True),
        seen=np.asarray(picture()),
    ),
    image_case(
        "orientation 6 in a WebP, boxes and image_size of the pixels as stored",
        CHANGED,
        NO_EFFECT,
        saved("WEBP", exif=exif(6), lossless=True),
        seen=np.asarray(picture()),
    ),
    image_case("EXIF block of rubbish", USED, "", with_segment(JPEG, 0xE1, b"Exif\0\0rubbish" * 9)),
    image_case("EXIF block cut off", USED, "", with_segment(JPEG, 0xE1, b"Exif\0\0" + exif(6).tobytes()[6:20])),
    image_case("EXIF orientation 99", USED, "", with_segment(JPEG, 0xE1, exif(99).tobytes())),
]
TWO = {"odd.jpg": JPEG, "odd.png": PROGRESSIVE}
NAMES = [
    files_case("blanks in names", USED, "", {"my dog 1.jpg": JPEG}, {"my dog 1.json": json_of("my dog 1.jpg")}, [JPEG]),
    files_case(
        "letters beyond ASCII", USED, "", {"größe_犬.jpg": JPEG}, {"größe_犬.json": json_of("größe_犬.jpg")}, [JPEG]
    ),
    files_case("a line break in a name", USED, "", {"b\nc.jpg": JPEG}, {"b\nc.json": json_of("b\nc.jpg")}, [JPEG]),
    files_case(
        "a line break in a name that is told",
        USED,
        r"image without JSON, skipped (1): b\nc.jpg",
        {"b\nc.jpg": JPEG},
        {},
        [],
    ),
    files_case("slash before `file`", USED, "", {"b/c.jpg": JPEG}, {"x.json": json_of("/b/c.jpg")}, [JPEG]),
    files_case("`file` with back slashes", USED, "", {"b/c.jpg": JPEG}, {"x.json": json_of("b\\c.jpg")}, [JPEG]),
    files_case(
        "`file` with its bucket",
        USED,
        "",
        {"b/c.jpg": JPEG},
        {"b/c.json": json_of("s3://bucket/train/b/c.jpg")},
        [JPEG],
    ),
    files_case("nested folders on both sides", USED, "", {"b/c/d.jpg": JPEG}, {"b/c/d.json": json_of("")}, [JPEG]),
    files_case(
        "images nested, JSONs not, `file` says where",
        USED,
        "",
        {"b/c/d.jpg": JPEG},
        {"d.json": json_of("b/c/d.jpg")},
        [JPEG],
    ),
    files_case("hidden files", USED, "", {"._a.png": b"x", ".b/c.jpg": JPEG}, {"._a.json": b"x"}, []),
    files_case(
        "two images of one stem, `file` says which",
        USED,
        "image without JSON, skipped (1): odd.jpg",
        TWO,
        {"odd.json": json_of("odd.png")},
        [PROGRESSIVE],
    ),
    files_case(
        "two images of one stem, no `file`: the first",
        USED,
        "image without JSON, skipped (1): odd.png",
        TWO,
        {"odd.json": json_of("")},
        [JPEG],
    ),
    files_case(
        "image without JSON", LEFT_OUT, "image without JSON, skipped (1): odd.jpg", {"odd.jpg": JPEG}, {}, [JPEG]
    ),
    files_case(
        "JSON without image",
        USED,
        "JSON without image, skipped (1): odd.json",
        {},
        {"odd.json": json_of("odd.jpg")},
        [],
    ),
    files_case(
        "JSON whose image is a .bmp by its name",
        USED,
        "JSON whose image is there, but only .jpg, .jpeg and .png are looked at, skipped; rename it to .jpg, since "
        "what it holds is read, or save it as JPEG or PNG (1): odd.json (odd.bmp)",
        {"odd.bmp": JPEG},
        {"odd.json": json_of("odd.bmp")},
        [],
    ),
    files_case(
        "JSON whose image is a .gif by its name",
        USED,
        "JSON whose image is there, but only .jpg, .jpeg and .png are looked at, skipped; save it as JPEG or PNG (1): "
        "odd.json (odd.gif)",
        {"odd.gif": JPEG},
        {"odd.json": json_of("odd.gif")},
        [],
    ),
    files_case(
        "two JSONs for one image",
        USED,
        "JSON whose image has another JSON, skipped (1): b.json (a.png)",
        {},
        {"b.json": json_of("a.png")},
        [],
    ),
]
CASES = [*KINDS, *DAMAGED, *TURNED, *NAMES]
