"""Gives memory that was freed back to the system, which glibc would keep."""

import ctypes


def trim_malloc() -> None:
    """Call malloc_trim(3).

    glibc learns to keep freed arrays of up to 32 MB for later ones, and what is left of them lies in pieces: hundreds
    of MB in a training. To forbid it from the start would cost 120 MB of page faults a step.
    """
    ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))
