"""Files on disk: their checksums, atomic writes, files in scratch space, and the error for a full disk."""

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from sagemaker_ssd.errors import UserError, bytes_in_words

# EFBIG: the process may not write files of this size (ulimit -f), which asks for the same remedy.
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# What MXNet says, in an MXNetError, when its file stream could not write.
_MXNET_NO_ROOM: Final = ("FileStream.Write incomplete", "No space left on device")
_BUFFER: Final = 1 << 20
# What to do where there is no place for temporary files, as in a container whose root is read-only.
TEMPORARY_FOLDER_REMEDY: Final = (
    "name a folder with room in the environment variable TMPDIR, or start the container with `docker run --tmpfs /tmp`"
)
_GIB: Final = 1 << 30


def sha256(path: Path) -> str:
    """Return the digest of a file's bytes as hexadecimal digits; raises OSError."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def file_size(path: Path) -> int:
    """Return the length of a file that is to be read; 0 where it cannot be found out, since reading will say why."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def is_disk_full(error: BaseException) -> bool:
    """Say whether an error means that the disk or a quota has no more room, for Python's files and for MXNet's."""
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _MXNET_NO_ROOM)


def _no_room(what: str, folder: Path, *, needed: int, free: int) -> UserError:
    """Return the error for `what` that stays in `folder` after the job: a quota can be reached with room to spare."""
    reason = "the disk is full" if free < needed else "a quota, or the limit on a file's size (ulimit -f), is reached"
    return UserError(
        f"{reason}: {what} in {folder} needs {needed:,} bytes, and {free:,} were free. What was there before is whole. "
        "Raise VolumeSizeInGB; outside SageMaker make room on that disk"
    )


def _no_room_in_scratch(what: str, folder: Path, *, needed: int | None, free: int, written: int) -> UserError:
    """Return the error for `what` in scratch space; needed None: a stream, of which only what was written is known."""
    if needed is None:
        # What else is on the disk, what was written so far, and a GiB: the least that can do.
        least = shutil.disk_usage(folder).total - free + written + _GIB
        found = (
            f"had {bytes_in_words(written)} written when it came to the end of the {bytes_in_words(free)} that was free"
        )
        size = f" to {math.ceil(least / _GIB):,} at the very least: the size of the data in S3 and some more"
    else:
        found = f"needs about {bytes_in_words(needed)}, and {bytes_in_words(free)} was free"
        size = ""
    return UserError(
        f"The disk is full: {what} in {folder} {found}. Raise VolumeSizeInGB in the job's ResourceConfig{size}; "
        "outside SageMaker set TMPDIR to a folder with more room"
    )


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on the disk; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some shared and network file systems cannot sync a folder.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


@contextmanager
def atomic_write(path: Path, part: Path | None = None) -> Iterator[Path]:
    """Give `part` to be written, and put it into place at `path` when the block ends; without a trace if it raises.

    part: a hidden file in the folder of `path` unless given.
    """
    part = path.with_name(f".{path.name}.part") if part is None else part
    try:
        yield part
        sync(part)
        part.replace(path)
        sync(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def remove_parts(folder: Path) -> None:
    """Remove what `atomic_write` had not finished in a folder, or below it, when its process was killed."""
    for part in folder.rglob(".*.part"):
        with contextlib.suppress(OSError):
            part.unlink()


def write_json(path: Path, document: Mapping[str, Any], part: Path | None = None) -> None:
    """Replace a JSON file at once, so that a reader or a kill never finds half of it; part: as of `atomic_write`."""
    with atomic_write(path, part) as part:
        part.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")


@contextmanager
def durable_file(path: Path, *, part: Path, what: str, needed: int) -> Iterator[Path]:
    """Give `part` to be written, and put it into place at `path` when the block ends; without a trace if it raises.

    Raises UserError, which names `what`, if the disk has no room for the `needed` bytes.
    """
    free = shutil.disk_usage(path.parent).free
    try:
        with atomic_write(path, part):
            yield part
    except BaseException as error:
        if is_disk_full(error):
            raise _no_room(what, path.parent, needed=needed, free=free) from error
        raise


class ScratchFile:
    """A new file at `path` for `what`, `needed` bytes long by estimate, gone again if the block raises.

    needed: None for a stream, whose length nobody knows before its end. `free`: what the disk had at the begin, bytes.
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
        """Append bytes; `length` is how many there are."""
        try:
            self._file.write(data)
        except OSError as error:
            raise self._explained(error) from error
        self.length += len(data)

    def copy_beginning(self, source: Path, length: int) -> None:
        """Append the first `length` bytes of another file, a little at a time."""
        with source.open("rb", buffering=0) as opened:
            while length:
                data = opened.read(min(_BUFFER, length))
                if not data:
                    raise UserError(f"{source.name} became shorter while it was read: do not change a job's data")
                self.write(data)
                length -= len(data)

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
        if not is_disk_full(error):
            return error
        return _no_room_in_scratch(
            self._what, self.path.parent, needed=self._needed, free=self.free, written=self.length
        )
