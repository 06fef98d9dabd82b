"""The job's data: both channels checked, and the training images shared out among the hosts, step by step."""

import dataclasses
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sagemaker_ssd.batches.shares import Shares, replicated_shares, sharded_shares
from sagemaker_ssd.channels.annotations import same_name
from sagemaker_ssd.channels.check import check_recordio
from sagemaker_ssd.channels.examination import DistributedExaminer, Examiner, LocalExaminer
from sagemaker_ssd.channels.findings import (
    COUNTED_FROM_0,
    CheckOptions,
    bad_images_fault,
    inverted_fault,
    no_box_fault,
)
from sagemaker_ssd.channels.image_files import pack_images
from sagemaker_ssd.channels.pipe import check_stream
from sagemaker_ssd.channels.record_file import CheckedImages, RecordFile
from sagemaker_ssd.collectives import ProcessGroup
from sagemaker_ssd.contract.channel_files import NO_SHARE
from sagemaker_ssd.contract.channels import DataChannel
from sagemaker_ssd.contract.environment import PIPE_VARIABLE
from sagemaker_ssd.contract.job import Job
from sagemaker_ssd.errors import PlatformError, UserError, bytes_in_words, in_words, shown
from sagemaker_ssd.progress import phase
from sagemaker_ssd.worker.metrics import channel_figures

_log = logging.getLogger(__name__)
# Classes that a warning names before it only counts the rest.
_MOST_NAMED: Final = 10


@dataclass(frozen=True)
class CheckedChannels:
    """The job's channels, ready to be read; `validation` is None on a host that does not evaluate."""

    train: RecordFile
    validation: RecordFile | None


def check_channels(job: Job, scratch: Path, group: ProcessGroup) -> CheckedChannels:
    """Check train, and on the first host validation, which no other needs; raises UserError with the faults of both.

    Raises PlatformError when a stream does not come; what was found wrong before has precedence.
    """
    channels = (job.train, job.validation) if group.is_first else (job.train,)
    examiners = (_examiner(job.train, group), LocalExaminer())
    for channel in channels:
        _log.info("%s: %s mode, %s", channel.name, channel.mode, _delivery(channel))
    files, faults = [], []
    for channel, examiner in zip(channels, examiners, strict=False):
        try:
            # The check itself counts the images that it has seen; this is for what comes before, and for an image, a
            # stream or a host that is waited for.
            with phase(f"The channel {channel.name} is being checked"):
                files.append(_checked(channel, job, scratch, examiner, several=group.several))
        except UserError as error:
            faults.append(error.sentence)
        except PlatformError as error:
            if not faults:
                raise
            _log.error("%s", error.sentence)
    if faults:
        raise UserError("\n".join(faults))
    return CheckedChannels(files[0], files[1] if group.is_first else None)


def _delivery(channel: DataChannel) -> str:
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
            "copied while it is checked" if _is_copied(channel, search.found) else "read in place",
            *([f"{in_words(indexes, '.idx file', '.idx files')} not needed"] if indexes else []),
        ]
    )


def _is_copied(channel: DataChannel, files: Sequence[Path]) -> bool:
    # FastFile fetches from S3 what is read, and anew each time.
    return channel.mode == "FastFile" or len(files) > 1


def _examiner(train: DataChannel, group: ProcessGroup) -> Examiner:
    """Share the images out where every host has all of them."""
    if not group.several or any(group.all_gather("who has all of train", train.sharded)):
        return LocalExaminer()
    _log.info("%s: each of %d hosts decodes its part of the images for the check", train.name, len(group.hosts))

    def exchange(value: Any) -> list[Any]:
        return group.all_gather("the check of train", value)

    return DistributedExaminer(exchange, host=group.rank, hosts=len(group.hosts))


