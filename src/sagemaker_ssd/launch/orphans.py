"""Ended processes that nobody waits for; process 1 of a container inherits them."""

import os


def reap_orphans(ours: int) -> None:
    """Collect every ended child but `ours`, whose end its own waiter collects, so that none stays as a zombie."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None or ended.si_pid == ours:
            return
        os.waitpid(ended.si_pid, 0)
