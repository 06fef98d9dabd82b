"""What every source is read into and both forms of output are written from.

The folder of images: which file a name means, and which size the training job sees it in.

The size that boxes are drawn on, from what the annotation says and what the image is.
"""

import math
import posixpath
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image, UnidentifiedImageError

from sagemaker_ssd.errors import UserError

Item = TypeVar("Item")

# As the training job has it (data.boxes, whose package imports MXNet): it clips this much and refuses more.
BORDER_PIXELS = 2


@dataclass(frozen=True, slots=True)
class Box:
    """An object's corners in pixels from the upper left; they may enclose no area."""

    class_id: int
    xmin: float
    ymin: float
    xmax: float
    ymax: float
    difficult: bool = False

    @property
    def has_area(self) -> bool:
        """Whether the training job will use the box."""
        return self.xmax > self.xmin and self.ymax > self.ymin


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
    def has_difficult(self) -> bool:
        """Whether any box is marked difficult."""
        return any(box.difficult for split in self.splits.values() for each in split for box in each.boxes)


def check_corners(values: Sequence[object], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Read xmin, ymin, xmax, ymax in an image of width and height `size`.

    Raises UserError for what is not a number, or too far outside for the training job to clip it.
    """
    try:
        xmin, ymin, xmax, ymax = (float(str(value)) for value in values)
    except ValueError as error:
        raise UserError(f"has a coordinate that is not a number: {_listed(values)}") from error
    corners = (xmin, ymin, xmax, ymax)
    if not all(map(math.isfinite, corners)):
        raise UserError(f"has a coordinate that is not a number: {_listed(values)}")
    width, height = size
    past = max(-min(corners), max(xmin, xmax) - width, max(ymin, ymax) - height)
    if past > BORDER_PIXELS:
        raise UserError(
            f"(xmin, ymin, xmax, ymax {_listed(values)}) is {past:,.0f} px past the border of {width}x{height}"
        )
    return corners


def split_off(items: Sequence[Item], fraction: float, seed: int) -> tuple[list[Item], list[Item]]:
    """Put `fraction` of the items, at least one, chosen by `seed`, into the second list; both stay in order."""
    count = max(1, round(len(items) * fraction))
    chosen = set(random.Random(seed).sample(range(len(items)), min(count, len(items))))
    first = [item for number, item in enumerate(items) if number not in chosen]
    return first, [items[number] for number in sorted(chosen)]


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))


IMAGE_ENDINGS = (".jpg", ".jpeg", ".png")
_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True, slots=True)
class ImageSize:
    """Width and height as the training job sees the image; `turned` if EXIF turned or mirrored it."""

    width: int
    height: int
    turned: bool


class ImageFolder:
    """Finds images by name."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_stem: dict[str, dict[str, list[str]]] = {}

    def named(self, file: str) -> str:
        """Return the path below the folder of the image `file`; raises UserError if there is none."""
        _check_inside(file)
        if not file.lower().endswith(IMAGE_ENDINGS):
            raise UserError(f"{file} is not {_choice(IMAGE_ENDINGS)}: save it as JPEG or PNG")
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
            raise UserError(f"there is no image {self.root / stem} with {_choice(IMAGE_ENDINGS)} at the end")
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


def read_size(path: Path) -> ImageSize:
    """Read an image's size; raises UserError if it is not an image.

    MXNet's detection reader turns a JPEG as its EXIF orientation says (tried with 1.9.1), so 5 to 8 swap the
    sides.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            orientation = image.getexif().get(_ORIENTATION_TAG, 1) if image.format == "JPEG" else 1
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "damaged or not an image" if isinstance(error, UnidentifiedImageError) else error
        raise UserError(f"{path} cannot be read: {reason}") from error
    turned = orientation in range(2, 9)
    return ImageSize(height, width, turned) if orientation in range(5, 9) else ImageSize(width, height, turned)


def _check_inside(file: str) -> None:
    if not file or file.startswith(("/", "\\")) or ".." in file.split("/"):
        raise UserError(f"'{file}' is not a path below the folder of images")


def _choice(endings: tuple[str, ...]) -> str:
    return f"{', '.join(endings[:-1])} or {endings[-1]}"


class Sizes:
    """Settles each image's size, and remembers what was odd about any."""

    def __init__(self) -> None:
        self._turned: list[Path] = []
        self._other: list[str] = []

    def settle(self, image: Path, stated: tuple[int, int] | None) -> tuple[int, int]:
        """Return width and height: as `stated`, else the image's own.

        Raises UserError if the image cannot be read, or EXIF turns it away from the size stated.
        """
        own = read_size(image)
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
