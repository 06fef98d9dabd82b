"""However many signals come at once: they are noted, and the program goes on."""

import signal
import subprocess
import sys
import time

# Signals whose handlers come one within the other; a lock in a handler is waited for for ever.
PROGRAM = """
import sys, time
from sagemaker_ssd.supervisor.stop_flag import StopFlag

flag = StopFlag()
flag.answer_signals()
print("ready", flush=True)
while not flag.is_set():
    pass
end = time.monotonic() + 3
while time.monotonic() < end:
    pass
print("went on", flush=True)
"""


def test_two_signals_at_once_do_not_wait_for_one_another():
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        end = time.monotonic() + 2
        while time.monotonic() < end:
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=20)
        assert (process.returncode, told) == (0, "went on\n")
    finally:
        process.kill()
