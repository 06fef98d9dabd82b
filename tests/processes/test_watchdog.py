"""When a process that is waited for has been quiet for too long."""

import os
import signal
import subprocess
import sys
import time

from sagemaker_ssd.processes.watchdog import Watchdog, resource_usage


def test_a_worker_that_has_said_nothing_may_take_its_time():
    watchdog = Watchdog()
    assert [watchdog.check(1.0) for _ in range(1000)] == [None] * 1000


def test_the_last_thing_done_is_named():
    watchdog = Watchdog()
    watchdog.kick("epoch 0, batch 3 of 9", 5.0)
    assert [watchdog.check(1.0) for _ in range(5)] == [None] * 5
    assert watchdog.check(1.0) == "nothing for 5 seconds after epoch 0, batch 3 of 9"


def test_whatever_is_done_begins_the_count_anew():
    watchdog = Watchdog()
    for _ in range(10):
        watchdog.kick("a batch", 1.5)
        assert watchdog.check(1.0) is None
    watchdog.kick("the weights after epoch 0", None)
    assert [watchdog.check(1.0) for _ in range(100)] == [None] * 100


def test_time_that_was_slept_through_does_not_count():
    watchdog = Watchdog()
    watchdog.kick("a batch", 60.0)
    assert watchdog.check(3600.0) is None
    assert watchdog.check(1.0) is None


def test_who_is_busy_alone_shows_it_by_what_is_used():
    watchdog = Watchdog()
    watchdog.kick("exchanging images", 3.0, busy=True)
    assert [watchdog.check(1.0, used) for used in range(50)] == [None] * 50
    assert [watchdog.check(1.0, 49) for _ in range(2)] == [None] * 2
    assert watchdog.check(1.0, 49) == "nothing for 3 seconds after exchanging images"


def test_what_is_used_in_a_step_does_not_count():
    # A process that waits for others in vain may spin.
    watchdog = Watchdog()
    watchdog.kick("epoch 0, batch 1 of 2", 3.0)
    assert [watchdog.check(1.0, used) for used in range(4)][-1] == "nothing for 3 seconds after epoch 0, batch 1 of 2"


def test_a_process_that_works_uses_more_and_a_stopped_one_does_not():
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            time.sleep(0.3)
            before = resource_usage(process.pid)
            time.sleep(0.3)
            assert resource_usage(process.pid) != before
            os.kill(process.pid, signal.SIGSTOP)
            time.sleep(0.3)
            stopped = resource_usage(process.pid)
            time.sleep(0.3)
            assert resource_usage(process.pid) == stopped
        finally:
            process.kill()
    assert resource_usage(process.pid) is None
