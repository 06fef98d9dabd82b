"""check-gpu whose time is over while its parts run: `no_time.py CHECK SECONDS` prints what it finds, as JSON.

With a plan it is a part's process: a look at the devices answers, and every other part waits until it is killed.
"""

import argparse
import sys
import time

from sagemaker_ssd.check_gpu import __main__ as check
from sagemaker_ssd.check_gpu.findings import Finding, to_json
from sagemaker_ssd.check_gpu.plan import Plan

_TWO = ("cpu(0)", "cpu(1)")
CHECKS = {
    "part": lambda checker: checker._part(Plan("network", _TWO), "a step"),
    "measurement": lambda checker: checker._part(Plan("tf32", _TWO), "a figure", measures=True),
    "processes": lambda checker: checker._over_processes(Plan("host", _TWO)),
    "kill": lambda checker: checker._kill_in_a_step(Plan("endless", _TWO)),
    "memory": lambda checker: checker._out_of_memory(Plan("exhaust", ("cpu(0)",), batches=(64,))),
}


def main() -> None:
    """Make one check, or be a part."""
    if len(sys.argv) == 2:
        plan = Plan.from_json(sys.argv[1])
        if plan.part != "probe":
            time.sleep(100)
        print(to_json([Finding("free bytes", device, "unknown") for device in plan.devices]))
        return
    check._PART = "check_gpu.no_time"
    checker = check.Checker(argparse.Namespace(minutes=float(sys.argv[2]) / 60, memory_gib=None), _TWO)
    CHECKS[sys.argv[1]](checker)
    print(to_json(checker.findings))


if __name__ == "__main__":
    main()
