"""The images of a data set, found by the names that annotations give them, and what their boxes are drawn on."""

import posixpath
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from sagemaker_ssd.channels.annotations import composed, find_files, is_hidden, read_number
from sagemaker_ssd.channels.images import (
    DecodeResult,
    ImageHeader,
    examine_image,
    has_sides_swapped,
    read_header,
    swaps_sides,
    try_decode,
    webp_orientation,
)
from sagemaker_ssd.convert.shapes import Size
from sagemaker_ssd.data_formats import IMAGE_ENDINGS, LOOKED_AT, OTHER_IMAGE_ENDINGS, ending_remedy
from sagemaker_ssd.errors import UserError, listed

_ENDINGS: Final = listed(list(IMAGE_ENDINGS))
# More than any image has; what claims more is not a size.
_LONGEST_SIDE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image's path below its folder; `exact` if it is where the annotation says, `wanted` is what that says.

    `other` is another image, which the annotation names while it is itself called like this one; mostly "".
    """

    file: str
    wanted: str
    exact: bool
    other: str = ""


class ImageFolder:
    """Finds images below `root` by name; hidden files and folders are none, as for the training job.

    What looks for one raises OSError for a folder that cannot be listed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def files(self) -> list[str]:
        """All images below the folder, in order."""
        return self._listing.files

    def named(self, name: str) -> FoundImage:
        """Find the image `name`: a path below the folder, or any path, address or name without an ending.

        What is not at that very place is found by the end of its path where only one image fits. Raises UserError.
        """
        path = posixpath.normpath(name) if name else ""
        inside = bool(path) and not path.startswith("/") and ".." not in path.split("/")
        hidden = is_hidden(path)
        if inside and not hidden and path.lower().endswith(IMAGE_ENDINGS) and self._is_file(path):
            return FoundImage(path, name, exact=True)
        found = self._listing.like(name)
        if len(found) == 1:
            return FoundImage(found[0], name, exact=False)
        if len(found) > 1:
            raise UserError(f"'{name}' may be any of {_some(found)} below {self.root}: give its path below that folder")
        self.refuse_other_ending(name)
        if inside and hidden and self._is_file(path):
            what = "it" if is_hidden(posixpath.basename(path)) else "its folder"
            raise UserError(f"{self.root / path} is hidden, and hidden files are no data: rename {what}")
        if inside and self._is_file(path):
            raise UserError(f"{path} is not {_ENDINGS}: save it as JPEG or PNG, named so")
        wanted = self.root / path if inside else f"'{name}'"
        raise UserError(
            f"there is no image {wanted}, nor one called {_base(name) or 'so'} or, with {_ENDINGS}, "
            f"{_stem(_base(name)) or 'so'} anywhere below {self.root}"
        )

    def of_annotation(self, stem: str, filename: str) -> FoundImage:
        """Find the image of the annotation `stem` (a path without ending) that calls it `filename`, perhaps "".

        One of the same path goes first, then `filename`, then one of the same name in any folder: many tools keep the
        name that an image had before both were renamed. Raises UserError.
        """
        same = self._listing.by_path.get(composed(posixpath.normpath(stem)), [])
        if len(same) > 1:
            same = [file for file in same if posixpath.basename(file) == _base(filename)] or same
        if len(same) > 1:
            names = " and ".join(posixpath.basename(file) for file in same)
            raise UserError(f"{(self.root / stem).parent} has {names}: remove all but one")
        if same:
            named = self._listing.like(filename) if filename else []
            other = named[0] if len(named) == 1 and named != same else ""
            return FoundImage(same[0], stem, exact=True, other=other)
        for name in filter(None, (filename, stem)):
            found = self._listing.like(name)
            if len(found) == 1:
                return FoundImage(found[0], stem, exact=False)
            if found:
                raise UserError(
                    f"its image '{name}' may be any of {_some(found)} below {self.root}: remove all but one"
                )
        self.refuse_other_ending(filename)
        self.refuse_other_ending(stem)
        called = f", nor one called {_base(filename)}" if filename else ""
        raise UserError(f"there is no image {self.root / stem} with {_ENDINGS} at the end{called} below {self.root}")

    def refuse_other_ending(self, name: str) -> None:
        """Raise UserError if there is an image of that name whose ending is not looked at."""
        others = self._others.like(name) if name else []
        if others:
            raise UserError(f"{self.root / others[0]} is there, but {LOOKED_AT}: {ending_remedy(others[0])}")

    @cached_property
    def _listing(self) -> "_Listing":
        return _Listing(find_files(self.root, IMAGE_ENDINGS))

    @cached_property
    def _others(self) -> "_Listing":
        return _Listing(find_files(self.root, OTHER_IMAGE_ENDINGS))

    def _is_file(self, path: str) -> bool:
        try:
            return (self.root / path).is_file()
        except (OSError, ValueError):  # too long, or with a zero byte
            return False


