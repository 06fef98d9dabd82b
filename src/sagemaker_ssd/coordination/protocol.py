"""How a host's part of a job, or the whole job, ended.

Messages between supervisors: one JSON object a line, with its `kind`.

How a host introduces itself to the first one, and why it can be turned away.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from sagemaker_ssd.contract.environment import PORT_VARIABLE
from sagemaker_ssd.errors import JobError, reported_error, shorten, shown

Kind = Literal["done", "stopped", "failed"]


@dataclass(frozen=True)
class Outcome:
    """What ended, with the exit code and the sentence for the person.

    host: the host that this is about, "" for the link between the hosts itself. sentence: "" when done.
    """

    kind: Kind
    host: str
    exit_code: int = 0
    sentence: str = ""

    def error(self, here: str) -> JobError | None:
        """Return the failure that host `here` reports, None with exit code 0; another host's is told with its name."""
        if self.exit_code == 0:
            return None
        sentence = self.sentence if self.host in ("", here) else f"host {self.host}: {self.sentence}"
        return reported_error(self.exit_code, sentence)


Message = dict[str, Any]
LONGEST_LINE: Final = 1 << 20
_LONGEST_SENTENCE: Final = 100_000


def encode(kind: str, **content: object) -> bytes:
    """Write a message as a line."""
    return json.dumps({"kind": kind, **content}).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Read a line; raises ValueError when it is not a message."""
    try:
        message = json.loads(line.decode())
    except RecursionError as error:
        raise ValueError("too deep") from error
    if not isinstance(message, dict) or not isinstance(message.get("kind"), str):
        raise ValueError("no object with a kind")
    return message


def encode_ending(kind: str, ending: Outcome) -> bytes:
    """Write an ending as a message of a kind; a sentence that is too long for a line is cut."""
    return encode(kind, ending=asdict(ending) | {"sentence": shorten(ending.sentence, _LONGEST_SENTENCE)})


def decode_ending(message: Message) -> Outcome:
    """Read the ending in a message of a host that runs the same version."""
    return Outcome(**message["ending"])


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
