"""The long form of the fuzzing: `python tests/fuzz/long.py --minutes 5 [--seed 1]`.

Goes through the properties in turn, with new examples in every round, and reads every file that comes of them
as a job does. Prints the cases tried, the time, and the faults found, each once; exits with 1 if there is any.
"""

import argparse
import os
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from properties import PROPERTIES, Property, Results, explore
from read_results import misread

EXAMPLES = 200
READ = "files read"


def round_of(part: Property, seed: int, tried: Counter[str], faults: dict[str, str]) -> None:
    """Try a property's examples of one seed; add what was found under the place where it was raised."""
    results = Results()
    with tempfile.TemporaryDirectory() as folder:
        try:
            explore(part, Path(folder), results, examples=EXAMPLES, chosen_seed=seed)
        except Exception as error:
            first = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
            place = traceback.extract_tb(first.__traceback__)[-1]
            key = f"{part.name}: {type(first).__name__} at {Path(place.filename).name}:{place.lineno}"
            notes = " ".join(getattr(error, "__notes__", []) + getattr(first, "__notes__", []))
            faults.setdefault(key, f"{str(first)[:1000]} {notes[:1000]} (seed {seed})")
        for wrong in misread(results):
            faults.setdefault(f"{part.name}: reading: {wrong[-100:]}", f"{wrong[:2000]} (seed {seed})")
    tried[part.name] += results.tried
    tried[READ] += len(results.files)


def main() -> None:
    """Go on until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.environ["SAGEMAKER_SSD_WEIGHTS"] = "/nonexistent"
    tried: Counter[str] = Counter()
    faults: dict[str, str] = {}
    begun, seed = time.monotonic(), options.seed
    while time.monotonic() < begun + 60 * options.minutes:
        for part in PROPERTIES:
            round_of(part, seed, tried, faults)
            if time.monotonic() >= begun + 60 * options.minutes:
                break
        seed += 1
    for name, count in tried.items():
        print(f"{name}: {count:,}")
    total = sum(count for name, count in tried.items() if name != READ)
    print(f"{total:,} cases in {time.monotonic() - begun:.0f} s, {len(faults)} faults")
    for key, text in faults.items():
        print(f"\n{key}\n  {text}")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