class _Listing:
    """The images below a folder by their paths without ending, their names, and their names without ending."""

    def __init__(self, files: list[str]) -> None:
        self.files = files
        self.by_path: dict[str, list[str]] = defaultdict(list)
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for file in files:
            name = posixpath.basename(file)
            self.by_path[composed(_stem(file))].append(file)
            self._by_name[composed(name).lower()].append(file)
            self._by_stem[composed(_stem(name)).lower()].append(file)

    def like(self, name: str) -> list[str]:
        """Return the images that `name` may mean: of the same name, else of another ending; the nearest paths."""
        for wanted in dict.fromkeys((name, _path(name))):
            base = composed(posixpath.basename(wanted))
            found = self._by_name.get(base.lower()) or self._by_stem.get(_stem(base).lower())
            if found:
                return _nearest(found, wanted)
        return []


def _nearest(files: list[str], wanted: str) -> list[str]:
    """Keep the files that agree with most of the end of a path, folder by folder, and then in upper and lower case."""
    parts = composed(wanted).split("/")[:-1]

    def agreeing(file: str) -> int:
        folders = composed(file).split("/")[:-1]
        count = 0
        while count < min(len(folders), len(parts)) and folders[-1 - count] == parts[-1 - count]:
            count += 1
        return count

    most = max(map(agreeing, files))
    nearest = [file for file in files if agreeing(file) == most]
    base = composed(posixpath.basename(wanted))
    same_case = [file for file in nearest if composed(posixpath.basename(file)) in (base, _stem(base))]
    return same_case or nearest


def _path(name: str) -> str:
    """Read a name as a path: a Windows path with `/`, an address without its host and query."""
    if "://" in name:
        try:
            return unquote(urlsplit(name).path)
        except ValueError:
            return name
    return name.replace("\\", "/").partition("?")[0]


def _base(name: str) -> str:
    return posixpath.basename(_path(name))


def _stem(path: str) -> str:
    stem, ending = posixpath.splitext(path)
    return stem if ending.lower() in (*IMAGE_ENDINGS, *OTHER_IMAGE_ENDINGS) else path


def name_key(name: str) -> str:
    """Return what an image and its annotation are both called: a name without its folder, its ending and capitals."""
    return composed(_stem(_base(name))).lower()


def _some(files: list[str]) -> str:
    return " and ".join(files) if len(files) <= 3 else f"{', '.join(files[:3])} and {len(files) - 3:,} more"


@dataclass(frozen=True, slots=True)
class Frame:
    """What the boxes of an image are drawn on: `size`, in pixels; `orientation` by which that still has to be turned.

    turned: EXIF turns or mirrors the image. odd: how the size stated differs from the image's own, `scaled`,
    `swapped` or `stored`, or nothing; `difference` says so in numbers.
    """

    size: Size
    orientation: int = 1
    turned: bool = False
    odd: str = ""
    difference: str = ""

    @property
    def upright_size(self) -> Size:
        """Width and height once it is turned."""
        return self.size[::-1] if swaps_sides(self.orientation) else self.size


def find_frame(image: Path, stated: Size | None) -> Frame:
    """Find out what the boxes of an image are drawn on, whose annotation says that its size is `stated`.

    Training sees every image upright, as its EXIF orientation says. A size stated that is in proportion to the pixels
    as stored alone means that the boxes are drawn on them; one in proportion to neither, but to the upright image once
    its sides are swapped, is read as swapped. Raises UserError if the image cannot be read.
    """
    stored, orientation = _read_size(image)
    swaps = swaps_sides(orientation)
    upright = stored[::-1] if swaps else stored
    turned = orientation != 1
    if stated is None or stated == upright:
        return Frame(upright, turned=turned)
    difference = f"{image} ({stated[0]}x{stated[1]} stated, {upright[0]}x{upright[1]} found)"
    if has_sides_swapped(stated, upright):
        if swaps:
            return Frame(stated, orientation, turned, "stored", difference)
        return Frame(stated[::-1], 1, turned, "swapped", difference)
    return Frame(stated, 1, turned, "scaled", difference)


def _read_size(path: Path) -> tuple[Size, int]:
    """Read width and height as stored, and the EXIF orientation, 1 to 8; raises UserError if the job refuses the image.

    Read as the training job reads it, which turns JPEG, PNG and WebP; but of what has a header no more than that.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    image = examine_image(content, decode=_decode)
    if image.fault:
        raise UserError(f"{path} cannot be read: {image.fault}")
    header = read_header(content)
    orientation = webp_orientation(content) if header is None else header.orientation
    size = image.width, image.height
    return size[::-1] if swaps_sides(orientation) else size, orientation


def _decode(image: bytes, header: ImageHeader) -> DecodeResult:
    # Decoding all of a large data set takes many minutes; the training job does it, and leaves out what is damaged.
    return try_decode(image, header) if header.coding == "other" else DecodeResult.COMPLETE


def read_side(value: object) -> int | None:
    """Read a side of a size that is stated: a whole number above 0, however it is written; None for anything else."""
    side = read_number(value)
    return int(side) if side is not None and 0 < side <= _LONGEST_SIDE and side.is_integer() else None
