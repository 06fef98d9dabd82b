"""Which sentence an exception of the worker becomes."""

import contextlib
import errno
import os
import re
import signal
from collections.abc import Iterator
from typing import Final

from sagemaker_ssd.contract.hyperparameters import Hyperparameters
from sagemaker_ssd.contract.paths import WITH_A_CHECKPOINT
from sagemaker_ssd.errors import JobError, PlatformError, UserError, exhausted_memory, internal_error
from sagemaker_ssd.files import is_disk_full
from sagemaker_ssd.processes.exit_reason import asked_to_end

# Behind hyperparameters that are proposed to a job that writes checkpoints.
_FOR_OTHER_SETTINGS: Final = (
    f". For other settings, {WITH_A_CHECKPOINT}, perhaps with the best model so far as the model channel"
)
# What is proposed where clip_gradient is not set.
_CLIP_GRADIENT: Final = 5.0
# What matching with the objects of the most crowded image must take of a device, to be told where memory is too small.
_SUBSTANTIAL_BYTES: Final = 256 << 20
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


def explain(
    error: BaseException, workload: str, smaller_batch_size: int | None, *, writes_checkpoints: bool = False
) -> JobError:
    """Return the failure that an exception stands for.

    workload: what was being trained, for the reader of the sentence, such as "resnet-50 at 512 px, ...".
    smaller_batch_size: the mini_batch_size to propose where memory does not suffice, if any.
    """
    text = str(error)
    if isinstance(error, JobError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return asked_to_end("the training process", signal.SIGINT)
    smaller = f"Set mini_batch_size to {smaller_batch_size}, or choose" if smaller_batch_size else "Choose"
    exhausted = exhausted_memory(error)
    # Of `crowded_images_told`.
    notes = "".join(f". {note}" for note in getattr(error, "__notes__", ()))
    anew = _FOR_OTHER_SETTINGS if writes_checkpoints else ""
    if exhausted == "machine":
        return UserError(
            f"the machine ran out of memory with {workload}. {smaller} a smaller "
            f"image_shape or an instance type with more memory{notes}{anew}"
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
        return UserError(
            f"MXNet cannot hold an array that is needed with {workload}. {smaller} a smaller image_shape{anew}"
        )
    if exhausted == "GPU":
        return UserError(
            f"the GPU ran out of memory with {workload}. {smaller} a smaller "
            f"image_shape or an instance type with more GPU memory{notes}{anew}"
        )
    return internal_error(f"{type(error).__name__}: {_reason(text)}", of="this program or of MXNet")


@contextlib.contextmanager
def crowded_images_told(objects: int, bytes_of_device: int) -> Iterator[None]:
    """Where memory is too small inside, have `explain` tell of the training channel's most crowded image.

    objects: of that image. bytes_of_device: what they take there, of `matching_bytes`; little is not told.
    """
    try:
        yield
    # MXNetError is a RuntimeError.
    except (RuntimeError, MemoryError) as error:
        if exhausted_memory(error) is not None and bytes_of_device >= _SUBSTANTIAL_BYTES:
            error.add_note(
                f"{bytes_of_device / (1 << 30):.1f} GiB of each device are taken because one image of the train "
                f"channel has {objects} objects: they grow with that number, so that leaving out such images, or "
                "cutting them into several, helps too"
            )
        raise


def _reason(text: str) -> str:
    """Return the line that says what was wrong; MXNet puts a C++ trace before it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith("MXNetError:") or "Check failed" in line]
    return (telling or lines or [""])[0].removeprefix("MXNetError: ")[:400]


def diverged(
    what: str, learning_rate: float, hyperparameters: Hyperparameters, *, writes_checkpoints: bool = False
) -> UserError:
    """Return the failure of a training whose losses, parameters or predictions are not finite.

    what: which, and when. learning_rate: of that step, which a schedule or a warm-up may have made smaller than the
    hyperparameter; what to do is said of the hyperparameters.
    """
    asked, rate = hyperparameters, f"; learning rate {learning_rate:g}"
    ways = []
    if asked.optimizer == "adadelta":
        rate = ""
        ways.append("choose another optimizer, such as sgd (adadelta takes no learning_rate)")
    else:
        ways.append(f"lower learning_rate (it is {asked.learning_rate:g}: try {asked.learning_rate / 10:g})")
    if asked.clip_gradient is None:
        ways.append(f"limit the gradients with clip_gradient (it is not set: try {_CLIP_GRADIENT:g})")
    else:
        lower = min(_CLIP_GRADIENT, asked.clip_gradient / 10)
        ways.append(f"limit the gradients more with clip_gradient (it is {asked.clip_gradient:g}: try {lower:g})")
    if asked.optimizer != "adadelta" and asked.warmup_epochs == 0:
        ways.append("start slowly with warmup_epochs (it is 0: try 1)")
    elif asked.optimizer != "adadelta" and asked.warmup_epochs * 2 <= asked.epochs:
        ways.append(
            f"start more slowly with warmup_epochs (it is {asked.warmup_epochs}: try {asked.warmup_epochs * 2})"
        )
    advice = ", or ".join(ways)
    return UserError(
        f"training diverged: {what} (counted from 0{rate}). The model of the best epoch before it, if any, is kept. "
        f"{advice[0].upper()}{advice[1:]}{_FOR_OTHER_SETTINGS if writes_checkpoints else ''}"
    )
