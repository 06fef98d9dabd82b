"""Every odd input, what becomes of it, and the sentence that a person reads.

`python tests/cases/table.py [FILE]` makes every case anew, checks it as a job does, reads the result with its
reader, and writes the table as text; exits with 1 if anything is not as the case expects.
"""

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import image_cases
import json_cases
import record_cases
from odd_channel import USED, Row, run

CASES = [*image_cases.CASES, *json_cases.CASES, *record_cases.CASES]
MARK = {USED: "used"}


def rows() -> list[Row]:
    """Run every case in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return [run(case, Path(folder) / str(number)) for number, case in enumerate(CASES)]


def faults(row: Row) -> list[str]:
    """Name what is not as the case expects."""
    case, found = row.case, list(row.wrong)
    if row.outcome != case.outcome:
        found.append(f"{row.outcome}, not {case.outcome}: {row.sentence}")
    if case.says not in row.sentence or bool(case.says) != bool(row.sentence):
        found.append(f"says {row.sentence!r}, not {case.says!r}")
    if "Traceback" in row.sentence:
        found.append("shows a traceback")
    return found


def written(all_rows: Iterable[Row]) -> str:
    """Write the table."""
    lines: list[str] = []
    group = ""
    for row in all_rows:
        if row.case.group != group:
            group = row.case.group
            lines += ["", group.upper()]
        sentence = " / ".join(row.sentence.splitlines()) or "-"
        lines += [f"{row.case.name:62} {row.outcome:14} {sentence}"]
        lines += [f"{'':62} WRONG: {fault}" for fault in faults(row)]
    return "\n".join(lines[1:]) + "\n"


def main() -> None:
    """Write the table to a file, or print it."""
    found = rows()
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(written(found))
    else:
        print(written(found), end="")
    sys.exit(any(faults(row) for row in found))


if __name__ == "__main__":
    main()
