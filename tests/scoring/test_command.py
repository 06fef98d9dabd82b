"""How the commands on saved models end when the memory does not suffice, and what they take OMP_NUM_THREADS for."""

import os
import subprocess
import sys

import pytest

from command_runner import without_progress

RUN = """
import resource, sys
import numpy as np
from sagemaker_ssd.scoring.command import run
def of_numpy():
    np.empty(1 << 60, np.uint8)
def of_mxnet():
    import mxnet as mx
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), used + (256 << 20)))
    mx.nd.zeros(1 << 30).wait_to_read()
def of_another_kind():
    raise ValueError("a bug")
sys.exit(run({work}, memory_remedy="use less"))
"""


def run_work(work: str) -> subprocess.CompletedProcess[str]:
    return run_script(RUN.replace("{work}", work))


def run_script(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script; stderr is without the lines of progress, which a slow machine sees."""
    command = [sys.executable, "-P", "-c", script]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=200, check=False, env={**os.environ, **environment}
    )
    done.stderr = without_progress(done.stderr)
    return done


@pytest.mark.parametrize("work", ["of_numpy", "of_mxnet"])
def test_a_lack_of_memory_is_told_in_a_sentence(work: str) -> None:
    done = run_work(work)
    assert (done.returncode, done.stderr) == (1, "the machine ran out of memory: use less\n")


def test_a_bug_keeps_its_traceback() -> None:
    done = run_work("of_another_kind")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")


THREADS = """
import os, sys
from sagemaker_ssd.scoring.command import run
def work():
    print(os.environ["OMP_NUM_THREADS"])
    return 0
sys.exit(run(work))
"""


def threads(given: str) -> subprocess.CompletedProcess[str]:
    return run_script(THREADS, OMP_NUM_THREADS=given)


@pytest.mark.parametrize("given", ["4,2", "abc", "1.5", "-1", "1025"])
def test_a_number_of_threads_that_is_none_is_told(given: str) -> None:
    done = threads(given)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"environment variable OMP_NUM_THREADS is '{given}'; it must be a whole number from 1 to 1024, or 0 for as "
        "many threads as there are processors\n"
    )


def test_paths_that_stdout_has_no_characters_for() -> None:
    """As `Written: ...` prints them, when all work is done."""
    script = THREADS.replace('os.environ["OMP_NUM_THREADS"]', 'os.fsdecode(b"mod\\xc3\\xa8le\\xff")')
    done = run_script(script, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout, done.stderr) == (0, "mod\\xe8le\\udcff\n", "")


@pytest.mark.parametrize("given", ["", "0", " "])
def test_no_number_of_threads_is_that_of_the_processors(given: str) -> None:
    usable = str(len(os.sched_getaffinity(0)))
    assert 1 <= int(threads(given).stdout) <= int(usable)
    assert threads("3").stdout == "3\n"
