"""The job's two channels, checked and ready to be read."""

import logging
from pathlib import Path

from sagemaker_ssd.contract import Job
from sagemaker_ssd.contract.channels import DataChannel
from sagemaker_ssd.data import RecordFile, check_recordio, pack_images
from sagemaker_ssd.errors import UserError

_log = logging.getLogger(__name__)


def check_channels(job: Job, scratch: Path) -> tuple[RecordFile, RecordFile]:
    """Check train and validation, the faults of both told together; raises UserError."""
    files, faults = [], []
    for channel in (job.train, job.validation):
        try:
            files.append(_checked(channel, job, scratch))
        except UserError as error:
            faults.append(error.sentence)
    if faults:
        raise UserError("\n".join(faults))
    train, validation = files
    expected = job.hyperparameters.num_training_samples
    if expected != train.images:
        _log.warning(
            "num_training_samples is %d, but the train channel has %d images to train on; all of them are used",
            expected,
            train.images,
        )
    return train, validation


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
