"""Which sentence an exception of the worker becomes."""

import errno
import os
import re
from typing import Final

from sagemaker_ssd.errors import JobError, PlatformError, UserError, exhausted_memory, internal_error
from sagemaker_ssd.files import is_disk_full

# MXNet's arrays hold less than 2^31 numbers.
_ARRAY_SIZE: Final = re.compile(r"larger than 2\^31 elements|USE_INT64_TENSOR_SIZE")
# ps-lite's check of its socket.
_CANNOT_LISTEN: Final = re.compile(r"Check failed: my_node_\.port.*bind failed")
# The errors that the person who gave the folders can mend.
_FOLDER_REMEDIES: Final = {
    errno.EACCES: "make it and the folders above it readable and writable for user {user}",
    errno.EPERM: "make it readable and writable for user {user}",
    errno.EROFS: "mount it writable",
    errno.EISDIR: "a file must be there: remove the folder",
    errno.ENOTDIR: "a folder must be there: remove the file",
}


def explain(error: BaseException, workload: str, mini_batch_size: int) -> JobError:
    """Return the failure that an exception stands for.

    workload: what was being trained, for the reader of the sentence, such as "resnet-50 at 512 px, ...".
    """
    text = str(error)
    if isinstance(error, JobError):
        return error
    smaller = f"Set mini_batch_size to {mini_batch_size // 2}, or choose" if mini_batch_size > 1 else "Choose"
    exhausted = exhausted_memory(error)
    if exhausted == "machine":
        return UserError(
            f"the machine ran out of memory with {workload}. {smaller} a smaller "
            "image_shape or an instance type with more memory"
        )
    if is_disk_full(error):
        where = f" while writing {error.filename}" if isinstance(error, OSError) and error.filename else ""
        return UserError(f"the disk is full{where}. Ask for a larger VolumeSizeInGB")
    if isinstance(error, OSError) and error.errno in _FOLDER_REMEDIES:
        remedy = _FOLDER_REMEDIES[error.errno].format(user=os.geteuid())
        place = error.filename or "a file or folder of the job"
        return UserError(f"{place} could not be read or written: {error.strerror}; {remedy}")
    if isinstance(error, OSError):
        return PlatformError(f"a file could not be read or written: {error}")
    if _CANNOT_LISTEN.search(text):
        return PlatformError(
            "MXNet's parameter server could not listen on the address of this host: its network is gone. Start the job "
            "again"
        )
    if _ARRAY_SIZE.search(text):
        return UserError(f"MXNet cannot hold an array that is needed with {workload}. {smaller} a smaller image_shape")
    if exhausted == "GPU":
        return UserError(
            f"the GPU ran out of memory with {workload}. {smaller} a smaller "
            "image_shape or an instance type with more GPU memory"
        )
    return internal_error(f"{type(error).__name__}: {_reason(text)}", of="this program or of MXNet")


def _reason(text: str) -> str:
    """Return the line that says what was wrong; MXNet puts a C++ trace before it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith("MXNetError:") or "Check failed" in line]
    return (telling or lines or [""])[0].removeprefix("MXNetError: ")[:400]
