"""Shares the training images out among the hosts."""

import hashlib
import logging

from sagemaker_ssd.contract import Job
from sagemaker_ssd.data import RecordFile, Shares, replicated_shares, sharded_shares
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.worker.peers import Peers

_log = logging.getLogger(__name__)


def agree_on_shares(job: Job, train: RecordFile, peers: Peers) -> Shares:
    """Plan the epochs together with the other hosts.

    Raises UserError where every host should have the whole channel and some differ.
    """
    chosen = job.hyperparameters
    sharded = peers.several and job.train.sharded
    # Of the same file, or of the same images packed in the same order, the offsets are the same.
    digest = hashlib.sha256(train.offsets.tobytes()).hexdigest()
    channels = peers.gather("the train channels", [train.images, train.boxes, digest])
    images = [count for count, _, _ in channels]
    if not sharded and any(channel != channels[0] for channel in channels):
        raise UserError(_differ(peers.hosts, channels))
    total = sum(images) if sharded else train.images
    if chosen.num_training_samples != total:
        _log.warning(
            "num_training_samples is %d, but the train channel has %d images to train on; all of them are used",
            chosen.num_training_samples,
            total,
        )
    if sharded:
        batch_size = min(chosen.mini_batch_size, max(images))
        shares = sharded_shares(images, host=peers.index, batch_size=batch_size)
    else:
        batch_size = min(chosen.mini_batch_size, -(-total // len(peers.hosts)))
        shares = replicated_shares(total, hosts=len(peers.hosts), host=peers.index, batch_size=batch_size)
    if peers.several:
        _tell(shares, total, peers)
    return shares


def _differ(hosts: tuple[str, ...], channels: list[list[object]]) -> str:
    there = ", ".join(
        f"{host} has {images} images and {boxes} boxes"
        for host, (images, boxes, _) in zip(hosts, channels, strict=True)
    )
    return (
        f"the hosts were given different train channels: {there}. With S3DistributionType FullyReplicated every host "
        "must have the same files; set it to ShardedByS3Key where each host is to train on a part of its own"
    )


def _tell(shares: Shares, total: int, peers: Peers) -> None:
    own = shares.sizes[:, shares.host]
    _log.info(
        "%d images on %d hosts: an epoch has %d steps of up to %d images, %d of this host's %d",
        *(total, len(peers.hosts), shares.steps, max(shares.totals), max(own), shares.images),
    )
    without = int((own == 0).sum())
    if without:
        _log.warning(
            "this host has no images for the last %d of the %d steps: it makes them with the others' images alone",
            *(without, shares.steps),
        )
