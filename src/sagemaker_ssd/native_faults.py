"""Faults in native code, such as a segmentation fault: that the process ends by them, and where it was."""

import faulthandler
import signal
import sys


def end_at_native_faults() -> None:
    """Take the segmentation fault back from MXNet, which may never end at it; in the main thread, after its import.

    MXNet 1.9.1's handler writes one line and calls exit(3), in which its engine may wait for ever for the thread where
    the fault was. Now the signal ends the process, after Python has written to stderr where each thread was.
    """
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    # Nobody may have given this process a stderr.
    if sys.stderr is not None:
        faulthandler.enable()
