"""What stays of freed arrays, in a process of its own."""

import subprocess
import sys

# Arrays of 3.2 MB with small things between them, as a training leaves them behind.
FREES_ARRAYS = """
import numpy as np
from sagemaker_ssd.worker.memory import trim_malloc

def kilobytes():
    return next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1]

taught = [np.ones(400_000) for _ in range(4)]
del taught
kept, arrays = [], []
for _ in range(100):
    arrays.append(np.ones(400_000))
    kept.append(bytes(2000))
del arrays
print(kilobytes())
trim_malloc()
print(kilobytes())
"""


def test_freed_arrays_go_back():
    done = subprocess.run([sys.executable, "-c", FREES_ARRAYS], capture_output=True, text=True, check=True, timeout=60)
    before, after = map(int, done.stdout.split())
    # 320 MB, which glibc would keep.
    assert before - after > 250_000
