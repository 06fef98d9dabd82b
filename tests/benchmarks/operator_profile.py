"""Where a training step's seconds go, operator by operator, as MXNet's profiler tells.

`python tests/benchmarks/operator_profile.py [--case resnet-50:300:8] [--precision float32] [--rows 15]`: the operators
of one step run one by one, which takes a little longer than a step does.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from sagemaker_ssd.cores import usable_cores

# By itself MXNet takes one thread for every two processors.
os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))
# Several operators that run as one would be told as one.
os.environ["MXNET_EXEC_BULK_EXEC_TRAIN"] = "0"

import mxnet as mx
from mxnet_sides import ours
from training_step import write_spec

STEPS = 3


def profile(case: str, precision: str) -> tuple[dict[str, tuple[float, float]], float]:
    """Return of each operator its calls and seconds a step, and the seconds of a step."""
    with tempfile.TemporaryDirectory() as folder:
        step = ours(write_spec(Path(folder), case), precision)
        step()
        step()
        mx.profiler.set_config(
            profile_symbolic=True,
            profile_imperative=True,
            aggregate_stats=True,
            filename=str(Path(folder) / "profile.json"),
        )
        mx.profiler.set_state("run")
        begin = time.perf_counter()
        for _ in range(STEPS):
            step()
        seconds = (time.perf_counter() - begin) / STEPS
        mx.profiler.set_state("stop")
        told: dict[str, Any] = json.loads(mx.profiler.dumps(format="json"))
    found = {
        name: (figures["Count"] / STEPS, figures["Total"] / STEPS / 1e3)
        for name, figures in told["Time"]["operator"].items()
    }
    return found, seconds


def main() -> None:
    """Print the operators that take longest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", default="resnet-50:300:8", help="network:size:batch")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--rows", type=int, default=15)
    options = parser.parse_args()
    found, seconds = profile(options.case, options.precision)
    print(f"\nOne step of {options.case} in {options.precision}: {seconds:.2f} s")
    print("| operator | calls | seconds | share |\n|---|---|---|---|")
    ranked = sorted(found.items(), key=lambda item: -item[1][1])
    for name, (calls, spent) in ranked[: options.rows]:
        print(f"| {name} | {calls:.0f} | {spent:.3f} | {spent / seconds:.1%} |")
    rest = sum(spent for _, (_, spent) in ranked[options.rows :])
    print(f"| {max(0, len(ranked) - options.rows)} others | | {rest:.3f} | {rest / seconds:.1%} |")


if __name__ == "__main__":
    main()
