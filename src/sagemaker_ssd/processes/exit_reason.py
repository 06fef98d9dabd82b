"""Why a child process ended, as a sentence."""

import re
import signal
from collections.abc import Mapping
from typing import Final

from sagemaker_ssd.errors import (
    JobError,
    PlatformError,
    UserError,
    exhausted_memory_in,
    internal_error,
    reported_error,
)

# By these another program, or a person, asks a process to end.
_REQUESTS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
# Where Python says at what line each thread was when a signal ended the process.
_STACKS: Final = "Fatal Python error:"


def exit_failure(
    process: str, returncode: int, report: Mapping[str, object] | None, stderr_tail: str, memory_remedy: str
) -> JobError | None:
    """Return the failure that an ended `process` stands for, or None when it has done its work.

    returncode: as subprocess gives it, negative for a signal. report: what the process said of its end, which counts
    more than a crash while its libraries are unloaded. memory_remedy: what to do where the machine had run out of
    memory.
    """
    if report is not None:
        if report.get("exit_code") == 0:
            return None
        return reported_error(report.get("exit_code"), str(report.get("sentence")))
    return unreported_exit(process, returncode, stderr_tail, memory_remedy)


def unreported_exit(process: str, returncode: int, stderr_tail: str, memory_remedy: str) -> JobError:
    """Return the failure of a `process` that ended before its work was done and did not say why."""
    if returncode == -signal.SIGKILL:
        return PlatformError(
            f"{process} was killed by signal 9 (SIGKILL). Nearly always the machine had run out of memory: "
            f"{memory_remedy}, or choose an instance type with more memory"
        )
    if -returncode in _REQUESTS:
        return asked_to_end(process, -returncode)
    # MXNet aborts where memory is short outside of an operator, such as for a GPU's stream.
    exhausted = exhausted_memory_in(stderr_tail) if returncode == -signal.SIGABRT else None
    if exhausted == "GPU":
        return UserError(
            f"{process} found too little free memory on the GPU{last_words(stderr_tail)}. Another process may hold it "
            f"(nvidia-smi lists them): end that one, or {memory_remedy}, or choose an instance type with more GPU "
            "memory"
        )
    if exhausted == "machine":
        return UserError(
            f"{process} got no memory from the machine{last_words(stderr_tail)}: {memory_remedy}, or choose an "
            "instance type with more memory"
        )
    if returncode < 0:
        return internal_error(
            f"{process} crashed with signal {-returncode} ({_signal_name(-returncode)}) in native code"
            f"{last_words(stderr_tail)}",
            of="this program or of MXNet, not of your data or settings",
        )
    return internal_error(
        f"{process} ended with exit code {returncode} before its work was done{last_words(stderr_tail)}"
    )


def asked_to_end(process: str, number: int) -> PlatformError:
    """Return the failure of a process that was asked to end by a signal, and not by the program that started it."""
    return PlatformError(
        f"{process} was ended by signal {number} ({_signal_name(number)}), which another program sent to it alone. To "
        "stop this program, send SIGTERM to its first process (process 1 of a container, as `docker stop` does)"
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"


def last_words(stderr_tail: str) -> str:
    """Pick the reason out of what a C++ abort or an interpreter leaves on stderr; "" or ": " and the reason."""
    stderr_tail = stderr_tail.partition(_STACKS)[0]
    thrown = re.search(r"what\(\):\s*(.+)", stderr_tail)
    checks = re.findall(r"[^\n]*(?:Check failed|Error:)[^\n]*", stderr_tail)
    lines = [line for line in stderr_tail.splitlines() if line.strip()]
    words = thrown.group(1) if thrown else checks[-1] if checks else lines[-1] if lines else ""
    return f": {words.strip()[:300]}" if words else ""
