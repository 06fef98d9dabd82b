"""Shares the training images out among the hosts."""

import hashlib
import logging
from typing import Any

from sagemaker_ssd.contract import Job
from sagemaker_ssd.data import RecordFile, Shares, replicated_shares, sharded_shares
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.worker.metrics import channel_figures
from sagemaker_ssd.worker.peers import Peers

_log = logging.getLogger(__name__)


def agree_on_shares(job: Job, train: RecordFile, peers: Peers) -> tuple[Shares, dict[str, Any]]:
    """Plan the epochs together with the other hosts; return the plan and the channel's figures over all hosts.

    Raises UserError where every host should have the whole channel and some differ.
    """
    chosen = job.hyperparameters
    channels = peers.gather("the train channels", _description(train, sharded=peers.several and job.train.sharded))
    sharded = any(channel["sharded"] for channel in channels)
    if (
        peers.several
        and any(channel != channels[0] for channel in channels)
        and not all(channel["sharded"] for channel in channels)
    ):
        raise UserError(_differ(peers.hosts, channels))
    images = [channel["figures"]["images"] for channel in channels]
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
    return shares, _sum([channel["figures"] for channel in (channels if sharded else channels[:1])])


def _description(train: RecordFile, *, sharded: bool) -> dict[str, Any]:
    # Of the same file, or of the same images packed in the same order, the offsets are the same.
    digest = hashlib.sha256(train.offsets.tobytes()).hexdigest()
    return {"sharded": sharded, "figures": channel_figures(train), "digest": digest}


def _sum(figures: list[dict[str, Any]]) -> dict[str, Any]:
    per_class = [sum(counts) for counts in zip(*(of_host["boxes_per_class"] for of_host in figures), strict=True)]
    totals = {name: sum(of_host[name] for of_host in figures) for name in figures[0] if name != "boxes_per_class"}
    return {name: per_class if name == "boxes_per_class" else totals[name] for name in figures[0]}


def _differ(hosts: tuple[str, ...], channels: list[dict[str, Any]]) -> str:
    there = ", ".join(
        f"{host} has {channel['figures']['images']} images and {channel['figures']['boxes']} boxes"
        + (" (ShardedByS3Key)" if channel["sharded"] else "")
        for host, channel in zip(hosts, channels, strict=True)
    )
    if all(channel["figures"] == channels[0]["figures"] for channel in channels):
        there += ": as many, but not the same files"
    return (
        f"the hosts were given different train channels: {there}. With S3DistributionType FullyReplicated every host "
        "must have the same files; set it to ShardedByS3Key on all hosts where each is to train on a part of its own"
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
