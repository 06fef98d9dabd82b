"""What reading a job finds, and how a given value is shown in a text."""

import json
import re
from dataclasses import dataclass, field

# Long enough to recognise a value, short enough to leave room for other faults in the failure reason.
SHOWN_LENGTH = 80


@dataclass
class Findings:
    """Collects the faults that stop a job and the notices about what is accepted but does nothing."""

    faults: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def shown(value: object) -> str:
    """Show a JSON value on one line: text in quotes, the rest as JSON, long values cut."""
    try:
        text = value if isinstance(value, str) else json.dumps(value)
    except RecursionError:  # reading takes a little more depth than writing
        text = "something nested deeply"
    if len(text) > SHOWN_LENGTH:
        text = text[:SHOWN_LENGTH] + "..."
    # Line breaks would split the list of faults, and a lone surrogate cannot be written to a UTF-8 log.
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return f"'{text}'" if isinstance(value, str) else text


def named(name: str) -> str:
    """Show a key of a JSON object: as it is where it is a plain word, else as a quoted text."""
    return name if re.fullmatch(r"[\w.-]{1,80}", name) else shown(name)


def listed(words: list[str], joint: str = "or") -> str:
    """Join words for a sentence: `a`, `a or b`, `a, b or c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {joint} {words[-1]}"
