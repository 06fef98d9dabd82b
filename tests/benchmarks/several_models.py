"""What several models cost in one process of hosting, and in a process for each: memory, and core seconds of a start.

    python tests/benchmarks/several_models.py [--models 4]

Memory is what all processes have together (Pss of proc(5): what they share counts once), after one image each. Memory
that is left when all models but one are unloaded again is given as well.
"""

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parent.parent


def hold(folders: list[Path]) -> None:
    """Load models and say what it cost; unload all but one when a line comes, and end with the second line."""
    # Imports MXNet, whose seconds are measured.
    from sagemaker_ssd.hosting.model import load_detectors
    from sagemaker_ssd.memory import trim_malloc

    seconds = [time.process_time()]
    models = []
    for folder in folders:
        models.append(load_detectors(folder, None, 1, ()))
        models[-1].warm_up()
        seconds.append(time.process_time())
    print(json.dumps([after - before for before, after in zip([0.0, *seconds], seconds, strict=False)]), flush=True)
    sys.stdin.readline()
    del models[1:]
    gc.collect()
    trim_malloc()
    print(flush=True)
    sys.stdin.readline()


def megabytes(processes: list[subprocess.Popen[str]]) -> float:
    rollups = [(Path("/proc") / str(process.pid) / "smaps_rollup").read_text() for process in processes]
    return sum(int(text.partition("\nPss:")[2].split()[0]) for text in rollups) / 1024


def measure(groups: list[list[Path]]) -> tuple[float, float, list[list[float]]]:
    """Return MB with all models, MB with one model a process, and core seconds: of MXNet, of each model."""
    processes, seconds = [], []
    for folders in groups:
        command = [sys.executable, __file__, "--hold", *folders]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        seconds.append(json.loads(process.stdout.readline()))
        processes.append(process)
    full = megabytes(processes)
    for process in processes:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        process.stdout.readline()
    less = megabytes(processes)
    for process in processes:
        process.communicate("\n")
    return full, less, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--hold", type=Path, nargs="+", help="started by this program itself")
    options = parser.parse_args()
    if options.hold:
        hold(options.hold)
        return
    sys.path.insert(0, str(TESTS))
    from model_server import write_drawn_model

    with tempfile.TemporaryDirectory() as scratch:
        for network in ("resnet-50", "vgg-16"):
            folders = [Path(scratch) / f"{network}-{number}" for number in range(options.models)]
            for folder in folders:
                write_drawn_model(folder, network)
            together, one, seconds = measure([folders])
            apart, _, _ = measure([[folder] for folder in folders])
            again = sum(seconds[0][2:]) / (options.models - 1)
            print(
                f"{network}, {options.models} models: in one process {together:.0f} MB, {one:.0f} MB when it has "
                f"unloaded all but one; in a process each {apart:.0f} MB. Core seconds: MXNet {seconds[0][0]:.1f}, the "
                f"first model {seconds[0][1]:.1f}, each other one {again:.1f}"
            )


if __name__ == "__main__":
    main()
