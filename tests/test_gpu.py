"""Which GPUs the GPU image accepts, from what nvidia-smi says; nvidia-smi is a script on PATH."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sagemaker_ssd.errors import PlatformError, UserError
from sagemaker_ssd.gpu import Card, check_cards, check_driver, count_gpus, read_cards, unsupported

# What nvidia-smi answers to name,compute_cap with --format=csv,noheader.
ACCEPTED = {
    "p3": "Tesla V100-SXM2-16GB, 7.0",
    "g4dn": "Tesla T4, 7.5",
    "p4d": "NVIDIA A100-SXM4-40GB, 8.0",
    "g5": "NVIDIA A10G, 8.6",
    "g6": "NVIDIA L4, 8.9",
    "a laptop": "NVIDIA GeForce GTX 960M, 5.0",
}
REFUSED = {
    "p2": ("Tesla K80, 3.7", "Tesla K80 (compute capability 3.7)"),
    "p5": ("NVIDIA H100 80GB HBM3, 9.0", "NVIDIA H100 80GB HBM3 (compute capability 9.0)"),
    "two digits": ("NVIDIA B200, 10.0", "NVIDIA B200 (compute capability 10.0)"),
    "p2 with a driver that does not tell": ("Tesla K80", "Tesla K80 (compute capability 3.7)"),
    "a comma in the name": ("Quadro K600, special, 3.0", "Quadro K600, special (compute capability 3.0)"),
}


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a script named nvidia-smi first on PATH."""

    def write(body: str) -> None:
        script = tmp_path / "nvidia-smi"
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return write


@pytest.mark.parametrize("row", ACCEPTED)
def test_supported(row: str):
    cards = read_cards(ACCEPTED[row] + "\n")
    assert cards[0].capability is not None
    assert unsupported(cards) is None


@pytest.mark.parametrize("row", REFUSED)
def test_unsupported_cards_are_named_with_the_families_that_work(row: str):
    text, named = REFUSED[row]
    sentence = unsupported(read_cards(text)) or ""
    assert named in sentence
    for part in ("ml.p3, ml.g4dn, ml.p4d, ml.g5 or ml.g6", "not ml.p2 or ml.p5", "5.0 to 8.9", "sagemaker-ssd:cpu"):
        assert part in sentence


def test_eight_equal_cards_are_named_once():
    sentence = unsupported(read_cards("NVIDIA H100, 9.0\n" * 8)) or ""
    assert sentence.count("NVIDIA H100") == 1


def test_one_wrong_card_among_right_ones_is_the_one_named():
    sentence = unsupported(read_cards("Tesla T4, 7.5\nNVIDIA H100, 9.0\n")) or ""
    assert "H100" in sentence
    assert "T4" not in sentence


@pytest.mark.parametrize("text", ["Tesla T4, [N/A]", "Tesla T4, [Not Supported]", "Tesla T4"])
def test_a_capability_that_is_not_told_is_not_held_against_a_card(text: str):
    assert read_cards(text) == [Card("Tesla T4", None)]
    assert unsupported(read_cards(text)) is None


def test_nvidia_smi_is_asked(nvidia_smi: Callable[[str], None]):
    nvidia_smi('test "$*" = "--query-gpu=name,compute_cap --format=csv,noheader" && echo "NVIDIA H100 PCIe, 9.0"')
    with pytest.raises(UserError, match=r"NVIDIA H100 PCIe \(compute capability 9\.0\)"):
        check_cards(1)
    nvidia_smi('echo "NVIDIA A10G, 8.6"')
    check_cards(1)


def test_a_driver_that_refuses_compute_cap_is_asked_for_names(nvidia_smi: Callable[[str], None]):
    nvidia_smi('case $1 in *compute_cap*) echo "Field is not a valid field to query."; exit 2 ;; esac; echo Tesla K80')
    with pytest.raises(UserError, match="Tesla K80"):
        check_cards(1)


def test_no_gpu_beside_a_driver(nvidia_smi: Callable[[str], None]):
    nvidia_smi("exit 9")
    with pytest.raises(UserError, match="nvidia-smi finds no GPU on this machine: choose an instance type with a GPU"):
        check_cards(0)


def test_a_gpu_that_hangs_ends_the_job_within_the_deadline(nvidia_smi: Callable[[str], None]):
    nvidia_smi("exec sleep 30")
    with pytest.raises(PlatformError, match=r"no answer in 0\.2 seconds.* another instance"):
        check_cards(1, deadline_seconds=0.2)


# What nvidia-smi leaves behind in its driver is not reached by a kill of the script: here, it has a session of its own.
UNREACHED = "setsid sleep 20 & sleep 20"


def test_what_cannot_be_killed_is_not_waited_for(nvidia_smi: Callable[[str], None], tmp_path: Path):
    nvidia_smi(UNREACHED)
    begin = time.monotonic()
    with pytest.raises(PlatformError, match=r"no answer in 0\.5 seconds"):
        check_cards(1, deadline_seconds=0.5)
    with pytest.raises(PlatformError, match=r"no answer in 1 seconds"):
        count_gpus(tmp_path, deadline_seconds=1)
    assert time.monotonic() - begin < 10


def test_a_stop_is_answered_while_the_gpus_are_asked(nvidia_smi: Callable[[str], None], tmp_path: Path):
    nvidia_smi(UNREACHED)
    begin = time.monotonic()

    def stopping() -> bool:
        return time.monotonic() - begin > 1

    assert count_gpus(tmp_path, stopping=stopping) is None
    check_cards(1, stopping=stopping)
    assert time.monotonic() - begin < 8


@pytest.mark.parametrize("name", ["calendar", "queue", "json"])
def test_the_gpus_are_counted_whatever_the_folder_holds(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / f"{name}.py").write_text("raise SystemExit(99)")
    monkeypatch.chdir(tmp_path)
    assert count_gpus(tmp_path / "scratch") is not None


def test_a_driver_that_cannot_be_loaded():
    with pytest.raises(UserError) as caught:
        check_driver("libcuda_of_no_machine.so.1")
    for part in ("this is the GPU image", "no NVIDIA driver", "ml.g4dn", "docker run --gpus all", "sagemaker-ssd:cpu"):
        assert part in caught.value.sentence
    assert "\n" not in caught.value.sentence
