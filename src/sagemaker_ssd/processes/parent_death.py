"""A child process's side: it ends with the process that started it."""

import ctypes
import os
import signal
from typing import Final

# <sys/prctl.h>
_PR_SET_PDEATHSIG: Final = 1


def end_with_supervisor(supervisor: int) -> None:
    """Ask the kernel to kill this process when the supervisor dies, so that none is left behind (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:  # it died before the call
        os._exit(2)
