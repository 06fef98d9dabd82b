"""Orphans are collected, the worker's end is left to its waiter."""

import subprocess
import sys

# As process 1 does, a subreaper (prctl 36) inherits the children of its ended children.
SUPERVISE = """
import ctypes, os, pathlib, subprocess, sys, time
from sagemaker_ssd.processes.child_process import reap_orphans

def zombies():
    stats = [path.read_text().rpartition(") ")[2].split() for path in pathlib.Path("/proc").glob("[0-9]*/stat")]
    return sum(state == "Z" and int(parent) == os.getpid() for state, parent, *_ in stats)

ctypes.CDLL(None).prctl(36, 1)
worker = subprocess.Popen(["sh", "-c", sys.argv[1]])
subprocess.run(["sh", "-c", "sleep 0.2 & sleep 0.2 & sleep 0.2 &"], check=True)
time.sleep(0.6)
before = zombies()
reap_orphans([worker.pid])
after = zombies()
code = worker.wait()
reap_orphans([worker.pid])
print(before, after, zombies(), code)
"""


def supervise(worker: str) -> list[int]:
    command = [sys.executable, "-c", SUPERVISE, worker]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    return [int(number) for number in ended.stdout.split()]


def test_orphans_are_collected_while_the_worker_runs():
    before, after, _, code = supervise("sleep 1; exit 5")
    assert (before, after, code) == (3, 0, 5)


def test_a_worker_that_has_ended_keeps_its_exit_code():
    before, _, at_the_end, code = supervise("exit 5")
    assert (before, at_the_end, code) == (4, 0, 5)
