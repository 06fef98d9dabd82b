"""What supervisors send one another: messages (one JSON object a line), outcomes, and the handshake of a connection."""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final, Literal

from sagemaker_ssd.contract.environment import PORT_VARIABLE
from sagemaker_ssd.errors import JobError, reported_error, shorten, shown

Kind = Literal["done", "stopped", "failed"]


@dataclass(frozen=True)
class Outcome:
    """How a host's part of the job, or the whole job, ended: with the exit code and the sentence for the person.

    host: the host that this is about, "" for the link between the hosts itself. sentence: "" when done.
    """

    kind: Kind
    host: str
    exit_code: int = 0
    sentence: str = ""

    def error(self, here: str) -> JobError | None:
        """Return the failure that host `here` reports, None with exit code 0; another host's comes with its name."""
        if self.exit_code == 0:
            return None
        sentence = self.sentence if self.host in ("", here) else f"host {self.host}: {self.sentence}"
        return reported_error(self.exit_code, sentence)


class MessageKind(StrEnum):
    """What a message is for. The values are those of `_PROTOCOL_NUMBER`, which another value would have to raise."""

    # The handshake, in this order. Hosts of other versions read it too, and learn from it that they are.
    HANDSHAKE = "greeting"
    WELCOME = "welcome"
    CONFIRMATION = "here"
    REJECTION = "refusal"
    # From the first host to all others.
    RENDEZVOUS = "meeting"
    GATHERED = "gathered"
    VERDICT = "verdict"
    # From every other host to the first.
    GATHER = "give"
    OUTCOME = "end"
    # Both ways.
    HEARTBEAT = "beat"
    STOP = "stop"


Message = dict[str, Any]
# Before a host has said who it is; nothing that it sends then comes near.
LONGEST_LINE: Final = 1 << 20
# What one host gives to `all_gather`, as JSON: the boxes of a hundred thousand classes.
LONGEST_VALUE: Final = 1 << 20
# For the rest of a line that carries values.
_ENVELOPE: Final = 4096
_LONGEST_SENTENCE: Final = 100_000


def longest_line(values: int) -> int:
    """Return how long a line can be between hosts that know one another: with so many hosts' values."""
    return values * LONGEST_VALUE + _ENVELOPE


def encode(kind: MessageKind, **content: object) -> bytes:
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


def encode_outcome(kind: MessageKind, outcome: Outcome) -> bytes:
    """Write an outcome as a message of a kind; a sentence that is too long for a line is cut."""
    return encode(kind, ending=asdict(outcome) | {"sentence": shorten(outcome.sentence, _LONGEST_SENTENCE)})


def decode_outcome(message: Message) -> Outcome:
    """Read the outcome in a message of a host that runs the same version."""
    return Outcome(**message["ending"])


_PROTOCOL: Final = "sagemaker-ssd-hosts"
_PROTOCOL_NUMBER: Final = 1


@dataclass(frozen=True)
class Handshake:
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
class Rejection:
    """Why a host is turned away.

    ends_the_job: the host belongs to the job, so the job cannot go on without it; not so for a host of another job.
    """

    exit_code: int
    sentence: str
    ends_the_job: bool = False


def encode_handshake(handshake: Handshake) -> bytes:
    """Write the first line of a connection."""
    return encode(MessageKind.HANDSHAKE, protocol=_PROTOCOL, number=_PROTOCOL_NUMBER, **asdict(handshake))


def decode_handshake(message: Message) -> tuple[Handshake, int]:
    """Read an unknown host's first message, with the number of its protocol; raises ValueError for anything else."""
    job, hosts, host = message.get("job"), message.get("hosts"), message.get("host")
    version, configuration, number = message.get("version"), message.get("configuration"), message.get("number")
    if not (
        message["kind"] == MessageKind.HANDSHAKE
        and message.get("protocol") == _PROTOCOL
        and isinstance(number, int)
        and isinstance(job, str)
        and isinstance(host, str)
        and isinstance(version, str)
        and isinstance(configuration, str | None)
        and isinstance(hosts, list)
        and all(isinstance(name, str) for name in hosts)
    ):
        raise ValueError("no handshake")
    return Handshake(job, tuple(hosts), host, version, configuration), number


def check_handshake(first: Handshake, other: Handshake, number: int) -> Rejection | None:
    """Return why the first host rejects another one, whose protocol has a `number`; None when it may take part."""
    here = first.host
    if other.job != first.job:
        return Rejection(
            1,
            f"this host belongs to the job {shown(other.job)}, and {here} to the job {shown(first.job)}. Where several "
            f"jobs share a machine, give each a port of its own in the environment variable {PORT_VARIABLE}",
        )
    if other.hosts != first.hosts:
        return Rejection(
            1,
            f"the hosts in resourceconfig.json are {shown(list(other.hosts))} on this host and "
            f"{shown(list(first.hosts))} on {here}; all hosts must have the same list in the same order",
        )
    if other.host not in first.hosts[1:]:
        return Rejection(
            1,
            f"this host is {shown(other.host)}, which is not one of those that {here} waits for: "
            f"{shown(list(first.hosts[1:]))}",
        )
    # From here on it is a host of this job.
    if other.version != first.version or number != _PROTOCOL_NUMBER:
        return Rejection(
            1,
            f"this host runs version {shown(other.version)} of this program, and {here} runs "
            f"{shown(first.version)}; all hosts must run the same image",
            ends_the_job=True,
        )
    if None not in (first.configuration, other.configuration) and first.configuration != other.configuration:
        return Rejection(
            1,
            f"the hyperparameters of this host are not those of {here}; hyperparameters.json must be the same on "
            "all hosts",
            ends_the_job=True,
        )
    return None


def already_connected(here: str, host: str) -> Rejection:
    """Return why a second host of the same name is turned away."""
    return Rejection(
        2,
        f"a host of the name {shown(host)} is connected to {here} already. Each host must be started once: end "
        "the other one and start the job again",
    )
