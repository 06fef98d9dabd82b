"""Work behind the training, in real threads."""

import threading
import time

import pytest

from sagemaker_ssd.worker.epochs import BackgroundTask

PATIENCE = 10


def failing() -> None:
    raise OSError(28, "No space left on device")


def test_work_goes_on_while_the_caller_does_other_things():
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go_on.wait(PATIENCE)
        done.set()

    background = BackgroundTask()
    background.begin(work)
    assert begun.wait(PATIENCE)
    # Not at its end: nothing is waited for.
    background.check()
    assert not done.is_set()
    go_on.set()
    background.wait()
    assert done.is_set()


def test_what_it_raises_is_raised_once_where_somebody_looks():
    background = BackgroundTask()
    background.begin(failing)

    def look() -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            background.check()

    with pytest.raises(OSError, match="No space left"):
        look()
    background.check()
    background.wait()


def test_the_next_work_waits_for_the_one_before_and_tells_its_failure():
    order = []
    background = BackgroundTask()
    background.begin(lambda: (time.sleep(0.1), order.append(1))[-1])
    background.begin(lambda: order.append(2))
    background.wait()
    assert order == [1, 2]
    background.begin(failing)
    with pytest.raises(OSError, match="No space left"):
        background.begin(lambda: order.append(3))
    assert order == [1, 2]
