"""Removes the checkpoints that are no longer needed: two are kept, and the arrays of the best epoch.

SageMaker removes from S3 what is removed here. So where it uploads the folder, a checkpoint is removed only once a
newer one is in S3 as a whole, and no file is removed while it is being uploaded.
"""

import json
import logging
from pathlib import Path
from typing import Final

from sagemaker_ssd.checkpoints.format import (
    has_uploads,
    is_uploaded,
    is_uploading,
    manifest_files,
    parameter_files,
    partial_files,
)

_log = logging.getLogger(__name__)
# The newest, and one to go on from where the newest turns out to be broken.
_KEPT: Final = 2


def remove_superseded(folder: Path, epoch: int) -> None:
    """Remove what the checkpoint of `epoch`, just written, has made superfluous; raises OSError.

    That includes checkpoints of later epochs: they could not be used, or the job would have gone on from them.
    """
    manifests = manifest_files(folder)
    earlier = [number for number in manifests if number < epoch]
    # In the order of their value to the next run.
    order = [epoch, *earlier, *(number for number in manifests if number > epoch)]
    needed = {number: _needed_files(folder, manifests[number]) for number in order}
    uploads = has_uploads(folder)
    kept = {epoch, *earlier[: _KEPT - 1]}
    for place, number in enumerate(order):
        path = manifests[number]
        if number in kept:
            continue
        safe = not uploads or any(_is_in_s3(manifests[better], needed[better]) for better in order[:place])
        # The manifest first: arrays without one are no checkpoint, a manifest without arrays would be a broken one.
        if not safe or not _removed(path):
            kept.add(number)
    named = set().union(*(needed[number] for number in kept))
    for path in parameter_files(folder).values():
        if path not in named:
            _removed(path)


def remove_partial_files(folder: Path) -> None:
    """Remove what a run that was killed had only begun to write; raises OSError."""
    for path in partial_files(folder):
        _removed(path)


def _needed_files(folder: Path, manifest: Path) -> set[Path]:
    """Return the files that a manifest names; none where it cannot be read."""
    try:
        return {folder / Path(name).name for name in json.loads(manifest.read_text("utf-8"))["files"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()


def _is_in_s3(manifest: Path, needed: set[Path]) -> bool:
    return bool(needed) and all(is_uploaded(path) for path in (manifest, *needed))


def _removed(path: Path) -> bool:
    if is_uploading(path):
        return False
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        # The job goes on well with the file still there.
        _log.warning("An old checkpoint's file could not be removed: %s", error)
        return False
    return True
