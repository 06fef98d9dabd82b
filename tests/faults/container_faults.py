"""Pauses a host's container, or takes its network away, in every stage of a job; every host must end, and say why.

`python tests/faults/container_faults.py` needs Docker and the image sagemaker-ssd:cpu. Prints for each case the seconds
until the other host had ended and until all had, the exit codes and the sentences; exits with 1 when that took longer
than a minute, or a sentence does not name the host. A paused container ends when it is woken, which is done a moment
after the other has ended.
"""

import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS), str(TESTS / "container")]

from host_containers import HostContainers  # noqa: E402

from container_runner import TINY, Engine, docker, draw  # noqa: E402

ALLOWED_SECONDS = 60
NAMES = ("algo-1", "algo-2")
STAGES = {
    # What the first host's log says when the stage begins.
    "start-up": "All 2 hosts are there",
    "training": "Start training.",
    "evaluation": "All hosts have the same weights after epoch 0",
    "saving": "Updating the best model",
}
FAULTS = ("pause", "network")
CASES = [(fault, name, stage) for stage in STAGES for fault in FAULTS for name in NAMES]


def run(folder: Path, fault: str, name: str, stage: str) -> bool:
    """Run one case and print it; say whether it went as it must."""
    hosts = HostContainers(Engine("sagemaker-ssd:cpu"))
    (other,) = set(NAMES) - {name}
    try:
        draw(folder / "opt_ml", *TINY)
        settings = folder / "opt_ml" / "input" / "config" / "hyperparameters.json"
        settings.write_text(settings.read_text().replace("{", '{"kv_store": "dist_sync", ', 1))
        hosts.start(folder / "opt_ml", 2)
        hosts["algo-1"].until(STAGES[stage])
        start = time.monotonic()
        if fault == "pause":
            docker("pause", hosts[name].name)
        else:
            hosts.cut(name)
        endings = {other: hosts.end(other, ALLOWED_SECONDS)}
        first = time.monotonic() - start
        if fault == "pause":
            docker("unpause", hosts[name].name)
        endings[name] = hosts.end(name, ALLOWED_SECONDS)
        seconds = time.monotonic() - start
    finally:
        hosts.clean_up()
    codes = [endings[each].code for each in NAMES]
    print(f"{fault} of {name}, {stage}: the other after {first:.1f} s, all after {seconds:.1f} s, exit codes {codes}")
    for each in NAMES:
        print(f"    {each}: {endings[each].failure}")
    right = codes == [2, 2] and seconds <= ALLOWED_SECONDS and name in (endings[other].failure or "")
    print("" if right else "    NOT AS IT MUST BE", flush=True)
    return right


def main() -> int:
    """Run the cases that hold all words of the command line."""
    chosen = [case for case in CASES if all(word in " ".join(case) for word in sys.argv[1:])]
    with tempfile.TemporaryDirectory(prefix="container-faults-") as folder:
        results = [run(Path(folder) / str(index), *case) for index, case in enumerate(chosen)]
    print(f"{sum(results)} of {len(results)} cases went as they must")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
