"""What commands share: names of classes as an option, exit codes, and what is said of the faults behind them."""

import argparse
import contextlib
import csv
import os
import signal
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

from sagemaker_ssd.errors import JobError, UserError, exhausted_memory, is_text, shown
from sagemaker_ssd.files import TEMPORARY_FOLDER_REMEDY, is_disk_full

# What a shell adds to a signal's number to make an exit code of it.
_BY_SIGNAL: Final = 128
# They would end Python on the spot, which leaves temporary files behind.
_ENDING_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)
LARGER_MACHINE: Final = "use a machine with more memory"
_STOPPED: Final = "stopped before the end"
# The beginning of what tempfile says.
_NO_TEMPORARY_FOLDER: Final = "No usable temporary directory"


class _StoppedError(SystemExit):
    """A signal has asked for the end."""

    def __init__(self, number: int) -> None:
        self.exit_code = _BY_SIGNAL + number
        super().__init__(self.exit_code)


def class_names(text: str) -> tuple[str, ...]:
    """Read an option such as `cat,dog`; a name that holds a comma stands in double quotes. For argparse."""
    if not is_text(text):
        raise argparse.ArgumentTypeError(f"{shown(text)} is not text in UTF-8")
    try:
        (row,) = csv.reader([" ".join(text.split())], skipinitialspace=True, strict=True)
    except (csv.Error, ValueError):
        row = []
    # As the names of data are read: letters and accents as one character, which macOS takes apart.
    names = tuple(unicodedata.normalize("NFC", " ".join(name.split())) for name in row)
    if not names or not all(names) or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(
            f"'{text}' has an empty name, or one twice, or a double quote that is not at an end of a name"
        )
    return names


def exit_code_of(work: Callable[[], int], *, memory_remedy: str = LARGER_MACHINE, prefix: str = "") -> int:
    """Do the work and return its exit code or that of its failure, which a sentence on stderr tells.

    memory_remedy: what to do where the memory does not suffice. prefix: what stands before the sentence. What no
    sentence explains, a bug, is raised. Ctrl-C, SIGTERM and SIGHUP end the work as an exception does, so that nothing
    temporary is left; the exit code is then a shell's for the signal.
    """
    try:
        exit_code, sentence = _ended(work, memory_remedy)
        if sentence:
            # Nobody may read this either, and the exit code says it too.
            with contextlib.suppress(OSError):
                print(f"{prefix}{sentence}", file=sys.stderr, flush=True)
        return exit_code
    finally:
        give_up_closed_streams()


def _ended(work: Callable[[], int], memory_remedy: str) -> tuple[int, str]:
    """Do the work and return its exit code and what there is to say of its end."""
    try:
        with _raised_signals():
            exit_code = work()
            if sys.stdout is not None:
                sys.stdout.flush()
            return exit_code, ""
    except JobError as error:
        return error.exit_code, error.sentence
    except KeyboardInterrupt:
        return _BY_SIGNAL + signal.SIGINT, _STOPPED
    except _StoppedError as stopped:
        return stopped.exit_code, _STOPPED
    except BrokenPipeError:
        # `| head` has seen enough.
        return _BY_SIGNAL + signal.SIGPIPE, ""
    except OSError as error:
        return UserError.exit_code, system_fault(error)
    except Exception as error:
        if (fault := memory_fault(error, memory_remedy)) is None:
            raise
        return UserError.exit_code, fault


@contextlib.contextmanager
def _raised_signals() -> Iterator[None]:
    """Raise _StoppedError at a signal that asks for the end, unless it is ignored (nohup) or has a handler already."""
    before = {}
    # Python has handlers in its main thread alone.
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in _ENDING_SIGNALS}
    raised = [number for number, handler in before.items() if handler is signal.SIG_DFL]
    for number in raised:
        signal.signal(number, _raise_stopped)
    try:
        yield
    finally:
        for number in raised:
            signal.signal(number, signal.SIG_DFL)


def _raise_stopped(number: int, frame: FrameType | None) -> None:
    raise _StoppedError(number)


def give_up_closed_streams() -> None:
    """Drop what nobody reads any more, as after `./train | head`: the interpreter would end with 120 instead."""
    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def memory_fault(error: Exception, remedy: str) -> str | None:
    """Say whose memory was too small where that is what an exception tells."""
    exhausted = exhausted_memory(error)
    return None if exhausted is None else f"the {exhausted} ran out of memory: {remedy}"


def system_fault(error: OSError, of: object = None) -> str:
    """Say what the system refused, and for which file; of: its name as the person knows it, else the error's own."""
    reason = error.strerror or str(error) or type(error).__name__
    if is_disk_full(error):
        reason = f"{reason}: make room on the disk, or write to another one"
    elif reason.startswith(_NO_TEMPORARY_FOLDER):
        reason = f"{reason}: {TEMPORARY_FOLDER_REMEDY}"
    if of is None and isinstance(error.filename, str | bytes):
        of = os.fsdecode(error.filename)
    return reason if of is None else f"{of}: {reason}"
