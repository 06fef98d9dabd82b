"""How a host introduces itself to the first one, and why it can be turned away."""

from dataclasses import asdict, dataclass
from typing import Final

from sagemaker_ssd.contract.findings import shown
from sagemaker_ssd.link.deadlines import PORT_VARIABLE
from sagemaker_ssd.link.messages import Message, encode

_PROTOCOL: Final = "sagemaker-ssd-hosts"
_NUMBER: Final = 1


@dataclass(frozen=True)
class Greeting:
    """Who a host is.

    job: TRAINING_JOB_NAME or "". configuration: a digest of the hyperparameters, None where the job's files could not
    be read, which is then not compared.
    """

    job: str
    hosts: tuple[str, ...]
    host: str
    version: str
    configuration: str | None


@dataclass(frozen=True)
class Refusal:
    """Why a host is turned away.

    ends_the_job: the host belongs to the job, so the job cannot go on without it; not so for a stray.
    """

    exit_code: int
    sentence: str
    ends_the_job: bool = False


def encode_greeting(greeting: Greeting) -> bytes:
    """Write the first line of a connection."""
    return encode("greeting", protocol=_PROTOCOL, number=_NUMBER, **asdict(greeting))


def decode_greeting(message: Message) -> tuple[Greeting, int]:
    """Read a stranger's first message, with the number of its protocol; raises ValueError when it is no greeting."""
    job, hosts, host = message.get("job"), message.get("hosts"), message.get("host")
    version, configuration, number = message.get("version"), message.get("configuration"), message.get("number")
    if not (
        message["kind"] == "greeting"
        and message.get("protocol") == _PROTOCOL
        and isinstance(number, int)
        and isinstance(job, str)
        and isinstance(host, str)
        and isinstance(version, str)
        and isinstance(configuration, str | None)
        and isinstance(hosts, list)
        and all(isinstance(name, str) for name in hosts)
    ):
        raise ValueError("no greeting")
    return Greeting(job, tuple(hosts), host, version, configuration), number


def compare(first: Greeting, other: Greeting, number: int) -> Refusal | None:
    """Return why the first host turns another one away, None when it may come in."""
    here = first.host
    if other.job != first.job:
        return Refusal(
            1,
            f"this host belongs to the job {shown(other.job)}, and {here} to the job {shown(first.job)}. Where several "
            f"jobs share a machine, give each a port of its own in the environment variable {PORT_VARIABLE}",
        )
    if other.hosts != first.hosts:
        return Refusal(
            1,
            f"the hosts in resourceconfig.json are {shown(list(other.hosts))} on this host and "
            f"{shown(list(first.hosts))} on {here}; all hosts must have the same list in the same order",
        )
    if other.host not in first.hosts[1:]:
        return Refusal(
            1,
            f"this host is {shown(other.host)}, which is not one of those that {here} waits for: "
            f"{shown(list(first.hosts[1:]))}",
        )
    return _compare_programs(first, other, number)


def connected_already(here: str, host: str) -> Refusal:
    """Return why a second host of the same name is turned away."""
    return Refusal(
        2,
        f"a host of the name {shown(host)} is connected to {here} already. Each host must be started once: end "
        "the other one and start the job again",
    )


def _compare_programs(first: Greeting, other: Greeting, number: int) -> Refusal | None:
    if other.version != first.version or number != _NUMBER:
        return Refusal(
            1,
            f"this host runs version {shown(other.version)} of this program, and {first.host} runs "
            f"{shown(first.version)}; all hosts must run the same image",
            ends_the_job=True,
        )
    if None not in (first.configuration, other.configuration) and first.configuration != other.configuration:
        return Refusal(
            1,
            f"the hyperparameters of this host are not those of {first.host}; hyperparameters.json must be the same on "
            "all hosts",
            ends_the_job=True,
        )
    return None
