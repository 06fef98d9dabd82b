"""Named arrays in MXNet's own file format, whole or with an error."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path

import mxnet as mx


def size_of(arrays: Mapping[str, mx.nd.NDArray]) -> int:
    """Return the bytes that the values of arrays take; their file is a little larger."""
    return sum(array.size * array.dtype().itemsize for array in arrays.values())


def save_arrays(path: Path, arrays: Mapping[str, mx.nd.NDArray]) -> None:
    """Write at least one array as mx.nd.save does; raises MXNetError or OSError when the disk is full."""
    mx.nd.save(str(path), dict(arrays))
    # MXNet does not see a failure of its last write. It writes the names after the values, and ends on the last name:
    # where that name stands, all of the file is there.
    ending = list(arrays)[-1].encode()
    with path.open("rb") as written:
        size = written.seek(0, os.SEEK_END)
        written.seek(max(0, size - len(ending)))
        if size < size_of(arrays) or written.read() != ending:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
