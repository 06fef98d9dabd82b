"""What has to be the same on all hosts, and is compared before anything wrong is trained."""

from collections.abc import Callable, Sequence

from sagemaker_ssd.collectives import ProcessGroup
from sagemaker_ssd.errors import ProgramError, UserError


def check_devices(group: ProcessGroup, devices: int) -> None:
    """Compare the numbers of devices, by which gradients are weighted; raises UserError."""
    found: list[int] = group.all_gather("the number of devices", devices)
    if len(set(found)) > 1:
        raise UserError(
            f"the hosts train on different numbers of devices: {_by_host(group.hosts, found)}. Choose one instance "
            "type for all hosts, or, for a heterogeneous cluster, instance types with the same number of GPUs"
        )


def check_starting_weights(group: ProcessGroup, digest: Callable[[], str]) -> None:
    """Compare the weights before the first step; raises UserError. digest: gives this host's, on several hosts."""
    if not group.several:
        return
    digests: list[str] = group.all_gather("the weights at the start", digest())
    if len(set(digests)) > 1:
        raise UserError(
            f"the hosts start from different weights: {_by_host(group.hosts, _shortened(digests))}. All hosts need the "
            "same image, and the same files in the channels model and pretrained (S3DistributionType FullyReplicated)"
        )


def check_weights(hosts: Sequence[str], digests: Sequence[str], epoch: int) -> None:
    """Compare the weights after an epoch; raises ProgramError."""
    if len(set(digests)) > 1:
        raise ProgramError(
            f"the hosts have different weights after epoch {epoch}: {_by_host(hosts, _shortened(digests))}. This is a "
            "bug of this program or of MXNet's parameter server; start the job again, or train on one host"
        )


def _shortened(digests: Sequence[str]) -> list[str]:
    return [digest[:12] for digest in digests]


def _by_host(hosts: Sequence[str], values: Sequence[object]) -> str:
    return ", ".join(f"{host} {value}" for host, value in zip(hosts, values, strict=True))
