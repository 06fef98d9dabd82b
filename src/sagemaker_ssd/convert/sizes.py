"""The size that boxes are drawn on, from what the annotation says and what the image is."""

from pathlib import Path

from sagemaker_ssd.convert.images import read_size
from sagemaker_ssd.errors import UserError


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
