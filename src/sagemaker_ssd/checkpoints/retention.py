"""Removes the checkpoints that are no longer needed: two are kept, and the arrays of the best epoch.

SageMaker removes from S3 what is removed here. So where it uploads the folder, a checkpoint is removed only once a
newer one is in S3 as a whole, and no file is removed while it is being uploaded. That has its limits: an upload can
stall for good, and must then cost neither the disk nor the job.
"""

import json
import logging
import shutil
from pathlib import Path
from typing import Final

from sagemaker_ssd.checkpoints.format import (
    has_uploads,
    is_uploaded,
    is_uploading,
    manifest_files,
    markers,
    parameter_files,
    partial_files,
)

_log = logging.getLogger(__name__)
# The newest, and one to go on from where the newest turns out to be broken.
_KEPT: Final = 2
# The most of the others that may wait for an upload, 1 or more: S3's newest, and some that are on their way.
_WAITING: Final = 3


def remove_superseded(
    folder: Path, epoch: int, *, downloaded: int | None = None, kept: int = _KEPT, waiting: int = _WAITING
) -> None:
    """Remove what the checkpoint of `epoch`, just written, has made superfluous; raises OSError.

    That includes checkpoints of later epochs: they could not be used, or the job would have gone on from them.
    downloaded: the epoch of the checkpoint that SageMaker put there from S3, without markers. kept: how many stay in
    every case; waiting: how many more at the most, which wait for an upload.
    """
    manifests = manifest_files(folder)
    earlier = [number for number in manifests if number < epoch]
    # In the order of their value to the next run.
    order = [epoch, *earlier, *(number for number in manifests if number > epoch)]
    needed = {number: _needed_files(folder, manifests[number]) for number in order}
    uploads = downloaded is not None or has_uploads(folder)
    in_s3 = [number for number in order if number == downloaded or _is_in_s3(manifests[number], needed[number])]
    # With more than these, uploads have stalled. The best that S3 has is then all that S3 will have.
    valuable = [*order[:kept], *(number for number in in_s3[:1] if number not in order[:kept])]
    others = [number for number in order if number not in valuable]
    most = {*valuable, *others[: kept + waiting - len(valuable)]}
    stay = {epoch, *earlier[: kept - 1]}
    for place, number in enumerate(order):
        if number in stay:
            continue
        safe = not uploads or any(better in in_s3 for better in order[:place])
        waits = number in most and (not safe or is_uploading(manifests[number]))
        # The manifest first: arrays without one are no checkpoint, a manifest without arrays would be a broken one.
        if waits or not _removed(manifests[number]):
            stay.add(number)
    _remove_unnamed_arrays(folder, set().union(*(needed[number] for number in stay)), most=kept + waiting)


def _remove_unnamed_arrays(folder: Path, named: set[Path], *, most: int) -> None:
    """Remove the arrays that no manifest names; of those that are being uploaded the newest of `most` in all stay."""
    arrays = parameter_files(folder)
    room = most - sum(path in named for path in arrays.values())
    for _, path in sorted(arrays.items(), reverse=True):
        if path in named:
            continue
        if room > 0 and is_uploading(path):
            room -= 1
            continue
        _removed(path)


def make_room(folder: Path, epoch: int, needed: int) -> None:
    """Remove checkpoints, the oldest first, until `needed` bytes are free for that of `epoch`; raises OSError.

    The newest one before `epoch` stays, whatever is missing.
    """
    manifests = manifest_files(folder)
    # Those of later epochs cannot be used, or the job would have gone on from them.
    order = [
        *sorted((number for number in manifests if number >= epoch), reverse=True),
        *sorted(number for number in manifests if number < epoch),
    ]
    stays = max((number for number in manifests if number < epoch), default=None)
    removable = [number for number in order if number != stays]
    there = set(order)
    while shutil.disk_usage(folder).free < needed:
        # Also what a run that was killed left without a manifest.
        named = set().union(*(_needed_files(folder, manifests[number]) for number in there))
        unnamed = [path for path in parameter_files(folder).values() if path not in named]
        if any(_removed(path) for path in unnamed):
            continue
        if not removable:
            return
        number = removable.pop(0)
        if _removed(manifests[number]):
            there.remove(number)
            _log.warning("The disk has little room left: the checkpoint of epoch %d is removed", number)


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
    """Remove a file, and with it the markers, which would be taken for those of a later file of its name."""
    try:
        path.unlink(missing_ok=True)
        for marker in markers(path):
            marker.unlink(missing_ok=True)
    except OSError as error:
        # The job goes on well with the file still there.
        _log.warning("An old checkpoint's file could not be removed: %s", error)
        return False
    return True
