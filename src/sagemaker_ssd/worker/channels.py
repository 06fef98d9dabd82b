"""The job's two channels, checked and ready to be read."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagemaker_ssd.contract import Job
from sagemaker_ssd.contract.channels import DataChannel
from sagemaker_ssd.contract.folder_faults import NO_SHARE
from sagemaker_ssd.data import Alone, Examiner, RecordFile, SharedOut, check_recordio, check_stream, pack_images
from sagemaker_ssd.data.findings import bytes_in_words, in_words
from sagemaker_ssd.errors import PlatformError, UserError
from sagemaker_ssd.worker.peers import Peers

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckedChannels:
    """The job's channels, ready to be read; `validation` is None on a host that does not evaluate."""

    train: RecordFile
    validation: RecordFile | None


def check_channels(job: Job, scratch: Path, peers: Peers) -> CheckedChannels:
    """Check train, and on the first host validation, which no other needs; raises UserError with the faults of both.

    Raises PlatformError when a stream does not come; what was found wrong before has precedence.
    """
    channels = (job.train, job.validation) if peers.is_first else (job.train,)
    examiners = (_examiner(job.train, peers), Alone())
    for channel in channels:
        _log.info("%s: %s mode, %s", channel.name, channel.mode, _delivered(channel))
    files, faults = [], []
    for channel, examiner in zip(channels, examiners, strict=False):
        try:
            files.append(_checked(channel, job, scratch, examiner))
        except UserError as error:
            faults.append(error.sentence)
        except PlatformError as error:
            if not faults:
                raise
            _log.error("%s", error.sentence)
    if faults:
        raise UserError("\n".join(faults))
    return CheckedChannels(files[0], files[1] if peers.is_first else None)


def _delivered(channel: DataChannel) -> str:
    """Say what is read and how."""
    if channel.mode == "Pipe":
        return "a stream, kept in a file while it is checked"
    if channel.annotations is not None:
        return "images with one JSON each, packed into one file while they are checked"
    search = channel.record_files()
    size = bytes_in_words(sum(file.stat().st_size for file in search.found))
    indexes = search.others[".idx"]
    return ", ".join(
        [
            f"{in_words(len(search.found), '.rec file', '.rec files')} of {size}",
            "copied while it is checked" if _copied(channel, search.found) else "read in place",
            *([f"{in_words(indexes, '.idx file', '.idx files')} not needed"] if indexes else []),
        ]
    )


def _copied(channel: DataChannel, files: Sequence[Path]) -> bool:
    # FastFile fetches from S3 what is read, and anew each time.
    return channel.mode == "FastFile" or len(files) > 1


def _examiner(train: DataChannel, peers: Peers) -> Examiner:
    """Share the images out where every host has all of them."""
    if not peers.several or any(peers.gather("who has all of train", train.sharded)):
        return Alone()
    _log.info("%s: each of %d hosts decodes its part of the images for the check", train.name, len(peers.hosts))

    def exchange(value: Any) -> list[Any]:
        return peers.gather("the check of train", value)

    return SharedOut(exchange, host=peers.index, hosts=len(peers.hosts))


def _checked(channel: DataChannel, job: Job, scratch: Path, examiner: Examiner) -> RecordFile:
    chosen = job.hyperparameters
    settings: dict[str, Any] = {
        "name": channel.name,
        "num_classes": chosen.num_classes,
        "scratch": scratch,
        "max_bad_images": chosen.max_bad_images,
        "label_width": chosen.label_width,
        "examiner": examiner,
        # For the files of the evaluation.
        "keep_names": channel.name == "validation",
    }
    if channel.mode == "Pipe":
        remedy = NO_SHARE if channel.sharded else "look at its S3Uri"
        return check_stream(channel.stream, patience=channel.pipe_seconds, if_empty=remedy, **settings)
    if channel.annotations is not None:
        return pack_images(channel.folder, channel.annotations, **settings)
    files = channel.record_files().found
    return check_recordio(files, copy=_copied(channel, files), **settings)
