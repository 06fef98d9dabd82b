"""The folder of images: which file a name means, and which size the training job sees it in."""

import posixpath
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from sagemaker_ssd.errors import UserError

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
