"""Two hosts on one machine beside one host that does the same work: seconds and bytes a step.

`python tests/benchmarks/host_overhead.py [--network resnet-50] [--steps 6] [--rounds 3] [--rate 2gbit]` runs whole jobs
of two epochs in turn: one host with a mini_batch_size of 8, and two hosts of 4 each with dist_sync and with dist_async,
with as many threads in all. Seconds a step are those of the second epoch, slowest host. Bytes a step are what passes
the loopback interface of a network namespace that holds nothing else, beside the least possible: the gradients out and
the weights in, once a host; with dist_async the weights that all hosts fetch at an epoch's end are in it too. Needs the
rights to make that namespace (`unshare --net`). rate: of the loopback interface, as tc (iproute2) has it; all that the
hosts send passes it, so that an exchange which nothing hides takes its bytes by the rate.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS)]

from cluster_runner import Hosts, make_hosts  # noqa: E402

BATCH = 8
RECEIVED = re.compile(r"bytes_received:(\d+)")
THROUGHPUT = re.compile(r"train throughput=(\S+) records/second")
MODES = (None, "dist_sync", "dist_async")


@dataclass
class Measured:
    """Of one job's second epoch."""

    seconds_a_step: float
    bytes_a_step: float
    # What each host's server received, as a share of all.
    shares: list[float]


def loopback_bytes() -> int:
    """Read what the loopback interface of this namespace has sent; /sys would show another namespace's."""
    (line,) = [line for line in Path("/proc/net/dev").read_text().splitlines() if line.strip().startswith("lo:")]
    return int(line.partition(":")[2].split()[8])


def received(hosts: Hosts) -> list[int]:
    """Add up what the connections of each host's server have received, as `ss` (iproute2) tells."""
    told = subprocess.run(["ss", "-tinpHO"], capture_output=True, text=True, check=True).stdout.splitlines()
    servers = [host.child("server") for host in hosts.hosts] if len(hosts.hosts) > 1 else []
    return [
        sum(int(found[1]) for line in told if f"pid={server}," in line and (found := RECEIVED.search(line)))
        for server in servers
    ]


def count(hosts: Hosts, steps: int, found: list[float], servers: list[float]) -> None:
    """Note the bytes of the second epoch's steps."""
    hosts[0].until("Updating the best model")
    before, of_servers = loopback_bytes(), received(hosts)
    # Behind the last step's exchange, which goes on when its losses are known.
    hosts[0].until("same weights after epoch 1" if len(hosts.hosts) > 1 else "epoch=1, batch=")
    found.append((loopback_bytes() - before) / steps)
    grown = [now - then for now, then in zip(received(hosts), of_servers, strict=True)]
    servers.extend(each / sum(grown) for each in grown)


def run(folder: Path, mode: str | None, network: str, steps: int) -> Measured:
    number = 1 if mode is None else 2
    images = BATCH * steps
    hosts = make_hosts(
        folder,
        number,
        *("--train", str(images), "--validation", "2"),
        base_network=network,
        kv_store=mode,
        epochs="2",
        mini_batch_size=str(BATCH // number),
        num_training_samples=str(images),
    )
    hosts.environment(OMP_NUM_THREADS=str(max(1, len(os.sched_getaffinity(0)) // number)))
    found: list[float] = []
    servers: list[float] = []
    counting = threading.Thread(target=count, args=(hosts, steps, found, servers), daemon=True)
    try:
        hosts.start()
        counting.start()
        for ended in hosts.end(1800):
            assert ended.code == 0, ended.log
        counting.join(timeout=30)
        shares = [images / number / float(THROUGHPUT.findall(host.log)[1]) for host in hosts.hosts]
    finally:
        hosts.clean_up()
    return Measured(max(shares) / steps, found[0], servers)


def least_bytes(network: str) -> int:
    """Give the bytes of all trained parameters, once out and once in, for two hosts."""
    from sagemaker_ssd.ssd.graphs import saved_graph
    from sagemaker_ssd.ssd.initial_values import initial_parameters
    from sagemaker_ssd.ssd.network import Network

    architecture = Network(network, 300, 3)
    arguments = initial_parameters(saved_graph(architecture), 300, seed=0).arguments
    # The pattern of the drawn job.
    frozen = architecture.freeze("^(conv1_|conv2_).*").arguments
    return 2 * 2 * 4 * sum(array.size for name, array in arguments.items() if name not in frozen)


def in_own_network(rate: str | None) -> None:
    """Start this program again in a network namespace of its own, where it is not yet in one."""
    if "--inside" not in sys.argv:
        again = [sys.executable, *sys.argv, "--inside"]
        limit = f"tc qdisc add dev lo root tbf rate {rate} burst 4mb latency 400ms && " if rate else ""
        prepare = f'ip link set lo up && {limit}exec "$@"'
        command = ["unshare", "--map-root-user", "--net", "sh", "-c", prepare, "sh", *again]
        raise SystemExit(subprocess.run(command, check=False).returncode)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--network", default="resnet-50", choices=("resnet-50", "vgg-16"))
    options.add_argument("--steps", type=int, default=6)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--rate", help="such as 2gbit; unlimited unless given")
    options.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    in_own_network(chosen.rate)
    rounds: list[dict[str | None, Measured]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(chosen.rounds):
            rounds.append({})
            for mode in MODES:
                begin = time.monotonic()
                measured = run(Path(folder) / f"{number}-{mode}", mode, chosen.network, chosen.steps)
                rounds[-1][mode] = measured
                print(f"{number} {mode or 'one host'}: {measured} (job {time.monotonic() - begin:.0f} s)", flush=True)
    least = least_bytes(chosen.network)
    print(f"{chosen.network}, 300 pixels, {BATCH} images a step, {chosen.steps} steps, {chosen.rounds} rounds")
    for mode in MODES:
        seconds = [of_round[mode].seconds_a_step for of_round in rounds]
        ratios = [of_round[mode].seconds_a_step / of_round[None].seconds_a_step for of_round in rounds]
        traffic = statistics.median(of_round[mode].bytes_a_step for of_round in rounds)
        print(
            f"{mode or 'one host':>10}: {statistics.median(seconds):.2f} s a step ({min(seconds):.2f} to "
            f"{max(seconds):.2f}), {statistics.median(ratios):.2f} x one host; {traffic / 1e6:.1f} MB a step, "
            f"{traffic / least:.3f} x the least possible; servers "
            + "/".join(f"{100 * share:.0f}" for share in rounds[-1][mode].shares)
        )


if __name__ == "__main__":
    main()
