"""How many processors this process may use: a container can have fewer than its machine."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_CGROUPS: Final = Path("/sys/fs/cgroup")
_MEMBERSHIP: Final = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Return the cores that affinity and the cgroups' CPU limits leave, 1 or more.

    A limit is rounded: a thread without a core of its own makes all others wait for it.
    """
    cores = len(os.sched_getaffinity(0))
    try:
        limits = list(cpu_limits(_CGROUPS, _MEMBERSHIP.read_text()))
    except OSError:
        limits = []
    return max(1, min([cores, *(int(limit + 0.5) for limit in limits)]))


def cpu_limits(cgroups: Path, membership: str) -> Iterator[float]:
    """Yield every limit in cores that holds for a process.

    cgroups: where the cgroups are mounted. membership: the process's own, as /proc/<pid>/cgroup has it.
    Source: the kernel's cgroup-v2 (cpu.max) and scheduler/sched-bwc (cpu.cfs_quota_us) documentation.
    """
    for line in membership.splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            for folder in _with_parents(cgroups, group):
                yield from _limit(_words(folder / "cpu.max"))
        elif "cpu" in controllers.split(","):
            for folder in _with_parents(cgroups / "cpu", group):
                yield from _limit([*_words(folder / "cpu.cfs_quota_us"), *_words(folder / "cpu.cfs_period_us")])


def _with_parents(root: Path, group: str) -> list[Path]:
    """Name the group's folder and those above it; in a container's own view the group is the root."""
    inner = root / group.lstrip("/")
    return [inner, *(parent for parent in inner.parents if parent.is_relative_to(root))]


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []


def _limit(words: list[str]) -> Iterator[float]:
    """Yield the quota over its period; "max" or -1 is none."""
    if len(words) == 2 and words[0] not in ("max", "-1") and float(words[1]) > 0:
        yield float(words[0]) / float(words[1])
