"""MXNet's parameter server (ps-lite): a scheduler on the first host, a server and a worker on every host."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from sagemaker_ssd.errors import JobError, PlatformError
from sagemaker_ssd.processes.exit_reason import unreported_exit

Role = Literal["scheduler", "server", "worker"]
# What runs in the processes of scheduler and servers.
SERVER_MODULE: Final = "sagemaker_ssd.worker.parameter_server"
# What ps-lite reads besides DMLC_*, without a prefix: the port on which a worker or server listens.
_PORT: Final = "PORT"
_PROCESS_NAMES: Final[dict[Role, str]] = {
    "scheduler": "the parameter server's scheduler",
    "server": "the parameter server",
}
# What ps-lite's check of its socket says.
_CANNOT_LISTEN: Final = "bind failed"


@dataclass(frozen=True)
class ParameterServer:
    """Where a job's parameter server is: the number of hosts, this one's IPv4 address, the scheduler's and its port."""

    hosts: int
    address: str
    scheduler: tuple[str, int]


def role_environment(environment: Mapping[str, str], role: Role, parameter_server: ParameterServer) -> dict[str, str]:
    """Return the environment of a role's process on this host.

    Addresses instead of names and interfaces: ps-lite wants an IPv4 address of the scheduler, and DMLC_INTERFACE names
    an interface that need not exist. No DMLC variable that the caller has set stays. Scheduler and servers get
    no GPU and one thread: they wait, copy and add, while the worker needs the cores.
    """
    kept = {name: value for name, value in environment.items() if not name.startswith("DMLC_") and name != _PORT}
    address, port = parameter_server.scheduler
    kept |= {
        "DMLC_ROLE": role,
        "DMLC_NUM_WORKER": str(parameter_server.hosts),
        "DMLC_NUM_SERVER": str(parameter_server.hosts),
        "DMLC_PS_ROOT_URI": address,
        "DMLC_PS_ROOT_PORT": str(port),
        "DMLC_NODE_HOST": parameter_server.address,
    }
    if role != "worker":
        kept |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "MXNET_KVSTORE_REDUCTION_NTHREADS": "1"}
    return kept


def role_failure(
    role: Role, returncode: int, stderr_tail: str, parameter_server: ParameterServer, memory_remedy: str
) -> JobError:
    """Return the failure of a role's process on this host, which ends by itself only when it cannot go on."""
    process = _PROCESS_NAMES[role]
    if _CANNOT_LISTEN in stderr_tail:
        return PlatformError(
            f"{process} could not listen on {parameter_server.address}, the address of this host: its network is gone, "
            "or another program took the port that was free a moment before. Start the job again"
        )
    return unreported_exit(process, returncode, stderr_tail, memory_remedy)
