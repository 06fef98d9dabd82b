"""A checked channel: one RecordIO file with only records that can be trained on, how it comes about, what is in it."""

import zlib
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.channels.recordio import IMAGE_HEADER_BYTES, Record, frame
from sagemaker_ssd.errors import in_words
from sagemaker_ssd.files import ScratchFile


@dataclass(frozen=True)
class CheckedImages:
    """How many images the check of a channel saw, how many of them cannot be used, and the first of these by name.

    boxes: as many as stand in the channel. inverted: those of them whose corners are in the wrong order.
    first_inverted: the first of these, and what the numbers of a box must be.
    """

    images: int = 0
    bad: int = 0
    named: str = ""
    boxes: int = 0
    inverted: int = 0
    first_inverted: str = ""


@dataclass(frozen=True)
class RecordFile:
    """One checked channel.

    `path` is the user's own file when nothing had to change, else one in scratch. `offsets` (images + 1,) holds
    the byte offset of each record's first frame, then the file's end. `max_objects` is the most boxes of one
    image. `checksum` is the sum of the CRC-32 of every label and image: the same for the same ones in any order.
    `names` are the images' own where they were kept, else there are none. `class_names` are those that the channel's
    annotations give to class ids, as far as they do. `checked` are the images that it was made of.
    """

    path: Path
    offsets: NDArray[np.int64]
    boxes: int
    boxes_per_class: tuple[int, ...]
    images_without_objects: int
    max_objects: int
    checksum: int
    names: tuple[str, ...] = ()
    class_names: Mapping[int, str] = field(default_factory=dict)
    checked: CheckedImages = CheckedImages()

    @property
    def label_objects(self) -> int:
        """The objects that every label is padded to: MXNet takes none of zero, which a host's part may need."""
        return max(1, self.max_objects)

    @property
    def images(self) -> int:
        """The number of images."""
        return len(self.offsets) - 1

    def name_of_each_class(self) -> list[str]:
        """Return what the channel's annotations call each class id, the number itself where they do not."""
        return [self.class_names.get(class_id, str(class_id)) for class_id in range(len(self.boxes_per_class))]

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


class RecordFileWriter:
    """Puts the records that passed the check of a channel into one file, and counts what is in them.

    target: a new file for them, which `what` names in the error for a full disk, `needed` bytes long by estimate (None
    for a stream). in_place: the file that the records are read from, which stays the channel's file, without any
    `target`, for as long as no record is replaced or left out; it is never written to. keep_names: keep the images'
    names in memory, for a channel that is not large. `label_floats` is the widest label so far: the built-in's
    label_width.
    Every method raises UserError if the disk is full; then, and where the block raises, `target` is gone again.
    """

    def __init__(
        self,
        target: Path,
        *,
        what: str,
        needed: int | None,
        num_classes: int,
        keep_names: bool = False,
        in_place: Path | None = None,
    ) -> None:
        self.label_floats = 0
        self._target, self._what, self._needed, self._in_place = target, what, needed, in_place
        self._file = None if in_place else ScratchFile(target, what=what, needed=needed)
        self._names: list[str] | None = [] if keep_names else None
        self._offsets = array("q")
        self._per_class = np.zeros(num_classes, np.int64)
        self._without_objects = 0
        self._max_objects = 0
        self._checksum = 0

    @property
    def images(self) -> int:
        """Images kept so far."""
        return len(self._offsets)

    @property
    def boxes(self) -> int:
        """Boxes with an area of the images kept so far."""
        return int(self._per_class.sum())

    def append(self, payload: bytes, label: NDArray[np.float32], class_ids: NDArray[np.float32], name: str) -> None:
        """Write a record with this label; class_ids: (boxes,), of its boxes that have an area. name: the image's."""
        self._count(self._write(self._open_file(), payload), payload, label, class_ids, name)

    def keep(self, record: Record, label: NDArray[np.float32], class_ids: NDArray[np.float32]) -> None:
        """Keep a record of a source as it is, in place where that is possible."""
        offset = record.offset if self._file is None else self._write(self._file, record.payload)
        self._count(offset, record.payload, label, class_ids, record.brief)

    def replace(
        self, record: Record, payload: bytes, label: NDArray[np.float32], class_ids: NDArray[np.float32]
    ) -> None:
        """Put another payload in place of a record of a source."""
        self._count(self._write(self._open_file(record), payload), payload, label, class_ids, record.brief)

    def leave_out(self, record: Record) -> None:
        """Do without a record of a source."""
        self._open_file(record)

    def finish(self, checked: CheckedImages, class_names: Mapping[int, str]) -> RecordFile:
        """Return the checked file; class_names: what its annotations call class ids."""
        if self._file is not None:
            path, end = self._file.path, self._file.length
        else:
            assert self._in_place is not None
            path, end = self._in_place, self._in_place.stat().st_size
        return RecordFile(
            path=path,
            offsets=np.append(np.array(self._offsets, np.int64), end),
            boxes=self.boxes,
            boxes_per_class=tuple(int(count) for count in self._per_class),
            images_without_objects=self._without_objects,
            max_objects=self._max_objects,
            checksum=self._checksum,
            names=tuple(self._names or ()),
            class_names=dict(class_names),
            checked=checked,
        )

    def _open_file(self, changing: Record | None = None) -> ScratchFile:
        """Return the new file; where records stayed in place so far, it begins with those before the one `changing`."""
        if self._file is None:
            assert self._in_place is not None
            assert changing is not None, "records that have no source are appended to a new file alone"
            self._file = ScratchFile(self._target, what=self._what, needed=self._needed)
            self._file.copy_beginning(self._in_place, changing.offset)
        return self._file

    @staticmethod
    def _write(file: ScratchFile, payload: bytes) -> int:
        """Write a payload and return its offset."""
        offset = file.length
        file.write(frame(payload))
        return offset

    def _count(
        self, offset: int, payload: bytes, label: NDArray[np.float32], class_ids: NDArray[np.float32], name: str
    ) -> None:
        # Without the header, in which images of a folder are numbered as this host finds them.
        self._checksum += zlib.crc32(memoryview(payload)[IMAGE_HEADER_BYTES:])
        if self._names is not None:
            self._names.append(name)
        self._offsets.append(offset)
        self._per_class += np.bincount(class_ids.astype(np.int64), minlength=len(self._per_class))
        self._without_objects += len(class_ids) == 0
        self._max_objects = max(self._max_objects, len(class_ids))
        self.label_floats = max(self.label_floats, len(label))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.__exit__(kind, error, trace)
