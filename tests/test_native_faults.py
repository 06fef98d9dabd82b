"""A segmentation fault ends a process that uses MXNet, at whatever moment it comes."""

import signal
import subprocess
import sys
import time

# MXNet's own handler waits for ever in four of ten of these.
_MOMENTS = 8
_PATIENCE_SECONDS = 60
_COMPUTES = """
import mxnet as mx
from sagemaker_ssd.native_faults import end_at_native_faults
end_at_native_faults()
array = mx.nd.ones((200, 200))
print("computes", flush=True)
while True:
    mx.nd.dot(array, array).wait_to_read()
"""


def test_a_process_that_computes_ends():
    command = [sys.executable, "-P", "-c", _COMPUTES]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(_MOMENTS)
    ]
    try:
        for number, process in enumerate(processes):
            assert process.stdout is not None
            assert process.stdout.readline() == "computes\n"
            time.sleep(0.01 * number)
            process.send_signal(signal.SIGSEGV)
            _, errors = process.communicate(timeout=_PATIENCE_SECONDS)
            assert process.returncode == -signal.SIGSEGV, errors
            assert "Fatal Python error: Segmentation fault" in errors
            assert 'File "<string>", line 8 in <module>' in errors
    finally:
        for process in processes:
            process.kill()
            process.communicate()
