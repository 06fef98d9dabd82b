"""The machine's GPUs: how many there are, and whether the GPU image's MXNet can run on them."""

import ctypes
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sagemaker_ssd.errors import PlatformError, UserError
from sagemaker_ssd.processes.answers import ask
from sagemaker_ssd.version import is_gpu_build

FAMILIES: Final = "ml.p3, ml.g4dn, ml.p4d, ml.g5 or ml.g6"
CPU_IMAGE: Final = "the CPU image, sagemaker-ssd:cpu"
DRIVER: Final = "libcuda.so.1"
# Where the GPU image has a library in the driver's place that knows of no GPU; .ci/image/install_packages.sh makes it.
_STAND_IN: Final = Path(sys.prefix) / "lib" / "driver-stand-in"
_LOADER_PATH: Final = "LD_LIBRARY_PATH"
# The library of mxnet-cu112 1.9.1 holds machine code for 5.0, 6.0, 7.0, 8.0 and 8.6, and none that a driver could
# translate (PTX). Machine code runs on cards of its own major version and of the same or a higher minor version.
_MAJOR_VERSIONS: Final = range(5, 9)
# Of the cards whose drivers do not tell the capability, the one that no instance but p2 has.
_CAPABILITY_BY_NAME: Final = {"K80": (3, 7)}
# For CUDA 11, by the table of its release notes. MXNet counts no GPU where the driver is older.
_OLDEST_DRIVER: Final = "450.80.02"
_COUNT_GPUS: Final = "from sagemaker_training.environment import num_gpus; print(num_gpus())"


@dataclass(frozen=True)
class Card:
    """A GPU; `capability` is its compute capability, None where the driver does not tell."""

    name: str
    capability: tuple[int, int] | None


def driver_fault(library: str = DRIVER) -> str | None:
    """Return why the NVIDIA driver's `library` cannot be loaded, in the loader's words; None where it can."""
    try:
        ctypes.CDLL(library)
    except OSError as error:
        return str(error)
    return None


def check_driver(library: str = DRIVER) -> None:
    """Raise UserError where the NVIDIA driver's `library` cannot be loaded."""
    fault = driver_fault(library)
    if fault is not None:
        raise UserError(
            f"this is the GPU image, and no NVIDIA driver was found ({fault}): choose an instance type with a GPU, of "
            f"the families {FAMILIES}; or start the container with `docker run --gpus all`; or use {CPU_IMAGE}"
        )


def stand_in_environment(environment: Mapping[str, str]) -> dict[str, str] | None:
    """Return the variables with which a child process computes on processors in the GPU image without a driver.

    They put the driver's stand-in before what `environment` has on the loader's path. None where there is no stand-in,
    as outside of the image.
    """
    if not (_STAND_IN / DRIVER).exists():
        return None
    return {_LOADER_PATH: os.pathsep.join(filter(None, (str(_STAND_IN), environment.get(_LOADER_PATH))))}


def use_stand_in() -> None:
    """Let this process and its children compute on processors in the GPU image without a driver, before MXNet's import.

    Without effect where the driver is, in other images and outside of images.
    """
    if not is_gpu_build() or driver_fault() is None:
        return
    variables = stand_in_environment(os.environ)
    if variables is not None:
        os.environ.update(variables)
        # The loader takes it for the driver by its name; it read the variables when this process began.
        ctypes.CDLL(str(_STAND_IN / DRIVER))


