"""Where the seconds of a whole job go, as a user waits for them, and its peak memory beside plain training's.

`python tests/benchmarks/whole_job.py [--images 300] [--network resnet-50] [--epochs 2]` draws a data set, runs ./train
on it, and takes the time between the lines of its log; steps, waiting for data and the last evaluation are those of
metrics.json. The memory is beside that of mx.mod.Module which trains with MXNet's reader and does nothing else.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from epoch_speed import draw as draw_plain
from epoch_speed import measure

ROOT = Path(__file__).parent.parent.parent
# A phase ends with the first line that has its text behind the end of the one before.
PHASES = (
    ("start, import of MXNet", "Start training from"),
    ("check and packing", "Using [cpu"),
    ("binding, first values", "Start training."),
)


def lines_of(job: Path) -> list[tuple[float, str]]:
    """Run a job; return its log with the seconds since its start."""
    begin = time.monotonic()
    process = subprocess.Popen(
        [ROOT / "train"],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(job)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines = [(time.monotonic() - begin, line) for line in process.stdout]
    if process.wait() != 0:
        raise SystemExit("".join(text for _, text in lines))
    return [*lines, (time.monotonic() - begin, "the end")]


def phases(lines: list[tuple[float, str]], epochs: list[dict[str, Any]], figures: float) -> dict[str, float]:
    """Return the seconds of each phase; figures: of the evaluation at the end."""
    spent, last, rest = {}, 0.0, iter(lines)
    for name, text in PHASES:
        at = next(seconds for seconds, line in rest if text in line)
        spent[name], last = at - last, at
    # A step's losses are known before its backward pass: behind an epoch's own seconds comes that of its last step.
    spent |= {"last steps' backward passes": 0.0, "evaluation": 0.0, "between epochs": 0.0}
    for seconds, line in rest:
        if "cross_entropy" in line:
            spent["last steps' backward passes"] += seconds - last
            last = seconds
        elif "validation mAP" in line:
            spent["evaluation"], last = spent["evaluation"] + seconds - last, seconds
        elif "completed" in line:
            spent["between epochs"], last = spent["between epochs"] + seconds - last, seconds
    spent["end"] = lines[-1][0] - last - figures
    spent["evaluation"] += figures
    waiting = sum(epoch["train"]["seconds_waiting_for_data"] for epoch in epochs)
    steps = sum(epoch["train"]["seconds"] for epoch in epochs) - waiting
    spent["last steps' backward passes"] -= steps + waiting
    return {**spent, "waiting for data": waiting, "steps": steps}


def main() -> None:
    """Run one job and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--network", default="resnet-50")
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    chosen = {
        "base_network": options.network,
        "epochs": options.epochs,
        "mini_batch_size": 8,
        "use_pretrained_model": 0,
    }
    settings = [f"--hyperparameter={name}={value}" for name, value in chosen.items()]
    with tempfile.TemporaryDirectory() as folder:
        draw = [sys.executable, ROOT / "local_test" / "draw_sample.py", folder]
        sizes = ["--train", str(options.images), "--validation", str(options.images // 4)]
        subprocess.run([*draw, *sizes, *settings], check=True, capture_output=True)
        lines = lines_of(Path(folder))
        metrics = json.loads((Path(folder) / "output" / "data" / "metrics.json").read_text())
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        record = Path(folder) / "plain.rec"
        # As many of as few bytes: MXNet's reader decodes 8 MB of records at a time.
        draw_plain(record, options.images, width=200, height=150)
        _, plain = measure("module", record, options.network, 8, options.images)
    spent = phases(lines, metrics["epochs"], metrics["timings"]["figures"])
    print(f"\n{options.network}, {options.images} images, {options.epochs} epochs of batches of 8")
    print("| phase | seconds | share |\n|---|---|---|")
    for name, seconds in spent.items():
        print(f"| {name} | {seconds:.2f} | {seconds / sum(spent.values()):.1%} |")
    inside = spent["steps"] + spent["last steps' backward passes"] + spent["evaluation"]
    outside = sum(spent.values()) - inside
    first = sum(spent[name] for name, _ in PHASES)
    print(f"| outside steps and evaluation | {outside:.2f} | {outside / sum(spent.values()):.1%} |")
    print(
        f"From the start to the first step: {first:.2f} s. Waiting for data: {spent['waiting for data']:.2f} s, ",
        end="",
    )
    print(f"{spent['waiting for data'] / (spent['steps'] + spent['waiting for data']):.2%} of the epochs.")
    print(f"Peak memory: {peak:,.0f} MB, {peak / plain:.2f} x the {plain:,.0f} MB of mx.mod.Module")


if __name__ == "__main__":
    main()
