"""Names, numbers and lists as the report words them; names come from the data and may hold anything."""

import html
import math
import unicodedata
from collections.abc import Sequence
from typing import Any

NAME_LENGTH = 60
# Characters that turn the direction of the text around them.
_TURNING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNSHOWN = {"Cc", "Cs", "Cn"}


def plain(value: object, length: int = NAME_LENGTH) -> str:
    """Return a value as one short line: what cannot be shown becomes U+FFFD, what is too long loses its middle."""
    text = "".join(
        " " if mark in "\n\t" else "\ufffd" if mark in _TURNING or unicodedata.category(mark) in _UNSHOWN else mark
        for mark in str(value)[: 20 * length]
    )
    if len(text) <= length:
        return text
    return f"{text[: length // 2]}…{text[-(length - length // 2 - 1) :]}"


def escape(value: object, length: int = NAME_LENGTH) -> str:
    """Return a value as text of HTML, in elements and in quoted attributes."""
    return html.escape(plain(value, length))


def number(value: Any) -> float | None:
    """Return a finite number, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def digits(value: float | None, digits: int = 3) -> str:
    """Return a figure with its digits, or a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def percent(part: float, whole: float) -> str:
    """Return a share in whole percent; never 0 % for something and never 100 % for less than all."""
    share = 100 * part / whole
    if 0 < share < 1:
        return "under 1 %"
    if 99 < share < 100:
        return "over 99 %"
    return f"{share:.0f} %"


def quoted(name: str) -> str:
    """Return a class name in quotation marks."""
    return f"“{name}”"


def listing(parts: Sequence[str], limit: int = 5) -> str:
    """Return the first parts as a list in words, and how many more there are."""
    if len(parts) > limit + 1:
        return f"{', '.join(parts[:limit])} and {len(parts) - limit:,} more"
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
