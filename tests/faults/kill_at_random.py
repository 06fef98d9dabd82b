"""Kills a small job at random moments, over and over, and checks what is left each time.

`python tests/faults/kill_at_random.py --kills 50`: after each kill the newest checkpoint must be whole and no older
than before, and a model that was saved must load; the next run must go on from that checkpoint. At the end the job is
left to finish, and its last checkpoint and its model are compared with those of a job that was never killed. Prints a
line for each kill and a summary; exits with 1 if anything was not as it must be.
"""

import argparse
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from killed_job import Job, Run, checkpoint, largest_difference, model_faults, same_model, small_job

# What a job does after a line of its log with this text.
PHASES = {
    "sagemaker-ssd ": "starting",
    "Checkpoints go to": "starting",
    "Resuming after": "reading the checkpoint",
    "Putting the best model": "putting the model back",
    "Using [": "loading the checkpoint",
    "Start training.": "training",
    "#throughput_metric": "evaluating",
    "validation mAP": "writing the checkpoint",
    "Updating the best model": "saving the model",
    'Saved checkpoint to "': "writing the checkpoint",
    "Checkpoint of epoch": "writing the metrics",
    "#progress_metric": "training",
}
# Half of the kills come at any moment; the others soon after one of these lines, as files are written only briefly.
WRITING = ("validation mAP", "Putting the best model")


def phase(log: str) -> str:
    """Name what a job was doing when its log ended."""
    doing, training = "starting", False
    for line in log.splitlines():
        training = training or "Start training." in line
        for text, name in PHASES.items():
            if text in line:
                doing = name
        if 'Saved checkpoint to "' in line and not training:
            doing = "reading the channels"
    return doing


@dataclass
class Pace:
    """How long a run takes here until its first epoch is done, and how much of that its files take; seconds."""

    first_epoch: float
    files: float

    def wait(self, run: Run, chance: random.Random) -> None:
        """Wait until a run is to be killed."""
        if chance.random() < 0.5:
            end = run.begun + chance.uniform(0, 1.8 * self.first_epoch)
        else:
            text = chance.choice(WRITING)
            while text not in run.log and "validation mAP" not in run.log and run.ended() is None:
                time.sleep(0.005)
            end = time.monotonic() + chance.uniform(0, 1.5 * self.files)
        while time.monotonic() < end and run.ended() is None:
            time.sleep(0.002)


def first_pace(run: Run) -> Pace:
    """Wait for the first epoch of a run and measure it."""
    run.until("validation mAP")
    files = time.monotonic()
    run.until("#progress_metric")
    return Pace(time.monotonic() - run.begun, time.monotonic() - files)


class Watch:
    """What must never be lost, from run to run."""

    def __init__(self) -> None:
        self.epoch = -1
        self.saved = False
        self.violations: list[str] = []

    def check(self, job: Job, log: str) -> None:
        """Judge what a killed run has left."""
        resumed = re.search(r"Resuming after epoch (\d+)", log)
        if resumed and int(resumed.group(1)) != self.epoch:
            self.violations.append(f"resumed after epoch {resumed.group(1)} with a checkpoint of epoch {self.epoch}")
        if "Start training" in log and not resumed and self.epoch >= 0:
            self.violations.append(f"started anew with a checkpoint of epoch {self.epoch}")
        for text in ("cannot be used", "Traceback", "ERROR"):
            if text in log:
                self.violations.append(f"the log has {text!r}")
        written = [int(epoch) for epoch in re.findall(r"Checkpoint of epoch (\d+)", log)]
        found = checkpoint(job)
        self.violations += found.faults
        if found.epoch < max([self.epoch, *written]):
            self.violations.append(f"epoch {found.epoch} after {max([self.epoch, *written])}")
        self.epoch = max(self.epoch, found.epoch)
        self.saved = self.saved or "Saved checkpoint to" in log
        if self.saved:
            self.violations += model_faults(job)


def main() -> int:
    """Run the job, kill it, and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    chance, watch, phases = random.Random(options.seed), Watch(), Counter()
    folder = Path(tempfile.mkdtemp(prefix="kill-at-random-"))
    job = small_job(folder / "killed", epochs="1000", optimizer="adam")
    pace: Pace | None = None
    for number in range(options.kills):
        run = Run(job)
        if pace is None:
            pace = first_pace(run)
        else:
            pace.wait(run, chance)
        run.kill()
        phases[phase(run.log)] += 1
        watch.check(job, run.log)
        print(f"kill {number + 1}: {phase(run.log)}, epoch {watch.epoch}, {watch.violations or 'well'}", flush=True)
    last = watch.epoch + 1
    job.set(epochs=str(last + 1))
    watch.check(job, Run(job).wait())
    straight = small_job(folder / "straight", epochs=str(last + 1), optimizer="adam")
    Run(straight).wait()
    network, optimizer = largest_difference(job, straight, last)
    arrays = sorted(path.name for path in (job.base / "checkpoints").glob("*.params"))
    if network or optimizer or not same_model(job, straight) or len(arrays) > 3:
        watch.violations.append(f"other than without kills; arrays kept: {arrays}")
    counts = ", ".join(f"{count} {name}" for name, count in phases.most_common())
    print(
        f"{options.kills} kills ({counts}); {last + 1} epochs; {len(watch.violations)} violations; largest difference "
        f"from an uninterrupted run: weights and states {network:g}, optimizer {optimizer:g}; the models are "
        f"{'the same' if same_model(job, straight) else 'NOT the same'}"
    )
    if not watch.violations:
        shutil.rmtree(folder)
    return 1 if watch.violations else 0


if __name__ == "__main__":
    sys.exit(main())