def _checked(channel: DataChannel, job: Job, scratch: Path, examiner: Examiner, *, several: bool) -> RecordFile:
    options = CheckOptions(
        name=channel.name,
        num_classes=job.hyperparameters.num_classes,
        scratch=scratch,
        max_bad_images=job.hyperparameters.max_bad_images,
        label_width=job.hyperparameters.label_width,
        examiner=examiner,
        # For the files of the evaluation.
        keep_names=channel.name == "validation",
        scored=channel.name == "validation",
        # What is decided over the whole channel, `agree_on_shares` decides.
        sharded=several and channel.sharded,
        pairs_sharded=several and channel.pairs_sharded,
    )
    if channel.mode == "Pipe":
        return check_stream(
            channel.stream,
            options,
            patience=channel.pipe_seconds,
            patience_variable=PIPE_VARIABLE,
            if_empty=NO_SHARE if options.sharded else "look at its S3Uri",
        )
    if channel.annotations is not None:
        return pack_images(channel.folder, channel.annotations, options)
    files = channel.record_files().found
    return check_recordio(files, options, copy=_is_copied(channel, files))


def warn_of_unlearnable_classes(train: Sequence[int], validation: Sequence[int]) -> None:
    """Log which classes have boxes in `validation` and none in `train`; both: (num_classes,) boxes of each class."""
    unseen = [
        number for number, (learned, asked) in enumerate(zip(train, validation, strict=True)) if asked > learned == 0
    ]
    if unseen:
        named = ", ".join(f"class_id {number} ({validation[number]:,} boxes)" for number in unseen[:_MOST_NAMED])
        more = f" and {len(unseen) - _MOST_NAMED:,} more" if len(unseen) > _MOST_NAMED else ""
        _log.warning(
            "validation has boxes of classes that train never shows, so that they cannot be learned and lower the mAP: "
            "%s%s. Were the class ids given anew in one of the two?",
            named,
            more,
        )


def warn_of_differing_names(train: Mapping[int, str], validation: Mapping[int, str]) -> None:
    """Log which class ids have another name in `validation` than in `train`; both: what annotations call them."""
    different = [
        f"class_id {number} ({shown(train[number])} and {shown(validation[number])})"
        for number in sorted(train.keys() & validation.keys())
        if not same_name(train[number], validation[number])
    ]
    if different:
        _log.warning(
            "train and validation call class ids by different names, so that the mAP may compare different classes: "
            "%s%s. Were the class ids given anew in one of the two?",
            ", ".join(different[:_MOST_NAMED]),
            f" and {len(different) - _MOST_NAMED:,} more" if len(different) > _MOST_NAMED else "",
        )


def warn_of_same_images(train: Mapping[str, Any], validation: Mapping[str, Any]) -> None:
    """Log that `validation` holds exactly what `train` does; both: the figures of the whole channel."""
    if all(train[name] == validation[name] for name in ("images", "boxes", "checksum")):
        _log.warning(
            "validation holds exactly the images and boxes of train, so that the mAP says nothing of new images. Give "
            "each channel images of its own: below one S3Uri both get every file, so each needs a prefix or a file for "
            "itself"
        )


