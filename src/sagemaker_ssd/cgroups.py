"""The cgroups that limit this process: a container can have less than its machine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")
_MEMBERSHIP: Final = Path("/proc/self/cgroup")


def own_membership() -> str:
    """Read which cgroups this process is in, as proc(5) has it; "" where the system does not tell."""
    try:
        return _MEMBERSHIP.read_text()
    except OSError:
        return ""


def folders(controller: str, cgroups: Path, membership: str) -> Iterator[tuple[Path, int]]:
    """Yield the folder of every cgroup whose limit of a controller holds for a process, and the version of cgroups.

    controller: such as "cpu". cgroups: where they are mounted. membership: the process's own, as /proc/<pid>/cgroup
    has it. Source: the kernel's admin-guide/cgroup-v2 and cgroup-v1 documentation.
    """
    for line in membership.splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            yield from ((folder, 2) for folder in _with_parents(cgroups, group))
        elif controller in controllers.split(","):
            yield from ((folder, 1) for folder in _with_parents(cgroups / controller, group))


def words(file: Path) -> list[str]:
    """Read a file of a cgroup as words, none where it is not there."""
    try:
        return file.read_text().split()
    except OSError:
        return []


def _with_parents(root: Path, group: str) -> list[Path]:
    """Name the group's folder and those above it; in a container's own view the group is the root."""
    inner = root / group.lstrip("/")
    return [inner, *(parent for parent in inner.parents if parent.is_relative_to(root))]
