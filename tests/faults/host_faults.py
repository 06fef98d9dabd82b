"""Kills every process of a job on two hosts at every stage with signal 9; all that remains must end, and say why.

`python tests/faults/host_faults.py` prints for each case the seconds until every host had ended, the exit codes and the
sentences; exits with 1 when a host took longer than a minute, said nothing, did not name the host, or left a process
running. Words after it choose the cases that hold all of them: `python tests/faults/host_faults.py server saving`.
"""

import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS), str(TESTS / "hosts"), str(TESTS / "faults")]

from killed_job import model_faults  # noqa: E402

from cluster_runner import Host, Hosts, left_running, make_hosts  # noqa: E402
from process_tree import descendants  # noqa: E402

ALLOWED_SECONDS = 60
STAGES = {
    # What the first host's log says when the stage begins.
    "start-up": "All 2 hosts are there",
    "training": "Start training.",
    "evaluation": "All hosts have the same weights after epoch 0",
    "saving": "Updating the best model",
}
ROLES = ("worker", "server", "scheduler", "supervisor", "whole host")
CASES = [
    (role, number, stage) for stage in STAGES for role in ROLES for number in ((0,) if role == "scheduler" else (0, 1))
]


def process_of(host: Host, role: str) -> list[int]:
    """Find the processes of a role, which may be about to start."""
    assert host.process is not None
    return [host.process.pid, *descendants(host.process.pid)] if role == "whole host" else [host.child(role)]


def kill(processes: list[int]) -> None:
    for process in processes:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue


def faults(hosts: Hosts, role: str, number: int, seconds: float, codes: list[int]) -> list[str]:
    """Judge what is left of a job of which a process was killed."""
    found = []
    silent = number if role in ("supervisor", "whole host") else None
    for index, host in enumerate(hosts.hosts):
        if index == silent:
            continue
        if codes[index] != 2:
            found.append(f"{host.name}: exit code {codes[index]}")
        if host.failure is None:
            found.append(f"{host.name}: no failure file")
        elif index != number and hosts[number].name not in host.failure:
            found.append(f"{host.name}: does not name {hosts[number].name}")
    if seconds > ALLOWED_SECONDS:
        found.append("too late")
    # A child that was just being started finds out a moment later that it is alone.
    deadline = time.monotonic() + 10
    while left_running(hosts) and time.monotonic() < deadline:
        time.sleep(0.1)
    found += [f"still running: {command}" for command in left_running(hosts)]
    if (hosts[0].job.base / "model" / "model_algo_1-0000.params").exists():
        found += model_faults(hosts[0].job)
    return found


def run(folder: Path, role: str, number: int, stage: str) -> bool:
    """Run one case and print it; say whether it went as it must."""
    hosts = make_hosts(folder, 2, epochs="50")
    try:
        hosts.start()
        hosts[0].until(STAGES[stage])
        kill(process_of(hosts[number], role))
        start = time.monotonic()
        codes = [ended.code for ended in hosts.end()]
        seconds = time.monotonic() - start
        found = faults(hosts, role, number, seconds, codes)
    finally:
        hosts.clean_up()
    print(f"{role} of {hosts[number].name}, {stage}: {seconds:.1f} s, exit codes {codes}")
    for host in hosts.hosts:
        print(f"    {host.name}: {host.failure or '(killed with the host)'}")
    for fault in found:
        print(f"    NOT AS IT MUST BE: {fault}")
    sys.stdout.flush()
    return not found


def main() -> int:
    """Run the chosen cases."""
    chosen = [case for case in CASES if all(word in " ".join(map(str, case)) for word in sys.argv[1:])]
    folder = Path(tempfile.mkdtemp(prefix="host-faults-"))
    results = [run(folder / str(index), *case) for index, case in enumerate(chosen)]
    shutil.rmtree(folder)
    print(f"{sum(results)} of {len(results)} cases went as they must")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
