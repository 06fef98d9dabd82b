"""What check-gpu found: one line for each check and each measurement, and the table of all."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Finding:
    """What was looked at, on which devices, what was found and what is allowed; holds: None for a mere measurement."""

    what: str
    where: str
    found: str
    allowed: str = ""
    holds: bool | None = None

    def line(self) -> str:
        """Return the finding as a line of the log."""
        allowed = f" (allowed: {self.allowed})" if self.allowed else ""
        return f"{self.verdict}: {self.what}, {self.where}: {self.found}{allowed}"

    @property
    def verdict(self) -> str:
        """Return `ok`, `FAILED`, or `measured`."""
        return {True: "ok", False: "FAILED", None: "measured"}[self.holds]


def at_most(what: str, where: str, value: float, bound: float) -> Finding:
    """Return the finding of a figure that must not be above a bound; one that is not a number is above all."""
    return Finding(what, where, f"{value:.2g}", f"at most {bound:g}", bool(value <= bound))


def to_json(findings: Iterable[Finding]) -> str:
    """Return findings as one line."""
    return json.dumps([asdict(finding) for finding in findings])


def from_json(line: str) -> list[Finding]:
    """Read what `to_json` wrote."""
    return [Finding(**fields) for fields in json.loads(line)]


def table(findings: Sequence[Finding]) -> str:
    """Return findings as a table in Markdown, whose columns line up in a terminal too."""
    rows = [("", "check", "where", "found", "allowed")]
    rows += [(one.verdict, one.what, one.where, one.found, one.allowed) for one in findings]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
