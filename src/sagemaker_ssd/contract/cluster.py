"""Reads resourceconfig.json: the hosts of the job."""

from dataclasses import dataclass
from typing import Final

from sagemaker_ssd.contract.config_file import Diagnostics, is_there, read_object
from sagemaker_ssd.contract.paths import RESOURCE_CONFIG_FILE, Paths
from sagemaker_ssd.errors import shown

_MUST_HOLD: Final = 'it must hold a JSON object such as {"current_host": "algo-1", "hosts": ["algo-1"]}'


@dataclass(frozen=True)
class Cluster:
    """The hosts of the job in the platform's order, and which of them this one is."""

    current_host: str
    hosts: tuple[str, ...]

    @property
    def is_first(self) -> bool:
        """Whether this is the host that evaluates, and writes everything but its own failure."""
        return self.current_host == self.hosts[0]

    @property
    def several(self) -> bool:
        """Whether the job runs on more than one host."""
        return len(self.hosts) > 1


def read_cluster(paths: Paths, diagnostics: Diagnostics) -> Cluster | None:
    """Read the cluster, None with faults; without a file it is one host, algo-1."""
    if not is_there(paths.resource_config):
        diagnostics.notices.append(
            f"{RESOURCE_CONFIG_FILE}: there is no such file, so the job runs on one host, algo-1"
        )
        return Cluster("algo-1", ("algo-1",))
    content = read_object(paths.resource_config, _MUST_HOLD, diagnostics)
    if content is None:
        return None
    current_host, hosts = _current_host(content, diagnostics), _hosts(content, diagnostics)
    if current_host is None or hosts is None:
        return None
    if current_host not in hosts:
        diagnostics.faults.append(
            f"{RESOURCE_CONFIG_FILE}: current_host is {shown(current_host)}, which is not among the hosts "
            f"{shown(list(hosts))}"
        )
        return None
    return Cluster(current_host, hosts)


def find_cluster(paths: Paths) -> Cluster | None:
    """Read the cluster of a job whose files have faults, to tell its other hosts; None where it cannot be told."""
    return read_cluster(paths, Diagnostics())


def _current_host(content: dict[str, object], diagnostics: Diagnostics) -> str | None:
    host = content.get("current_host")
    if isinstance(host, str) and host:
        return host
    given = f"is {shown(host)}" if "current_host" in content else "is missing"
    diagnostics.faults.append(
        f"{RESOURCE_CONFIG_FILE}: current_host {given}; it must be the name of this host, such as 'algo-1'"
    )
    return None


def _hosts(content: dict[str, object], diagnostics: Diagnostics) -> tuple[str, ...] | None:
    hosts = content.get("hosts")
    if isinstance(hosts, list) and hosts and all(isinstance(host, str) and host for host in hosts):
        if len(set(hosts)) == len(hosts):
            return tuple(hosts)
        diagnostics.faults.append(f"{RESOURCE_CONFIG_FILE}: hosts is {shown(hosts)}; every host must be listed once")
        return None
    given = f"is {shown(hosts)}" if "hosts" in content else "is missing"
    diagnostics.faults.append(f'{RESOURCE_CONFIG_FILE}: hosts {given}; it must be a list of names, such as ["algo-1"]')
    return None
