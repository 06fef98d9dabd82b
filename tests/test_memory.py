"""What a container may still take, and what stays of freed arrays."""

import subprocess
import sys
from pathlib import Path

import pytest

from sagemaker_ssd.memory import available_memory, memory_rooms

# Arrays of 3.2 MB with small things between them, as a training leaves them behind.
FREES_ARRAYS = """
import numpy as np
from sagemaker_ssd.memory import trim_malloc

def kilobytes():
    return next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1]

taught = [np.ones(400_000) for _ in range(4)]
del taught
kept, arrays = [], []
for _ in range(100):
    arrays.append(np.ones(400_000))
    kept.append(bytes(2000))
del arrays
print(kilobytes())
trim_malloc()
print(kilobytes())
"""


def test_freed_arrays_go_back():
    done = subprocess.run([sys.executable, "-c", FREES_ARRAYS], capture_output=True, text=True, check=True, timeout=60)
    before, after = map(int, done.stdout.split())
    # 320 MB, which glibc would keep.
    assert before - after > 250_000


@pytest.mark.parametrize(
    ("files", "membership", "expected"),
    [
        # A container of its own view: a limit of 1000 bytes, of which 700 are used, 100 of them by copies of files.
        (
            {"memory.max": "1000\n", "memory.current": "700\n", "memory.stat": "anon 600\ninactive_file 100\n"},
            "0::/\n",
            [400],
        ),
        ({"memory.max": "max\n", "memory.current": "700\n"}, "0::/\n", []),
        # A slice above has less.
        (
            {
                "a/b/memory.max": "1000\n",
                "a/b/memory.current": "700\n",
                "a/memory.max": "2000\n",
                "a/memory.current": "1900\n",
            },
            "0::/a/b\n",
            [300, 100],
        ),
        # The first version: its own file, and that of the container's children counted as well.
        (
            {
                "memory/memory.limit_in_bytes": "1000\n",
                "memory/memory.usage_in_bytes": "700\n",
                "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 200\n",
            },
            "4:memory:/docker/0123\n0::/\n",
            [500],
        ),
        ({}, "0::/no/such\n", []),
    ],
)
def test_the_room_of_a_cgroup(tmp_path: Path, files: dict[str, str], membership: str, expected: list[int]):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert list(memory_rooms(tmp_path, membership)) == expected


def test_this_machine_has_room():
    total = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert 0 < available_memory() < total
