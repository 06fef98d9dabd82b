"""Boxes over a picture, as SVG: sharp at every size, and told apart by their lines as well as by their colours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sagemaker_ssd.report.wording import escape, plain

_LABEL_LENGTH = 22
# In units of the picture, for text of 17 units.
_LABEL_HEIGHT = 20.0
_LETTER_WIDTH = 9.5
# With more detections than this, and beside a box to look at, the others have no labels.
_MOST_LABELS = 8


@dataclass(frozen=True)
class Shape:
    """A box in units of the picture; kind: object, right or wrong; focus: the one that the picture is about."""

    kind: str
    corners: tuple[float, ...]
    label: str
    focus: bool = False


class _Label(NamedTuple):
    """A text and the room that it takes."""

    kind: str
    text: str
    left: float
    top: float
    width: float

    def overlaps(self, other: "_Label") -> bool:
        beside = self.left + self.width <= other.left or other.left + other.width <= self.left
        return not beside and abs(self.top - other.top) < _LABEL_HEIGHT

    def element(self) -> str:
        place = f'x="{self.left:.1f}" y="{self.top + _LABEL_HEIGHT - 5:.1f}"'
        return f'<text class="{self.kind}" {place}>{escape(self.text)}</text>'


@dataclass(frozen=True)
class Overlay:
    """A picture of `width` by `height` units and the boxes on it, later ones above earlier ones."""

    width: int
    height: int
    shapes: Sequence[Shape]

    def element(self, data_address: str, alternative: str) -> str:
        """Return the picture with its boxes as one image, described by `alternative`."""
        seen = [shape for shape in self.shapes if self._inside(shape)]
        drawn = [self._rectangle(shape) for shape in seen] + [label.element() for label in self._labels(seen)]
        size = f'width="{self.width}" height="{self.height}"'
        return (
            f'<svg class="picture" viewBox="0 0 {self.width} {self.height}" role="img" '
            f'aria-label="{escape(alternative, 400)}">'
            f'<image {size} preserveAspectRatio="none" href="{data_address}"/>{"".join(drawn)}</svg>'
        )

    def _inside(self, shape: Shape) -> bool:
        left, top, right, bottom = shape.corners
        return left < self.width and top < self.height and right > 0 and bottom > 0

    def _rectangle(self, shape: Shape) -> str:
        left, top, right, bottom = shape.corners
        place = f'x="{left:.1f}" y="{top:.1f}" width="{max(right - left, 1):.1f}" height="{max(bottom - top, 1):.1f}"'
        focus = " focus" if shape.focus else ""
        return f'<rect class="casing{focus}" {place}/><rect class="box {shape.kind}{focus}" {place}/>'

    def _labels(self, seen: Sequence[Shape]) -> list[_Label]:
        """Label the box to look at, or else detections that are few; where there is no room, none."""
        named = [shape for shape in seen if shape.focus]
        if not named:
            named = [shape for shape in seen if shape.kind != "object"]
            named = named if len(named) <= _MOST_LABELS else []
        placed: list[_Label] = []
        for shape in named:
            free = (label for label in self._places(shape) if not any(map(label.overlaps, placed)))
            placed += [label for label in (next(free, None),) if label is not None]
        return placed

    def _places(self, shape: Shape) -> list[_Label]:
        """Above the box, inside of it at its top, and below, as far as they are in the picture; above if none is."""
        left, top, _, bottom = shape.corners
        text = plain(shape.label, _LABEL_LENGTH)
        width = _LETTER_WIDTH * len(text)
        x = max(3.0, min(left, self.width - width - 3))
        labels = [_Label(shape.kind, text, x, y, width) for y in (top - _LABEL_HEIGHT - 3, top + 3, bottom + 3)]
        inside = [label for label in labels if 0 <= label.top <= self.height - _LABEL_HEIGHT]
        return inside or [labels[1]._replace(top=max(0.0, min(top, self.height - _LABEL_HEIGHT)))]