def count_gpus(
    scratch: Path, *, stopping: Callable[[], bool] = lambda: False, deadline_seconds: float = 120
) -> int | None:
    """Count the machine's GPUs, as sagemaker-training does.

    Asked in a child process: importing sagemaker_training takes part of a second, makes a folder `code` below its
    base directory (here `scratch`, so that a read-only one does not matter), and runs nvidia-smi without a deadline.
    Returns None as soon as `stopping` says so. Raises PlatformError when there is no answer in time.
    """
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(scratch)}
    command = [sys.executable, "-P", "-c", _COUNT_GPUS]
    try:
        answer = ask(command, seconds=deadline_seconds, environment=environment, stopping=stopping)
    except TimeoutError as error:
        raise _hanging_driver(deadline_seconds) from error
    if answer is None:
        return None
    if answer.returncode != 0:
        reason = answer.stderr.strip()[-300:] or f"exit code {answer.returncode}"
        raise PlatformError(f"could not ask sagemaker-training for the GPUs: {reason}")
    return int(answer.stdout.split()[-1])


def check_cards(gpus: int, *, stopping: Callable[[], bool] = lambda: False, deadline_seconds: float = 60) -> None:
    """Raise UserError where there are no GPUs or one that the GPU image cannot use.

    Returns as soon as `stopping` says so. Raises PlatformError when nvidia-smi gives no answer in time.
    """
    if gpus == 0:
        raise UserError(
            "this is the GPU image, and nvidia-smi finds no GPU on this machine: choose an instance type with a GPU, "
            f"of the families {FAMILIES}, or use {CPU_IMAGE}"
        )
    sentence = unsupported(_query_cards(deadline_seconds, stopping))
    if sentence is not None:
        raise UserError(sentence)


def _query_cards(deadline_seconds: float, stopping: Callable[[], bool]) -> list[Card]:
    # Drivers before 510 refuse a question for compute_cap.
    for fields in ("name,compute_cap", "name"):
        try:
            command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"]
            answer = ask(command, seconds=deadline_seconds, stopping=stopping)
        except TimeoutError as error:
            raise _hanging_driver(deadline_seconds) from error
        if answer is None:
            return []
        if answer.returncode == 0:
            return read_cards(answer.stdout)
    return []


def read_cards(text: str) -> list[Card]:
    """Read `nvidia-smi --query-gpu=name,compute_cap --format=csv,noheader`, or the same with the name alone."""
    cards = []
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, last = line.rpartition(", ")
        major, point, minor = last.partition(".")
        if name and point and major.isdecimal() and minor.isdecimal():
            cards.append(Card(name, (int(major), int(minor))))
        else:
            # `[N/A]` and the like stand for a capability that the driver does not tell.
            name = name if name and last.startswith("[") else line
            known = [capability for part, capability in _CAPABILITY_BY_NAME.items() if part in name]
            cards.append(Card(name, known[0] if known else None))
    return cards


def unsupported(cards: Sequence[Card]) -> str | None:
    """Return the sentence about the cards that the GPU image cannot use, None without such cards."""
    wrong = {
        f"{card.name} (compute capability {card.capability[0]}.{card.capability[1]})"
        for card in cards
        if card.capability is not None and card.capability[0] not in _MAJOR_VERSIONS
    }
    if not wrong:
        return None
    return (
        f"MXNet 1.9.1 cannot use this machine's GPU, {' and '.join(sorted(wrong))}; it was built for compute "
        f"capability {_MAJOR_VERSIONS[0]}.0 to {_MAJOR_VERSIONS[-1]}.9: choose an instance type of the families "
        f"{FAMILIES} (not ml.p2 or ml.p5), or use {CPU_IMAGE}"
    )


def unseen(listed: str, seen: int) -> str:
    """Say that MXNet sees fewer GPUs than the driver lists, and what to look at; listed: which those are."""
    return (
        f"the driver lists {listed}, and MXNet sees {seen}: look at CUDA_VISIBLE_DEVICES, and at the driver, which "
        f"must be {_OLDEST_DRIVER} or newer"
    )


def _hanging_driver(seconds: float) -> PlatformError:
    """Return the failure of a GPU that does not answer."""
    return PlatformError(
        f"nvidia-smi gave no answer in {seconds:g} seconds, so the GPU or its driver hangs: start the job again on "
        "another instance"
    )
