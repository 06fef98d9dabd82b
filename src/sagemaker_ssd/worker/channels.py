"""The job's two channels, checked and ready to be read."""

from dataclasses import dataclass
from pathlib import Path

from sagemaker_ssd.contract import Job
from sagemaker_ssd.contract.channels import DataChannel
from sagemaker_ssd.data import RecordFile, check_recordio, pack_images
from sagemaker_ssd.errors import UserError


@dataclass(frozen=True)
class CheckedChannels:
    """The job's channels, ready to be read; `validation` is None on a host that does not evaluate."""

    train: RecordFile
    validation: RecordFile | None


def check_channels(job: Job, scratch: Path) -> CheckedChannels:
    """Check train, and on the first host validation, which no other needs; raises UserError with the faults of both."""
    files, faults = [], []
    for channel in (job.train, job.validation) if job.cluster.is_first else (job.train,):
        try:
            files.append(_checked(channel, job, scratch))
        except UserError as error:
            faults.append(error.sentence)
    if faults:
        raise UserError("\n".join(faults))
    return CheckedChannels(files[0], files[1] if job.cluster.is_first else None)


def _checked(channel: DataChannel, job: Job, scratch: Path) -> RecordFile:
    chosen = job.hyperparameters
    if channel.annotations is None:
        return check_recordio(
            channel.record_file(),
            name=channel.name,
            num_classes=chosen.num_classes,
            scratch=scratch,
            max_bad_images=chosen.max_bad_images,
            label_width=chosen.label_width,
        )
    return pack_images(
        channel.folder,
        channel.annotations,
        name=channel.name,
        num_classes=chosen.num_classes,
        scratch=scratch,
        max_bad_images=chosen.max_bad_images,
        label_width=chosen.label_width,
    )
