"""Messages between supervisors: one JSON object a line, with its `kind`."""

import json
from dataclasses import asdict
from typing import Any, Final

from sagemaker_ssd.errors import shorten
from sagemaker_ssd.link.ending import Ending

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


def encode_ending(kind: str, ending: Ending) -> bytes:
    """Write an ending as a message of a kind; a sentence that is too long for a line is cut."""
    return encode(kind, ending=asdict(ending) | {"sentence": shorten(ending.sentence, _LONGEST_SENTENCE)})


def decode_ending(message: Message) -> Ending:
    """Read the ending in a message of a host that runs the same version."""
    return Ending(**message["ending"])
