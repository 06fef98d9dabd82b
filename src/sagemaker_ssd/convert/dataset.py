"""What every source is read into: examples of images with boxes, whose files, sizes and corners are checked here."""

import math
import posixpath
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from PIL import Image, UnidentifiedImageError

from sagemaker_ssd.boxes import BORDER_PIXELS
from sagemaker_ssd.channels.images import IMAGE_ENDINGS, ORIENTATION_TAG, swaps_sides
from sagemaker_ssd.errors import UserError, listed

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Box:
    """An object's corners in pixels from the upper left; they may enclose no area."""

    class_id: int
    xmin: float
    ymin: float
    xmax: float
    ymax: float
    difficult: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """An image, its path below the channel (with `/`), the size its boxes are drawn on, and the boxes."""

    image: Path
    file: str
    width: int
    height: int
    boxes: tuple[Box, ...]

    @property
    def annotation(self) -> str:
        """The path of its JSON below the channel."""
        return f"{self.file.rpartition('.')[0]}.json"


@dataclass(frozen=True)
class Dataset:
    """Two splits with the same class ids, and what the person ought to know about them."""

    classes: tuple[str, ...]
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    notes: tuple[str, ...]

    @property
    def splits(self) -> dict[str, tuple[Example, ...]]:
        """The examples by the name of their channel."""
        return {"train": self.train, "validation": self.validation}

    @property
    def object_width(self) -> int:
        """The numbers of an object in a record's label: class_id and corners, and difficult if any box is marked so."""
        marked = any(box.difficult for split in self.splits.values() for each in split for box in each.boxes)
        return 6 if marked else 5


def split_off(items: Sequence[Item], fraction: float, seed: int) -> tuple[list[Item], list[Item]]:
    """Put `fraction` of the items, at least one, chosen by `seed`, into the second list; both stay in order."""
    count = max(1, round(len(items) * fraction))
    chosen = set(random.Random(seed).sample(range(len(items)), min(count, len(items))))
    first = [item for number, item in enumerate(items) if number not in chosen]
    return first, [items[number] for number in sorted(chosen)]


class ImageFolder:
    """Finds images by name."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_stem: dict[str, dict[str, list[str]]] = {}

    def named(self, file: str) -> str:
        """Return the path below the folder of the image `file`; raises UserError if there is none."""
        _check_inside(file)
        if not file.lower().endswith(IMAGE_ENDINGS):
            raise UserError(f"{file} is not {listed(list(IMAGE_ENDINGS))}: save it as JPEG or PNG")
        if not (self.root / file).is_file():
            raise UserError(f"there is no image {self.root / file}")
        return posixpath.normpath(file)

    def with_stem(self, stem: str) -> str:
        """Return the path below the folder of the image `stem` plus an ending; UserError for none or several."""
        _check_inside(stem)
        folder, name = posixpath.split(posixpath.normpath(stem))
        if folder not in self._by_stem:
            self._by_stem[folder] = self._list(folder)
        found = self._by_stem[folder].get(name, [])
        if not found:
            raise UserError(f"there is no image {self.root / stem} with {listed(list(IMAGE_ENDINGS))} at the end")
        if len(found) > 1:
            raise UserError(f"{self.root / folder} has {' and '.join(found)}: remove all but one")
        return posixpath.join(folder, found[0])

    def _list(self, folder: str) -> dict[str, list[str]]:
        by_stem: dict[str, list[str]] = defaultdict(list)
        if (self.root / folder).is_dir():
            for path in sorted((self.root / folder).iterdir()):
                if path.suffix.lower() in IMAGE_ENDINGS:
                    by_stem[path.stem].append(path.name)
        return by_stem


def _check_inside(file: str) -> None:
    if not file or file.startswith(("/", "\\")) or ".." in file.split("/"):
        raise UserError(f"'{file}' is not a path below the folder of images")


# In Pillow's words; MPO is a JPEG with further pictures behind it, as phones write it. A TIFF Pillow turns itself.
_TURNED_BY_EXIF: Final = frozenset({"JPEG", "MPO", "PNG", "WEBP"})


@dataclass(frozen=True, slots=True)
class _OwnSize:
    """Width and height as the training job sees the image; `turned` if EXIF turned or mirrored it."""

    width: int
    height: int
    turned: bool


class ImageSizes:
    """Resolves the size that an image's boxes are drawn on, and remembers what was odd about any."""

    def __init__(self) -> None:
        self._turned: list[Path] = []
        self._other: list[str] = []

    def resolve(self, image: Path, stated: tuple[int, int] | None) -> tuple[int, int]:
        """Return width and height: as `stated`, else the image's own.

        Raises UserError if the image cannot be read, or EXIF turns it away from the size stated.
        """
        own = _read_size(image)
        if own.turned:
            self._turned.append(image)
        if stated is None or stated == (own.width, own.height):
            return own.width, own.height
        if own.turned and stated == (own.height, own.width):
            raise UserError(
                f"the size is given as {stated[0]}x{stated[1]}, but by its EXIF orientation {image} is seen as "
                f"{own.width}x{own.height}: redraw the boxes on the upright image, or strip the orientation"
            )
        self._other.append(f"{image} ({stated[0]}x{stated[1]} stated, {own.width}x{own.height} found)")
        return stated

    def notes(self) -> list[str]:
        """Say what was odd: how many, and which was the first."""
        notes = []
        if self._other:
            notes.append(
                f"images of another size than their annotation says: {len(self._other):,}, first {self._other[0]}; "
                "boxes are scaled from the size stated"
            )
        if self._turned:
            notes.append(
                f"images with an EXIF orientation: {len(self._turned):,}, first {self._turned[0]}; training sees them "
                "upright, so their boxes have to fit the upright image"
            )
        return notes


def _read_size(path: Path) -> _OwnSize:
    """Read an image's size; raises UserError if it is not an image.

    Training turns an image as its EXIF orientation says, so 5 to 8 swap the sides.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            orientation = image.getexif().get(ORIENTATION_TAG, 1) if image.format in _TURNED_BY_EXIF else 1
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "damaged or not an image" if isinstance(error, UnidentifiedImageError) else error
        raise UserError(f"{path} cannot be read: {reason}") from error
    turned = orientation in range(2, 9)
    return _OwnSize(height, width, turned) if turned and swaps_sides(orientation) else _OwnSize(width, height, turned)


def check_corners(values: Sequence[object], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Read xmin, ymin, xmax, ymax in an image of width and height `size`.

    Raises UserError for what is not a number, or too far outside for the training job to clip it (which allows a
    hundredth of a pixel more, since fractions are stored in float32).
    """
    try:
        xmin, ymin, xmax, ymax = (float(str(value)) for value in values)
    except ValueError as error:
        raise UserError(f"has a coordinate that is not a number: {_joined(values)}") from error
    corners = (xmin, ymin, xmax, ymax)
    if not all(map(math.isfinite, corners)):
        raise UserError(f"has a coordinate that is not a number: {_joined(values)}")
    width, height = size
    past = max(-min(corners), max(xmin, xmax) - width, max(ymin, ymax) - height)
    if past > BORDER_PIXELS:
        raise UserError(
            f"(xmin, ymin, xmax, ymax {_joined(values)}) is {past:,.0f} px past the border of {width}x{height}"
        )
    return corners


def _joined(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
