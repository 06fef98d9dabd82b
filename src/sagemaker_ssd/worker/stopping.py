"""How the worker ends before its work is done: when it is asked to stop, and when its supervisor is gone."""

import ctypes
import os
import signal
import threading
from typing import Final

from sagemaker_ssd.contract.environment import SAVE_SECONDS

# <sys/prctl.h>
_PR_SET_PDEATHSIG: Final = 1


class SigtermListener:
    """Ends the process at SIGTERM, at once, but never while `saving` is held.

    Python's signal handlers do not run while the main thread waits inside MXNet, so a thread of its own waits for the
    signal. There is nothing to clean up: the best model is on disk and the supervisor owns the temporary files.
    """

    def __init__(self) -> None:
        self.saving = threading.Lock()

    def start(self) -> None:
        """Begin to listen; call before MXNet starts threads, since they inherit which signals are blocked."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        signal.sigwait({signal.SIGTERM})
        self.saving.acquire(timeout=SAVE_SECONDS)
        os._exit(0)


def end_with_supervisor(supervisor: int) -> None:
    """Ask the kernel to kill this process when the supervisor dies, so that none is left behind (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:  # it died before the call
        os._exit(2)
