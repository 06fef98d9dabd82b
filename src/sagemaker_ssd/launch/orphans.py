"""Ended processes that nobody waits for; process 1 of a container inherits them."""

import os
from collections.abc import Collection


def reap_orphans(ours: Collection[int]) -> None:
    """Collect every ended child but `ours`, whose ends their own waiters collect, so that none stays as a zombie."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid in ours:
            return
        os.waitpid(ended.si_pid, 0)
