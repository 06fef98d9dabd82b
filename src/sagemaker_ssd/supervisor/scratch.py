"""The job's own folder for temporary files."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sagemaker_ssd.errors import UserError
from sagemaker_ssd.files import TEMPORARY_FOLDER_REMEDY

_PREFIX = "sagemaker-ssd-"
# A folder that is being made; the name that others sweep comes when it is locked.
_NEW_PREFIX = "new-sagemaker-ssd-"
_LOCK = "lock"


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder in TMPDIR, else /tmp, and remove it at the end.

    Folders that killed jobs left there are removed first. Raises UserError when none can be made.
    """
    parent = Path(os.environ.get("TMPDIR") or "/tmp")  # not tempfile's: it goes elsewhere without a word
    _sweep(parent)
    try:
        folder, lock = _make(parent)
    except OSError as error:
        raise UserError(
            f"cannot write temporary files below {parent}: {error.strerror}. Make room there, {TEMPORARY_FOLDER_REMEDY}"
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _make(parent: Path) -> tuple[Path, int]:
    new = Path(tempfile.mkdtemp(prefix=_NEW_PREFIX, dir=parent))
    try:
        lock = os.open(new / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
        # Held as long as this process lives, however it ends: an unlocked folder belongs to nobody.
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return new.rename(parent / new.name.removeprefix("new-")), lock
    except OSError:
        shutil.rmtree(new, ignore_errors=True)
        raise


def _sweep(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        # What cannot be looked at, or belongs to a running job, stays.
        with contextlib.suppress(OSError):
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
