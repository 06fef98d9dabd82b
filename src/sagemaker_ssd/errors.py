"""The errors that end a job, by exit code, and how their sentences write faults, values and numbers."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Literal

# SageMaker shows the first 1,024 characters of output/failure as the job's FailureReason.
FAILURE_REASON_LENGTH: Final = 1024
# What MXNet, CUDA, the allocator and Python write where memory is short, of a GPU and of the machine.
_GPU_MEMORY: Final = re.compile(
    r"cudaMalloc.*out of memory|CUDA: out of memory|CUDA_ERROR_OUT_OF_MEMORY|CUDNN_STATUS_ALLOC_FAILED|"
    r"CUBLAS_STATUS_ALLOC_FAILED"
)
_CPU_MEMORY: Final = re.compile(r"std::bad_alloc|Failed to allocate CPU Memory|Cannot allocate memory")
# Long enough to recognise a value, short enough to leave room for other faults in the failure reason.
SHOWN_LENGTH: Final = 80


class JobError(Exception):
    """Ends the job with `sentence`, which the person who started it gets to see, and with `exit_code`."""

    # The exit codes of both programs and of the commands. 0: done, or stopped on request with a model in place.
    exit_code: ClassVar[int]

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class UserError(JobError):
    """The person who started the job can mend it: wrong input, disk full, out of memory."""

    exit_code = 1


class PlatformError(JobError):
    """The machine or another host ended the job: a worker killed by signal 9, a lost host, an early stop."""

    exit_code = 2


class ProgramError(JobError):
    """A bug of this program or a crash of libmxnet; `internal_error` and `unexpected_error` make the sentence."""

    exit_code = 3


_BY_EXIT_CODE: Final[Mapping[object, type[JobError]]] = {
    kind.exit_code: kind for kind in (UserError, PlatformError, ProgramError)
}


def reported_error(exit_code: object, sentence: str) -> JobError:
    """Make the error that another process or host reported; ProgramError for an exit code without a meaning."""
    return _BY_EXIT_CODE.get(exit_code, ProgramError)(sentence)


def internal_error(what: str, *, of: str = "this program") -> ProgramError:
    """Make the error of what must never happen: a sentence's beginning, without a full stop, and whose bug it is."""
    return ProgramError(f"{what}. This is a bug of {of}; the job's log has the details")


def unexpected_error(error: BaseException) -> ProgramError:
    """Make the error of an exception that no other sentence explains; the caller logs its traceback."""
    return internal_error(f"{type(error).__name__}: {error}")


def exhausted_memory(error: BaseException) -> Literal["machine", "GPU"] | None:
    """Say whose memory was too small where that is what an exception tells, of MXNet, CUDA, the system or Python."""
    return "machine" if isinstance(error, MemoryError) else exhausted_memory_in(str(error))


def exhausted_memory_in(text: str) -> Literal["machine", "GPU"] | None:
    """Say whose memory was too small where that is what a text tells, such as the last lines of a process."""
    if _CPU_MEMORY.search(text):
        return "machine"
    return "GPU" if _GPU_MEMORY.search(text) else None


def problems(faults: Sequence[str]) -> str:
    """Write one or many faults as one text: a single fault as it is, several as a counted list."""
    if len(faults) == 1:
        return faults[0]
    return "\n".join([f"{len(faults)} problems:", *(f"- {fault}" for fault in faults)])


def shorten(sentence: str, length: int = FAILURE_REASON_LENGTH) -> str:
    """Cut a text to `length` characters at lines' ends where it can, and say how many lines were left out.

    The first fault is always there, cut inside where it is too long; of the others those that fit.
    """
    if len(sentence) <= length:
        return sentence
    lines = sentence.splitlines()
    rest = "... (the job's log has the rest)"
    if len(lines) == 1:
        return f"{sentence[: length - len(rest) - 1]} {rest}"
    # "3 problems:" is not a fault yet.
    first = 1 if lines[0].endswith(":") and len(lines[0]) <= SHOWN_LENGTH else 0
    kept = dict(enumerate(lines[:first]))
    room = length - len(_left_out(len(lines))) - sum(len(line) + 1 for line in kept.values())
    whole = len(lines[first]) < room
    # Beside a first fault that is cut there is room for short ones, as far as they leave it half.
    room_for_others = room - len(lines[first]) - 1 if whole else room // 2
    longest = length if whole else 2 * SHOWN_LENGTH
    for number, line in enumerate(lines[first + 1 :], first + 1):
        if len(line) <= longest and len(line) < room_for_others:
            kept[number] = line
            room_for_others -= len(line) + 1
            room -= len(line) + 1
    kept[first] = lines[first] if whole else f"{lines[first][: room - 5]} ..."
    ending = _left_out(len(lines) - len(kept)) if len(kept) < len(lines) else rest
    return "\n".join([*(kept[number] for number in sorted(kept)), ending])


def _left_out(count: int) -> str:
    return f"... and {count} more lines: the job's log has them all"


def shown(value: object) -> str:
    """Show a JSON value on one line: text in quotes, the rest as JSON, long values cut."""
    try:
        text = value if isinstance(value, str) else json.dumps(value)
    except RecursionError:  # reading takes a little more depth than writing
        text = "something nested deeply"
    if len(text) > SHOWN_LENGTH:
        text = text[:SHOWN_LENGTH] + "..."
    # Line breaks would split the list of faults, and a lone surrogate cannot be written to a UTF-8 log.
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return f"'{text}'" if isinstance(value, str) else text


def is_text(value: str) -> bool:
    """Say whether a text can be written in UTF-8: bytes of another encoding, and half a character of JSON, cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def named(name: str) -> str:
    """Show a key of a JSON object: as it is where it is a plain word, else as a quoted text."""
    return name if re.fullmatch(r"[\w.-]{1,80}", name) else shown(name)


def listed(words: list[str], joint: str = "or") -> str:
    """Join words for a sentence: `a`, `a or b`, `a, b or c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {joint} {words[-1]}"


def some(words: Sequence[str], most: int = 5) -> str:
    """Join the first `most` words for a sentence, and say how many more there are."""
    more = f" and {len(words) - most:,} more" if len(words) > most else ""
    return f"{', '.join(words[:most])}{more}"


def in_words(count: int, singular: str, plural: str) -> str:
    """Write a number and its noun: 1 box, 2,110 boxes."""
    return f"{count:,} {singular if count == 1 else plural}"


def bytes_in_words(count: int) -> str:
    """Write a number of bytes: 1.5 kB, 20.3 GB."""
    unit, name = (1e9, "GB") if count >= 1e9 else (1e6, "MB") if count >= 1e5 else (1e3, "kB")
    return f"{count / unit:,.1f} {name}"
