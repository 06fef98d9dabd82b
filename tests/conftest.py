"""Shares this machine's cores among the processes that run the tests at once."""

import os


def pytest_configure() -> None:
    """Give each process of pytest-xdist cores of its own, and with it the programs that its tests start.

    Two programs that compute with as many threads as there are cores wait for one another most of the time.
    """
    worker, count = os.environ.get("PYTEST_XDIST_WORKER"), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if worker is None:
        return
    cores, number = sorted(os.sched_getaffinity(0)), int(worker.removeprefix("gw"))
    share = cores[number * len(cores) // count : (number + 1) * len(cores) // count]
    os.sched_setaffinity(0, share or [cores[number % len(cores)]])
