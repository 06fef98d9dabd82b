"""Kills small jobs after every epoch and compares what comes out with jobs that were never killed.

`python tests/faults/resume_every_epoch.py`: five epochs with sgd and with adam, and sgd with early stopping. Prints the
mAP lines of both and the largest differences; exits with 1 if anything differs. Names of scenarios after it run these
alone.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from killed_job import MAP_LINE, Job, Run, largest_difference, model_faults, same_model, small_job

SCENARIOS = {
    "sgd": {"epochs": "5", "lr_scheduler_step": "2,4"},
    "adam": {"epochs": "5", "optimizer": "adam", "warmup_epochs": "2"},
    "sgd with early stopping": {
        "epochs": "12",
        "early_stopping": "true",
        "early_stopping_min_epochs": "3",
        "early_stopping_patience": "2",
        "early_stopping_tolerance": "0.5",
    },
}


def killed_after_every_epoch(job: Job) -> list[str]:
    """Run a job to its end with a kill after every epoch, and return the logs of all its runs."""
    logs, epoch = [], 0
    while True:
        run = Run(job)
        while f"Checkpoint of epoch {epoch}:" not in run.log:
            if run.ended() is not None:
                return [*logs, run.wait()]
        run.kill()
        logs.append(run.log)
        epoch += 1


def compare(name: str, settings: dict[str, str], folder: Path) -> bool:
    """Run one scenario both ways, print what came out and say whether it is the same."""
    straight, killed = small_job(folder / "straight", **settings), small_job(folder / "killed", **settings)
    expected = Run(straight).wait()
    logs = killed_after_every_epoch(killed)
    lines = MAP_LINE.findall(expected)
    # The next epoch may have been evaluated before the kill came: it is trained again, and has to give the same.
    others = list(dict.fromkeys(MAP_LINE.findall("".join(logs))))
    network, optimizer = largest_difference(straight, killed, len(lines) - 1)
    ending = [line.split("] ")[-1] for line in logs[-1].splitlines() if "Nothing is left" in line or "Early" in line]
    same = lines == others and not network and not optimizer and same_model(straight, killed)
    print(f"{name}: {len(logs) - 1} kills; uninterrupted | killed after every epoch")
    for one, other in zip(lines, others, strict=False):
        print(f"  {one} | {other}")
    print(f"  ended: {[line.split('] ')[-1] for line in expected.splitlines() if 'Early' in line]} | {ending}")
    print(
        f"  largest difference: weights and states {network:g}, optimizer {optimizer:g}; mAP lines, models: "
        f"{'the same' if same else 'NOT THE SAME'}",
        flush=True,
    )
    return same and not model_faults(killed)


def main() -> int:
    """Run every scenario, or those that are named."""
    folder = Path(tempfile.mkdtemp(prefix="resume-every-epoch-"))
    names = sys.argv[1:] or list(SCENARIOS)
    results = [compare(name, SCENARIOS[name], folder / name.replace(" ", "-")) for name in names]
    shutil.rmtree(folder)
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
