"""The memory that a container may still take, and freed memory given back to the system."""

import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sagemaker_ssd.cgroups import CGROUPS, folders, own_membership, words

_MACHINE: Final = Path("/proc/meminfo")


def available_memory() -> int:
    """Return the bytes that this process may still take: of the machine, and of every cgroup that it is in."""
    rooms = memory_rooms(CGROUPS, own_membership())
    return max(0, min([_machines_room(_MACHINE.read_text()), *rooms]))


def memory_rooms(cgroups: Path, membership: str) -> Iterator[int]:
    """Yield the bytes that every limit leaves a process; the arguments are those of `folders`.

    Copies of files that nobody has read a second time are not counted as used, since the kernel drops them first.
    Source: the kernel's cgroup-v2 (memory.max, memory.current, memory.stat) and cgroup-v1 (memory) documentation.
    """
    for folder, version in folders("memory", cgroups, membership):
        limit, used, dropped = (
            ("memory.max", "memory.current", "inactive_file")
            if version == 2
            else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        )
        amounts = [*words(folder / limit), *words(folder / used)]
        if len(amounts) == 2 and amounts[0] != "max":
            yield int(amounts[0]) - int(amounts[1]) + _amount(words(folder / "memory.stat"), dropped)


def trim_malloc() -> None:
    """Call malloc_trim(3).

    glibc learns to keep freed arrays of up to 32 MB for later ones, and what is left of them lies in pieces: hundreds
    of MB in a training. To forbid it from the start would cost 120 MB of page faults a step.
    """
    ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))


def _machines_room(meminfo: str) -> int:
    return _amount(meminfo.split(), "MemAvailable:") * 1024


def _amount(words: list[str], name: str) -> int:
    """Return the number behind a name, 0 where it is not there."""
    return int(words[words.index(name) + 1]) if name in words else 0
