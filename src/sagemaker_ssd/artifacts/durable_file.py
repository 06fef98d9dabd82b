"""Whole files whose disk may be too small for them, which is told."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mxnet as mx

from sagemaker_ssd.artifacts.whole_file import whole_file
from sagemaker_ssd.errors import UserError

# EFBIG: the process may not write files of this size (ulimit -f), which asks for the same remedy.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What MXNet says when its file stream could not write.
_NO_ROOM_WORDS = ("FileStream.Write incomplete", "No space left on device")


@contextmanager
def durable_file(path: Path, *, part: Path, what: str, needed: int) -> Iterator[Path]:
    """Give `part` to be written, and put it into place at `path` when the block ends; without a trace if it raises.

    Raises UserError, which names `what`, if the disk has no room for the `needed` bytes.
    """
    free = shutil.disk_usage(path.parent).free
    try:
        with whole_file(path, part):
            yield part
    except BaseException as error:
        if not _is_full(error):
            raise
        reason = (
            "the disk is full" if free < needed else "a quota, or the limit on a file's size (ulimit -f), is reached"
        )
        raise UserError(
            f"{reason}: {what} in {path.parent} needs {needed:,} bytes, and {free:,} were free. What was "
            "there before is whole. Raise VolumeSizeInGB; outside SageMaker make room on that disk"
        ) from error


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    return isinstance(error, mx.base.MXNetError) and any(words in str(error) for words in _NO_ROOM_WORDS)
