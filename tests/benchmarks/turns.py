"""Programs that do the same work by turns, so that a machine's moods meet all of them alike; medians and ratios.

Core seconds are what the kernel counts for a side's process and all its children, as /proc tells.

Each side is a process of its own, which serves as serving.py says.
"""

import json
import os
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sagemaker_ssd.cores import usable_cores
from sagemaker_ssd.processes.mxnet_environment import mxnet_environment

HERE = Path(__file__).parent
# On a slow machine fewer rounds are made than were asked for: none begins after so many seconds, but for these first.
SECONDS_OF_ROUNDS = 180.0
LEAST_ROUNDS = 3
TORCH = HERE.parent.parent / ".venv-torch" / "bin" / "python"


@dataclass
class Side:
    """One program. `facts` is what it says when it is ready, `seconds` and `core_seconds` what each turn took."""

    name: str
    command: Sequence[object]
    # Whether it runs as this program's worker does; the others have the same number of threads.
    worker: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    core_seconds: list[float] = field(default_factory=list)
    megabytes: float = 0.0
    _process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the program and wait until it is warm."""
        environment = surroundings(worker=self.worker)
        environment["PYTHONPATH"] = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
        self._process = subprocess.Popen(
            [str(part) for part in self.command],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if "VERBOSE" not in os.environ else None,
            text=True,
        )
        self.facts = json.loads(self._answer("ready "))

    def turn(self) -> None:
        """Let it do one piece of work."""
        assert self._process is not None
        assert self._process.stdin is not None
        before = core_seconds(self._process.pid)
        print("go", file=self._process.stdin, flush=True)
        self.seconds.append(float(self._answer("seconds ")))
        self.core_seconds.append(core_seconds(self._process.pid) - before)

    def end(self) -> None:
        """Let it say its memory and end."""
        if self._process is None:
            return
        if self._process.poll() is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self.megabytes = float(self._answer("megabytes "))
        self._process.wait(60)

    def _answer(self, begin: str) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(begin):
                return line.removeprefix(begin).strip()
        raise SystemExit(f"{self.name} ended; run it by hand: {' '.join(map(str, self.command))}")


def surroundings(*, worker: bool) -> dict[str, str]:
    """Return the environment of this program's worker, or one that has no more of it than the number of threads."""
    if worker:
        return mxnet_environment(os.environ, threads=usable_cores())
    # By itself MXNet takes one thread for every two processors.
    return {**os.environ, "OMP_NUM_THREADS": str(usable_cores())}


def core_seconds(pid: int) -> float:
    """Return the processor time so far of a process and its children."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        children = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except FileNotFoundError:
        return 0.0
    # User and system, of the process and of the children that have ended; behind the name, which may hold spaces.
    ticks = sum(int(part) for part in stat.rpartition(")")[2].split()[11:15])
    return ticks / os.sysconf("SC_CLK_TCK") + sum(map(core_seconds, children))


def take_turns(sides: Sequence[Side], rounds: int) -> None:
    """Let all sides work by turns, so many rounds or what a slow machine does of them; fills in their figures."""
    try:
        for side in sides:
            side.start()
        begin = time.monotonic()
        for done in range(rounds):
            if done >= LEAST_ROUNDS and time.monotonic() - begin > SECONDS_OF_ROUNDS:
                break
            for side in sides:
                side.turn()
        for side in sides:
            side.end()
    finally:
        for side in sides:
            if side._process is not None and side._process.poll() is None:
                side._process.kill()
                side._process.wait()


def table(title: str, sides: Sequence[Side], work: float, unit: str, reference: int = 0) -> None:
    """Print what each side does of `work` a second, its spread, and the ratio of the reference side to it."""
    print(f"\n{title}, {len(sides[0].seconds)} rounds")
    print(f"| side | {unit}/s, median | least to most | {sides[reference].name} is | {unit} a core second | peak MB |")
    print("|---|---|---|---|---|---|")
    for side in sides:
        rates = sorted(work / seconds for seconds in side.seconds)
        # Round by round, since the machine's speed changes from round to round.
        pairs = zip(side.seconds, sides[reference].seconds, strict=True)
        ratio = statistics.median(theirs / ours for theirs, ours in pairs)
        of_core = work / max(statistics.median(side.core_seconds), 1e-9)
        print(
            f"| {side.name} | {statistics.median(rates):,.2f} | {rates[0]:,.2f} to {rates[-1]:,.2f} "
            f"| {ratio:.2f} x | {of_core:,.2f} | {side.megabytes:,.0f} |",
            flush=True,
        )
