"""The images of a data set, found by the names that annotations give them, and what their boxes are drawn on."""

import posixpath
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from sagemaker_ssd.channels.annotations import composed, find_files, read_number
from sagemaker_ssd.channels.images import (
    DecodeResult,
    ImageHeader,
    examine_image,
    has_sides_swapped,
    orientation_without_header,
    read_header,
    swaps_sides,
    try_decode,
)
from sagemaker_ssd.convert.shapes import Size
from sagemaker_ssd.data_formats import IMAGE_ENDINGS, LOOKED_AT, OTHER_IMAGE_ENDINGS, ending_remedy, is_hidden
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
        self._refuse_namesakes(f"there is no image '{name}'", name)
        raise UserError(
            f"there is no image {wanted}, nor one called {_base(name) or 'so'} or, with {_ENDINGS}, "
            f"{_stem(_base(name)) or 'so'} anywhere below {self.root}"
        )

    def of_annotation(self, stem: str, filename: str, taken: Collection[str] = ()) -> FoundImage:
        """Find the image of the annotation `stem` (a path without ending) that calls it `filename`, perhaps "".

        One of the same path goes first, then `filename`, then one of the same name: many tools keep the name that an
        image had before both were renamed. Where the folder of `filename`, else that of `stem`, ends like one that
        holds images, the image must be there; else it may be in any folder but those `taken`. Raises UserError.
        """
        folder = posixpath.dirname(stem)
        named = self._listing.like(filename, folder, taken) if filename else []
        same = self._listing.by_path.get(composed(posixpath.normpath(stem)), [])
        if len(same) > 1:
            same = [file for file in same if file in named] or same
        if len(same) > 1:
            names = " and ".join(posixpath.basename(file) for file in same)
            raise UserError(f"{(self.root / stem).parent} has {names}: remove all but one")
        if same:
            other = named[0] if len(named) == 1 and named != same else ""
            return FoundImage(same[0], stem, exact=True, other=other)
        for name in filter(None, (filename, stem)):
            found = self._listing.like(name, folder, taken)
            if len(found) == 1:
                return FoundImage(found[0], stem, exact=False)
            if found:
                raise UserError(
                    f"its image '{name}' may be any of {_some(found)} below {self.root}: remove all but one"
                )
        self.refuse_other_ending(filename, folder)
        self.refuse_other_ending(stem)
        missing = f"there is no image {self.root / stem} with {_ENDINGS} at the end"
        for name in filter(None, (filename, stem)):
            self._refuse_namesakes(missing, name, folder)
        called = f", nor one called {_base(filename)}" if filename else ""
        raise UserError(f"{missing}{called} below {self.root}")

    def refuse_other_ending(self, name: str, folder: str = "") -> None:
        """Raise UserError if there is an image of that name, meant in `folder`, whose ending is not looked at."""
        others = self._others.like(name, folder) if name else []
        if others:
            raise UserError(f"{self.root / others[0]} is there, but {LOOKED_AT}: {ending_remedy(others[0])}")

    def _refuse_namesakes(self, missing: str, name: str, folder: str = "") -> None:
        """Raise UserError, which begins with `missing`, if images of that name are in folders that are not meant."""
        if namesakes := self._listing.namesakes(name):
            end = self._listing.known_end(name) or self.folders.end(folder)
            why = f"and {end} holds images" if end else "whose folder has annotations of its own"
            raise UserError(
                f"{missing}, only {_some(namesakes)} of that name, {why}: put the image there, or give its path below "
                f"{self.root}"
            )

    @cached_property
    def _found(self) -> list[str]:
        return find_files(self.root, (*IMAGE_ENDINGS, *OTHER_IMAGE_ENDINGS))

    @cached_property
    def folders(self) -> "Folders":
        """The folders that hold images, also those whose ending is not looked at."""
        return Folders(self._found)

    @cached_property
    def _listing(self) -> "_Listing":
        return _Listing([file for file in self._found if file.lower().endswith(IMAGE_ENDINGS)], self.folders)

    @cached_property
    def _others(self) -> "_Listing":
        return _Listing([file for file in self._found if not file.lower().endswith(IMAGE_ENDINGS)], self.folders)

    def _is_file(self, path: str) -> bool:
        try:
            return (self.root / path).is_file()
        except (OSError, ValueError):  # too long, or with a zero byte
            return False


class Folders:
    """The folders of some files, which paths from elsewhere name by their ends; the top folder has no name.

    Cameras number alike: of cam1/0005.jpg and cam2/0005.jpg, one may be missing, and the other is not it.
    """

    def __init__(self, files: Iterable[str]) -> None:
        folders = set(map(posixpath.dirname, files))
        self._ends = {end for folder in folders for end in _ends(folder)}
        self._ends_in_any_case = {end.lower() for end in self._ends}

    def end(self, path: str) -> str:
        """Return as much of the end of a folder's path as any of the folders ends with, too; "" for nothing."""
        return next((end for end in _ends(path) if end.lower() in self._ends_in_any_case), "")

    def within(self, files: Sequence[str], end: str) -> list[str]:
        """Keep the files whose folder ends so, in upper and lower case if any of the folders does; all for ""."""
        if not end:
            return list(files)
        case = str if end in self._ends else str.lower
        return [
            file for file in files if f"/{case(composed(posixpath.dirname(file)))}".endswith(f"/{case(composed(end))}")
        ]


