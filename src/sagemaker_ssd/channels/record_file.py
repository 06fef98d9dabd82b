"""A checked channel: one RecordIO file that MXNet's reader takes, and what is in it.

Where a channel's checked records go: into a copy, or nowhere for as long as all may stay in their own file.
"""

from array import array
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.channels.recordio import Record, frame
from sagemaker_ssd.errors import in_words
from sagemaker_ssd.files import ScratchFile


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


# dmlc-core, which opens the file for MXNet, takes these as separators: list of files, arguments, cache file.
URI_CHARACTERS = frozenset(";?#")


class CopiedRecords:
    """A new file `target` with the records that are kept, of files or a stream that are read once."""

    def __init__(self, target: Path, *, what: str, needed: int | None) -> None:
        self.file = ScratchFile(target, what=what, needed=needed)

    def keep(self, record: Record) -> int:
        """Keep a record as it is and return its offset in the resulting file."""
        return self.append(record.payload)

    def replace(self, record: Record, payload: bytes) -> int:
        """Put another payload in place of a record and return its offset in the resulting file."""
        return self.append(payload)

    def leave_out(self, record: Record) -> None:
        """Do without a record."""

    def append(self, payload: bytes) -> int:
        """Write a payload and return its offset in the resulting file."""
        offset = self.file.length
        self.file.write(frame(payload))
        return offset

    def finish(self, tally: Tally) -> RecordFile:
        """Return the checked file with the counts of `tally`."""
        return tally.finish(self.file.path, self.file.length)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.__exit__(kind, error, trace)


class RecordsInPlace:
    """The checked records of `source`: in `source` itself, or in a new file `target` if one had to change."""

    def __init__(self, source: Path, target: Path) -> None:
        self._source = source
        self._target = target
        self._copy: CopiedRecords | None = None

    def keep(self, record: Record) -> int:
        """Keep a record as it is and return its offset in the resulting file."""
        return record.offset if self._copy is None else self._copy.keep(record)

    def replace(self, record: Record, payload: bytes) -> int:
        """Put another payload in place of a record and return its offset in the resulting file."""
        return self._copied(record).append(payload)

    def leave_out(self, record: Record) -> None:
        """Do without a record."""
        self._copied(record)

    def _copied(self, record: Record) -> CopiedRecords:
        """Return the copy, which begins with what stands before the first record that changes."""
        if self._copy is None:
            self._copy = CopiedRecords(
                self._target,
                what=f"a corrected copy of {self._source.name}",
                needed=self._source.stat().st_size,
            )
            self._copy.file.copy_pieces(self._source, [(0, record.offset)])
        return self._copy

    def finish(self, tally: Tally) -> RecordFile:
        """Return the checked file with the counts of `tally`."""
        if self._copy is not None:
            return self._copy.finish(tally)
        length = self._source.stat().st_size
        if URI_CHARACTERS.isdisjoint(str(self._source)):
            return tally.finish(self._source, length)
        self._target.parent.mkdir(parents=True, exist_ok=True)
        self._target.unlink(missing_ok=True)
        self._target.symlink_to(self._source.resolve())
        return tally.finish(self._target, length)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._copy is not None:
            self._copy.__exit__(kind, error, trace)
