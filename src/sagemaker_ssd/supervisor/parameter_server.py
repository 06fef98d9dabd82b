"""MXNet's parameter server (ps-lite): a scheduler on the first host, a server and a worker on every host."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Role = Literal["scheduler", "server", "worker"]
# What ps-lite reads beside DMLC_*, without a prefix: the port on which a worker or server listens.
_PORT: Final = "PORT"


@dataclass(frozen=True)
class ParameterServer:
    """Where a job's parameter server is: the number of hosts, this one's IPv4 address, the scheduler's and its port."""

    hosts: int
    address: str
    scheduler: tuple[str, int]


def role_environment(environment: Mapping[str, str], role: Role, place: ParameterServer) -> dict[str, str]:
    """Return the environment of a role's process on this host.

    Addresses instead of names and interfaces: ps-lite wants an IPv4 address of the scheduler, and DMLC_INTERFACE names
    an interface that need not exist. No DMLC variable that the caller has set stays. Scheduler and servers get
    no GPU and one thread: they wait, copy and add, beside a worker that needs the cores.
    """
    kept = {name: value for name, value in environment.items() if not name.startswith("DMLC_") and name != _PORT}
    address, port = place.scheduler
    kept |= {
        "DMLC_ROLE": role,
        "DMLC_NUM_WORKER": str(place.hosts),
        "DMLC_NUM_SERVER": str(place.hosts),
        "DMLC_PS_ROOT_URI": address,
        "DMLC_PS_ROOT_PORT": str(port),
        "DMLC_NODE_HOST": place.address,
    }
    if role != "worker":
        kept |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "MXNET_KVSTORE_REDUCTION_NTHREADS": "1"}
    return kept
