"""A checked channel: one RecordIO file that MXNet's reader takes, and what is in it."""

from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.data.findings import in_words


@dataclass(frozen=True)
class RecordFile:
    """One checked channel.

    `path` is the user's own file when nothing had to change, else one in scratch. `offsets` (images + 1,) holds
    the byte offset of each record's first frame, then the file's end. `max_objects` is the most boxes of one
    image, `label_floats` the widest label of the file, header included: the reader's label_pad_width. `names` are the
    images' own where they were kept, else there are none.
    """

    path: Path
    offsets: NDArray[np.int64]
    boxes: int
    boxes_per_class: tuple[int, ...]
    images_without_objects: int
    max_objects: int
    label_floats: int
    names: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        """The number of images."""
        return len(self.offsets) - 1

    def summary(self, name: str) -> str:
        """Say in one line what the channel `name` holds."""
        seen, classes = sum(count > 0 for count in self.boxes_per_class), len(self.boxes_per_class)
        return ", ".join(
            [
                f"{name}: {in_words(self.images, 'image', 'images')}",
                in_words(self.boxes, "box", "boxes"),
                in_words(classes, "class", "classes") if seen == classes else f"{seen:,} of {classes:,} classes",
                f"{in_words(self.images_without_objects, 'image', 'images')} without objects",
            ]
        )


class Tally:
    """Counts the records of a channel as they are kept; keep_names: in memory, for a channel that is not large."""

    def __init__(self, num_classes: int, *, keep_names: bool = False) -> None:
        self._names: list[str] | None = [] if keep_names else None
        self._offsets = array("q")
        self._per_class = np.zeros(num_classes, np.int64)
        self._without_objects = 0
        self._max_objects = 0
        self.label_floats = 0

    @property
    def images(self) -> int:
        """Images kept so far."""
        return len(self._offsets)

    @property
    def boxes(self) -> int:
        """Boxes kept so far."""
        return int(self._per_class.sum())

    def add(self, offset: int, class_ids: NDArray[np.floating[Any]], label_floats: int, name: str = "") -> None:
        """Count a record at `offset`, with the class ids (boxes,) of its boxes that have an area."""
        if self._names is not None:
            self._names.append(name)
        self._offsets.append(offset)
        self._per_class += np.bincount(class_ids.astype(np.int64), minlength=len(self._per_class))
        self._without_objects += len(class_ids) == 0
        self._max_objects = max(self._max_objects, len(class_ids))
        self.label_floats = max(self.label_floats, label_floats)

    def finish(self, path: Path, end: int) -> RecordFile:
        """Return what was counted, for the file at `path` that is `end` bytes long."""
        return RecordFile(
            path=path,
            offsets=np.append(np.array(self._offsets, np.int64), end),
            boxes=self.boxes,
            boxes_per_class=tuple(int(count) for count in self._per_class),
            images_without_objects=self._without_objects,
            max_objects=self._max_objects,
            label_floats=self.label_floats,
            names=tuple(self._names or ()),
        )
