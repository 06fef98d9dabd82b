"""Files in scratch space: a full disk is told to the person, and a file whose writing failed is removed."""

import contextlib
import errno
import shutil
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from sagemaker_ssd.errors import UserError

# EFBIG: the process may not write files of this size (ulimit -f), which asks for the same remedy.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_BUFFER = 1 << 20


class ScratchFile:
    """A new file at `path` for `what`, `needed` bytes long by estimate, gone again if the block raises.

    Raises UserError if the disk or a quota has no room for it.
    """

    def __init__(self, path: Path, *, what: str, needed: int) -> None:
        self.path = path
        self.length = 0
        self._what = what
        self._needed = needed
        path.parent.mkdir(parents=True, exist_ok=True)
        self._free = shutil.disk_usage(path.parent).free
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
        return UserError(
            f"The disk is full: {self._what} in {self.path.parent} needs about {_size(self._needed)}, and "
            f"{_size(self._free)} was free. Raise VolumeSizeInGB in the job's ResourceConfig; "
            "outside SageMaker set TMPDIR to a folder with more room"
        )


def _size(count: int) -> str:
    unit, name = (1e9, "GB") if count >= 1e9 else (1e6, "MB") if count >= 1e5 else (1e3, "kB")
    return f"{count / unit:,.1f} {name}"
