"""How many processors this process may use: a container can have fewer than its machine."""

import os
from collections.abc import Iterator
from pathlib import Path

from sagemaker_ssd.cgroups import CGROUPS, folders, own_membership, words


def usable_cores() -> int:
    """Return the cores that affinity and the cgroups' CPU limits leave, 1 or more.

    A limit is rounded: a thread without a core of its own makes all others wait for it.
    """
    cores = len(os.sched_getaffinity(0))
    return max(1, min([cores, *(int(limit + 0.5) for limit in cpu_limits(CGROUPS, own_membership()))]))


def cpu_limits(cgroups: Path, membership: str) -> Iterator[float]:
    """Yield every limit in cores that holds for a process; the arguments are those of `folders`.

    Source: the kernel's cgroup-v2 (cpu.max) and scheduler/sched-bwc (cpu.cfs_quota_us) documentation.
    """
    for folder, version in folders("cpu", cgroups, membership):
        if version == 2:
            yield from _limit(words(folder / "cpu.max"))
        else:
            yield from _limit([*words(folder / "cpu.cfs_quota_us"), *words(folder / "cpu.cfs_period_us")])


def _limit(words: list[str]) -> Iterator[float]:
    """Yield the quota over its period; "max" or -1 is none."""
    if len(words) == 2 and words[0] not in ("max", "-1") and float(words[1]) > 0:
        yield float(words[0]) / float(words[1])
