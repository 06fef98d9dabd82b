"""check-gpu on two GPUs that are not there, whose parts only say how they were started.

`environments.py` runs all parts; with a plan it is a part's process, which adds a line to the file ENVIRONMENTS and
answers what lets the next part begin.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

from sagemaker_ssd.check_gpu import __main__ as check
from sagemaker_ssd.check_gpu.findings import Finding, to_json
from sagemaker_ssd.check_gpu.plan import Plan

_VARIABLES = ("NVIDIA_TF32_OVERRIDE", "MXNET_CUDNN_AUTOTUNE_DEFAULT", "OMP_NUM_THREADS")


def answer(plan: Plan) -> None:
    """Write down the environment, and answer as the part does."""
    variables = {name: os.environ.get(name) for name in _VARIABLES}
    with Path(os.environ["ENVIRONMENTS"]).open("a") as file:
        file.write(json.dumps({"plan": json.loads(plan.to_json()), "variables": variables}) + "\n")
    if plan.part == "endless":
        print("a step is done", flush=True)
        time.sleep(100)
    found = [Finding(plan.part, device, "") for device in plan.devices]
    if plan.part == "probe":
        found = [Finding("free bytes", device, "9000000000") for device in plan.devices]
    elif plan.part == "about":
        found = [Finding("GPUs that MXNet sees", "", "0")]
    elif plan.part == "input":
        found = [Finding("input at 300 px", "2 cores", "50.0 images/s")]
    elif plan.part == "speed":
        # A batch of 32 does not fit.
        found = [Finding(f"batch {batch}", "", "10.0 images/s, 1.00 GiB") for batch in plan.batches if batch <= 16]
    print(to_json(found))


def main() -> None:
    """Run all parts, or be one."""
    if len(sys.argv) > 1:
        answer(Plan.from_json(sys.argv[1]))
        return
    check._PART = "check_gpu.environments"
    options = argparse.Namespace(minutes=3.0, memory_gib=None, sizes=[300, 512], batches=[8, 16, 32], seconds=0.1)
    check.Checker(options, ["gpu(0)", "gpu(1)"]).run()


if __name__ == "__main__":
    main()
