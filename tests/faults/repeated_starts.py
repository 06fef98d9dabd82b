"""Starts two hosts ten times with random delays and compares each run with one process.

`python tests/faults/repeated_starts.py`: a small network under dist_sync, whose scheduler, servers and workers start in
random order within three seconds, in every other run at once. Prints the largest difference of every run, and how many
of them were right; exits with 1 if not all were. A number after it is the number of runs.
"""

import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from hosts.exchange_hosts import Hosts, Values, difference, started_hosts
from hosts.exchange_program import Plan, alone

STEPS = [[[4, 5], [6, 7]], [[0, 1], [2]], [[3], []]]
PLAN = Plan(epochs=[STEPS, STEPS])
# Rounding alone; a host that starts from something else than its weights is off by whole numbers.
ALLOWED = 1e-6


def right(number: int, hosts: Hosts, expected: dict[str, Values]) -> bool:
    """Run the hosts once, print what came out and say whether it is right."""
    chance, longest, begun = random.Random(number), 3.0 * (number % 2), time.monotonic()
    try:
        first, second = hosts.run(PLAN, seconds=60, delay=lambda: chance.uniform(0, longest))
    except AssertionError as failure:
        print(f"run {number}: FAILED: {failure}", flush=True)
        return False
    largest = max(difference(of, first.weights[moment]) for moment, of in expected.items())
    same = first.facts["digests"] == second.facts["digests"]
    print(
        f"run {number}, delays up to {longest:g} s: largest difference {largest:g}, hosts "
        f"{'the same' if same else 'NOT THE SAME'}, {time.monotonic() - begun:.1f} s",
        flush=True,
    )
    return same and largest <= ALLOWED


def main() -> int:
    """Run as often as is asked for."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    folder = Path(tempfile.mkdtemp(prefix="repeated-starts-"))
    expected = alone(PLAN).weights
    with started_hosts(folder) as hosts:
        results = [right(number, hosts, expected) for number in range(runs)]
    shutil.rmtree(folder)
    print(f"{sum(results)} of {runs} right")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
