"""How a child process ends, on its own side: with the process that started it, or by itself."""

import contextlib
import ctypes
import os
import signal
import sys
from typing import Final, NoReturn

# <sys/prctl.h>
_PR_SET_PDEATHSIG: Final = 1


def end_with_supervisor(supervisor: int) -> None:
    """Ask the kernel to kill this process when the supervisor dies, so that none is left behind (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:  # it died before the call
        os._exit(2)


def leave(exit_code: int) -> NoReturn:
    """End this process at once; MXNet can hang or crash while the interpreter unloads it after a failure."""
    for stream in (sys.stdout, sys.stderr):
        # Nobody may read it any more.
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(exit_code)
