"""What has to be the same on all hosts, and is compared before training on it is wrong."""

from collections.abc import Callable, Sequence
from typing import Any

from sagemaker_ssd.collectives import ProcessGroup
from sagemaker_ssd.errors import ProgramError, UserError


def check_devices(peers: ProcessGroup, devices: int) -> None:
    """Compare the numbers of devices, by which gradients are weighed; raises UserError."""
    found = peers.gather("the number of devices", devices)
    if len(set(found)) > 1:
        raise UserError(
            f"the hosts train on different numbers of devices: {_each(peers.hosts, found)}. Choose one instance type "
            "for all hosts"
        )


def check_starting_weights(peers: ProcessGroup, digest: Callable[[], str]) -> None:
    """Compare the weights before the first step; raises UserError. digest: gives this host's, on several hosts."""
    if not peers.several:
        return
    found = peers.gather("the weights at the start", digest())
    if len(set(found)) > 1:
        raise UserError(
            f"the hosts start from different weights: {_each(peers.hosts, _short(found))}. All hosts need the same "
            "image, and the same files in the channels model and pretrained (S3DistributionType FullyReplicated)"
        )


def check_weights(hosts: Sequence[str], digests: Sequence[str], epoch: int) -> None:
    """Compare the weights after an epoch; raises ProgramError."""
    if len(set(digests)) > 1:
        raise ProgramError(
            f"the hosts have different weights after epoch {epoch}: {_each(hosts, _short(digests))}. This is a bug of "
            "this program or of MXNet's parameter server; start the job again, or train on one host"
        )


def _short(digests: Sequence[str]) -> list[str]:
    return [digest[:12] for digest in digests]


def _each(hosts: Sequence[str], values: Sequence[Any]) -> str:
    return ", ".join(f"{host} {value}" for host, value in zip(hosts, values, strict=True))
