"""The limits of cgroups, as the kernel writes them."""

from pathlib import Path

import pytest

from sagemaker_ssd.cores import cpu_limits, usable_cores


def limits(root: Path, files: dict[str, str], membership: str) -> list[float]:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return list(cpu_limits(root, membership))


@pytest.mark.parametrize(
    ("files", "membership", "expected"),
    [
        # A container of its own view, with --cpus 1.5.
        ({"cpu.max": "150000 100000\n"}, "0::/\n", [1.5]),
        ({"cpu.max": "max 100000\n"}, "0::/\n", []),
        # A limit of a slice above holds too.
        ({"a/b/cpu.max": "max 100000\n", "a/cpu.max": "200000 100000\n"}, "0::/a/b\n", [2.0]),
        # The first version of cgroups has a folder for each controller.
        (
            {"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            "5:memory:/\n4:cpu,cpuacct:/docker/0123\n0::/\n",
            [0.5],
        ),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, "4:cpu,cpuacct:/\n", []),
        ({}, "0::/no/such\n", []),
        ({}, "", []),
    ],
)
def test_limits(tmp_path: Path, files: dict[str, str], membership: str, expected: list[float]) -> None:
    assert limits(tmp_path, files, membership) == expected


def test_this_process_has_a_core() -> None:
    assert usable_cores() >= 1
