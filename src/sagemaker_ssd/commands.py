"""How a command ends: its exit code, and what it says of faults, of the system's refusals and of too little memory."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Final

from sagemaker_ssd.errors import JobError, UserError, exhausted_memory
from sagemaker_ssd.files import TEMPORARY_FOLDER_REMEDY, is_disk_full

# As a shell has it for a program whose output nobody reads any more.
_BROKEN_PIPE: Final = 128 + signal.SIGPIPE
LARGER_MACHINE: Final = "use a machine with more memory"
# The beginning of what tempfile says.
_NO_TEMPORARY_FOLDER: Final = "No usable temporary directory"


def exit_code_of(work: Callable[[], int], *, memory_remedy: str = LARGER_MACHINE, prefix: str = "") -> int:
    """Do the work and return its exit code or that of its failure, which a sentence on stderr tells.

    memory_remedy: what to do where the memory does not suffice. prefix: what stands before the sentence. What no
    sentence explains, a bug, is raised.
    """
    try:
        exit_code = work()
        sys.stdout.flush()
        return exit_code
    except JobError as error:
        print(f"{prefix}{error.sentence}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # `| head` has seen enough. What is left in the buffer would be written, and fail, once more at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except OSError as error:
        print(f"{prefix}{system_fault(error)}", file=sys.stderr)
        return UserError.exit_code
    except Exception as error:
        if (fault := memory_fault(error, memory_remedy)) is None:
            raise
        print(f"{prefix}{fault}", file=sys.stderr)
        return UserError.exit_code


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
