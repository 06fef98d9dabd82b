"""Files in scratch space: a full disk is told to the person, and a file whose writing failed is removed."""

import contextlib
import errno
import math
import shutil
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from sagemaker_ssd.data.findings import bytes_in_words
from sagemaker_ssd.errors import UserError

# EFBIG: the process may not write files of this size (ulimit -f), which asks for the same remedy.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_BUFFER = 1 << 20
_GIB = 1 << 30


class ScratchFile:
    """A new file at `path` for `what`, `needed` bytes long by estimate, gone again if the block raises.

    needed: None for a stream, whose length nobody knows before its end. free: the disk's free bytes at the begin.
    Raises UserError if the disk or a quota has no room for it.
    """

    def __init__(self, path: Path, *, what: str, needed: int | None) -> None:
        self.path = path
        self.length = 0
        self._what = what
        self._needed = needed
        path.parent.mkdir(parents=True, exist_ok=True)
        self.free = shutil.disk_usage(path.parent).free
        # A link that an earlier attempt left here would lead the writing to the person's own file.
        path.unlink(missing_ok=True)
        self._file = path.open("wb", buffering=_BUFFER)

    def write(self, data: bytes) -> None:
        """Append bytes; `length` tells how many there are."""
        try:
            self._file.write(data)
        except OSError as error:
            raise self._explained(error) from error
        self.length += len(data)

    def copy_pieces(self, source: Path, pieces: Iterable[tuple[int, int]]) -> None:
        """Append the bytes of another file from begin to end of each piece, a little at a time."""
        # Unbuffered: pieces are in any order, and reading ahead would be for nothing.
        with source.open("rb", buffering=0) as opened:
            for begin, end in pieces:
                opened.seek(begin)
                left = end - begin
                while left:
                    data = opened.read(min(_BUFFER, left))
                    if not data:
                        raise UserError(f"{source.name} became shorter while it was read: do not change a job's data")
                    self.write(data)
                    left -= len(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()
            return
        try:
            self._file.close()
        except OSError as full:
            self.discard()
            raise self._explained(full) from full

    def discard(self) -> None:
        """Close and remove the file."""
        with contextlib.suppress(OSError):
            self._file.close()
        self.path.unlink(missing_ok=True)

    def _explained(self, error: OSError) -> Exception:
        if error.errno not in _NO_ROOM:
            return error
        free = bytes_in_words(self.free)
        if self._needed is None:
            found = f"had {bytes_in_words(self.length)} written when it came to the end of the {free} that was free"
            remedy = self._volume()
        else:
            found = f"needs about {bytes_in_words(self._needed)}, and {free} was free"
            remedy = "Raise VolumeSizeInGB in the job's ResourceConfig"
        return UserError(
            f"The disk is full: {self._what} in {self.path.parent} {found}. {remedy}; outside SageMaker set TMPDIR to "
            "a folder with more room"
        )

    def _volume(self) -> str:
        # What is on the disk beside this file, twice what was written so far, and a GiB: the least that can do.
        least = shutil.disk_usage(self.path.parent).total - self.free + 2 * self.length + _GIB
        return (
            f"Raise VolumeSizeInGB in the job's ResourceConfig to {math.ceil(least / _GIB):,} at the very least: twice "
            "the size of the data in S3 and some more, since the training images of each epoch are written once more, "
            "in its order"
        )


def bytes_of(path: Path) -> int:
    """Return the length of a file that is to be copied; 0 where it cannot be told, since reading it will say why."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
