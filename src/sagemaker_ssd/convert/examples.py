"""What every source is read into and both forms of output are written from."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

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