def _ends(folder: str) -> list[str]:
    """Return the ends of a folder's path, the longest first."""
    parts = [part for part in composed(folder).split("/") if part not in ("", ".")]
    return ["/".join(parts[start:]) for start in range(len(parts))]


class _Listing:
    """Images below a folder, by their paths and by their names, both without ending; `folders`: those of all."""

    def __init__(self, files: list[str], folders: Folders) -> None:
        self.files = files
        self.by_path: dict[str, list[str]] = defaultdict(list)
        self._folders = folders
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for file in files:
            self.by_path[composed(_stem(file))].append(file)
            self._by_stem[_lower_stem(file)].append(file)

    def like(self, name: str, folder: str = "", taken: Collection[str] = ()) -> list[str]:
        """Return the images that `name` may mean: of the same name, else of another ending.

        Where the folder of `name`, else `folder`, ends like one that holds images, these are in such a folder; else
        in any but those of `taken`.
        """
        end = self.known_end(name)
        for form in _forms(name):
            # Of an address and the path in it, the one that names a folder is meant.
            if end and self._folders.end(posixpath.dirname(form)) != end:
                continue
            found = self._by_stem.get(_lower_stem(form), [])
            if named := end or self._folders.end(folder):
                found = self._folders.within(found, named)
            elif taken:
                found = [file for file in found if composed(posixpath.dirname(file)) not in taken]
            if found:
                return _most_alike(found, composed(posixpath.basename(form)))
        return []

    def known_end(self, name: str) -> str:
        """Return as much of the end of the folder that `name` gives as a folder of images ends with, too."""
        ends = [self._folders.end(posixpath.dirname(form)) for form in _forms(name) if _lower_stem(form)]
        return max(ends, key=lambda end: len(_ends(end)), default="")

    def namesakes(self, name: str) -> list[str]:
        """Return the images of the name of `name`, but for its ending, in any folder."""
        return next(filter(None, (self._by_stem.get(_lower_stem(form)) for form in _forms(name))), [])


def _most_alike(files: list[str], name: str) -> list[str]:
    """Keep the files of that name, else those of it in other capitals, else those of it but for the ending."""
    for part in (str, str.lower, _stem):
        if found := [file for file in files if part(composed(posixpath.basename(file))) == part(name)]:
            return found
    return files


def _forms(name: str) -> list[str]:
    """Return what `name` may be as a path, the likelier first: as it stands, read as `_path` does, without escapes."""
    path = _path(name)
    return list(dict.fromkeys((name, path, unquote(path))))


def _path(name: str) -> str:
    """Read a name as a path: a Windows path with `/`, an address without its host and query.

    Where the address ends in its query, as Label Studio's /data/local-files/?d=a.jpg does, the path is what that says.
    """
    if "://" in name:
        try:
            address = urlsplit(name)
        except ValueError:
            return name
        path, query = unquote(address.path), address.query
    else:
        path, _, query = name.replace("\\", "/").partition("?")
    if query and not posixpath.basename(path):
        return unquote(query.partition("&")[0].split("=", 1)[-1])
    return path


def _base(name: str) -> str:
    return posixpath.basename(_path(name))


def _stem(path: str) -> str:
    stem, ending = posixpath.splitext(path)
    return stem if ending.lower() in (*IMAGE_ENDINGS, *OTHER_IMAGE_ENDINGS) else path


def _lower_stem(path: str) -> str:
    return composed(_stem(posixpath.basename(path))).lower()


def name_key(name: str) -> str:
    """Return what an image and its annotation are both called: a name without its folder, its ending and capitals."""
    return _lower_stem(unquote(_path(name)))


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

    Read as the training job reads it, which turns JPEG, PNG, WebP and TIFF; but of what has a header no more than that.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    image = examine_image(content, decode=_decode)
    if image.fault:
        raise UserError(f"{path} cannot be read: {image.fault}")
    header = read_header(content)
    orientation = orientation_without_header(content) if header is None else header.orientation
    size = image.width, image.height
    return size[::-1] if swaps_sides(orientation) else size, orientation


def _decode(image: bytes, header: ImageHeader) -> DecodeResult:
    # Decoding all of a large data set takes many minutes; the training job does it, and leaves out what is damaged.
    return try_decode(image, header) if header.coding == "other" else DecodeResult.COMPLETE


def read_side(value: object) -> int | None:
    """Read a side of a size that is stated: a whole number above 0, however it is written; None for anything else."""
    side = read_number(value)
    return int(side) if side is not None and 0 < side <= _LONGEST_SIDE and side.is_integer() else None
