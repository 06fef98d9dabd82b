"""Failures sorted by who can mend them; their text is what the person who started the job gets to see."""

from collections.abc import Sequence
from typing import ClassVar

# SageMaker shows the first 1,024 characters of output/failure as the job's FailureReason.
FAILURE_REASON_LENGTH = 1024


class JobError(Exception):
    """Ends the job with `sentence`, the text for the person, and `exit_code`."""

    exit_code: ClassVar[int] = 3

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class UserError(JobError):
    """The person who started the job can mend it: wrong input, disk full, GPU out of memory."""

    exit_code = 1


class PlatformError(JobError):
    """The machine or another host ended the job: a worker killed by signal 9, a lost host, an early stop."""

    exit_code = 2


class ProgramError(JobError):
    """A bug of this program or a crash of libmxnet."""

    exit_code = 3


def problems(faults: Sequence[str]) -> str:
    """Write one or many faults as one text: a single fault as it is, several as a counted list."""
    if len(faults) == 1:
        return faults[0]
    return "\n".join([f"{len(faults)} problems:", *(f"- {fault}" for fault in faults)])


def shorten(sentence: str, length: int = FAILURE_REASON_LENGTH) -> str:
    """Cut a text to `length` characters at a line's end where it can, and say how many lines were left out."""
    if len(sentence) <= length:
        return sentence
    lines = sentence.splitlines()
    for kept in range(len(lines) - 1, 0, -1):
        text = "\n".join([*lines[:kept], f"... and {len(lines) - kept} more lines: the job's log has them all"])
        if len(text) <= length:
            return text
    ending = " ... (the job's log has the rest)"
    return sentence[: length - len(ending)] + ending
