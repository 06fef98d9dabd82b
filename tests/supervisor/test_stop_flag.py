"""A signal whose handler comes within another one's: both are noted, and the program goes on."""

import subprocess
import sys

# The second signal comes at every line that the first one's handler runs; a lock that is held there would be waited for
# for ever.
PROGRAM = """
import signal, sys
from sagemaker_ssd.supervisor.stop_flag import StopFlag

flag, interrupted = StopFlag(), set()
flag.answer_signals()

def interrupt(frame, event, argument):
    place = frame.f_code.co_filename, frame.f_lineno
    if place not in interrupted:
        interrupted.add(place)
        signal.raise_signal(signal.SIGINT)
    return interrupt

sys.settrace(interrupt)
signal.raise_signal(signal.SIGTERM)
sys.settrace(None)
print(flag.is_set(), len(interrupted) > 0)
"""


def test_a_signal_within_a_signals_handler_is_noted_too():
    command = [sys.executable, "-c", PROGRAM]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stdout) == (0, "True True\n"), ended.stderr