def agree_on_shares(job: Job, train: RecordFile, group: ProcessGroup) -> tuple[Shares, dict[str, Any]]:
    """Plan the epochs together with the other hosts; return the plan and the channel's figures over all hosts.

    Raises UserError where every host should have the whole channel and some differ, and where the parts together have
    no box, boxes in another order, or more images that cannot be used than max_bad_images allows.
    """
    hyperparameters = job.hyperparameters
    # Of the same file, or of the same images packed in the same order, the offsets are the same.
    digest = hashlib.sha256(train.offsets.tobytes()).hexdigest()
    own = {"sharded": group.several and job.train.sharded, "figures": channel_figures(train), "digest": digest}
    gathered = group.all_gather("the train channels", {"channel": own, "checked": dataclasses.asdict(train.checked)})
    channels = [of_host["channel"] for of_host in gathered]
    sharded = any(channel["sharded"] for channel in channels)
    if (
        group.several
        and any(channel != channels[0] for channel in channels)
        and not all(channel["sharded"] for channel in channels)
    ):
        raise UserError(_differences(group.hosts, channels))
    if sharded:
        checked = [CheckedImages(**of_host["checked"]) for of_host in gathered]
        _check_parts(group.hosts, checked, channels, hyperparameters.max_bad_images)
    images = [channel["figures"]["images"] for channel in channels]
    total = sum(images) if sharded else train.images
    if hyperparameters.num_training_samples != total:
        _log.warning(
            "num_training_samples is %d, but the train channel has %d images to train on; all of them are used",
            hyperparameters.num_training_samples,
            total,
        )
    # The only place that says what a host takes of a step: mini_batch_size images, or all where there are fewer.
    available = max(images) if sharded else -(-total // len(group.hosts))
    batch_size = min(hyperparameters.mini_batch_size, available)
    if sharded:
        shares = sharded_shares(images, host=group.rank, batch_size=batch_size)
    else:
        shares = replicated_shares(total, hosts=len(group.hosts), host=group.rank, batch_size=batch_size)
    if group.several:
        _log_plan(shares, total, group)
    return shares, _totals([channel["figures"] for channel in (channels if sharded else channels[:1])])


def _check_parts(
    hosts: tuple[str, ...], checked: list[CheckedImages], channels: list[dict[str, Any]], max_bad_images: float
) -> None:
    """Raise UserError where the parts of all hosts together are what one host's channel must not be."""
    together = CheckedImages(
        sum(of_host.images for of_host in checked),
        sum(of_host.bad for of_host in checked),
        "; ".join(f"{host}: {of_host.named}" for host, of_host in zip(hosts, checked, strict=True) if of_host.bad),
        sum(of_host.boxes for of_host in checked),
        sum(of_host.inverted for of_host in checked),
        next((f"{of_host.first_inverted}. {COUNTED_FROM_0}" for of_host in checked if of_host.inverted), ""),
    )
    faults = [bad_images_fault("train", together, max_bad_images), inverted_fault("train", together)]
    if not any(channel["figures"]["boxes"] for channel in channels):
        faults.append(no_box_fault("train", together.images))
    if found := [fault for fault in faults if fault]:
        raise UserError("\n".join(found))


def _totals(figures: list[dict[str, Any]]) -> dict[str, Any]:
    per_class = [sum(counts) for counts in zip(*(of_host["boxes_per_class"] for of_host in figures), strict=True)]
    totals = {name: sum(of_host[name] for of_host in figures) for name in figures[0] if name != "boxes_per_class"}
    return {name: per_class if name == "boxes_per_class" else totals[name] for name in figures[0]}


def _differences(hosts: tuple[str, ...], channels: list[dict[str, Any]]) -> str:
    there = ", ".join(
        f"{host} has {channel['figures']['images']} images and {channel['figures']['boxes']} boxes"
        + (" (ShardedByS3Key)" if channel["sharded"] else "")
        for host, channel in zip(hosts, channels, strict=True)
    )
    if all(_counts(channel) == _counts(channels[0]) for channel in channels):
        there += ": as many, but not the same files"
    return (
        f"the hosts were given different train channels: {there}. With S3DistributionType FullyReplicated every host "
        "must have the same files; set it to ShardedByS3Key on all hosts where each is to train on a part of its own"
    )


def _counts(channel: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in channel["figures"].items() if name != "checksum"}


def _log_plan(shares: Shares, total: int, group: ProcessGroup) -> None:
    own = shares.sizes[:, shares.host]
    _log.info(
        "%d images on %d hosts: an epoch has %d steps of up to %d images, %d of this host's %d",
        *(total, len(group.hosts), shares.steps, max(shares.totals), max(own), shares.images),
    )
    without = int((own == 0).sum())
    if without == shares.steps:
        _log.warning(
            "this host has no image in any step of an epoch: train has %s for %d hosts. It makes the steps with the "
            "others' images alone and gains the job nothing: use fewer hosts",
            *(in_words(total, "image", "images"), len(group.hosts)),
        )
    elif without:
        _log.warning(
            "this host has no images for the last %d of the %d steps: it makes them with the others' images alone",
            *(without, shares.steps),
        )
