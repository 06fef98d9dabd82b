"""Reads one of the platform's config files: a JSON object, or a fault that says what keeps it from being read."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from sagemaker_ssd.errors import named, shown


@dataclass
class Diagnostics:
    """What reading a job reports: the faults that stop it, and notices about what is accepted but does nothing."""

    faults: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def read_object(path: Path, must_hold: str, diagnostics: Diagnostics) -> dict[str, object] | None:
    """Read the JSON object in `path`; None with a fault, which ends with `must_hold`, when there is none.

    A key that is given twice is a fault too, but the object is read on so that its other faults are found.
    """
    repeated: list[str] = []

    def note_repeated(pairs: list[tuple[str, object]]) -> dict[str, object]:
        keys = [key for key, _ in pairs]
        repeated.extend(key for key in dict.fromkeys(keys) if keys.count(key) > 1)
        return dict(pairs)

    try:
        content = json.loads(_text(path), object_pairs_hook=note_repeated)
        if not isinstance(content, dict):
            raise ValueError(f"it holds {shown(content)}, which is not a JSON object")
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        diagnostics.faults.append(f"{path.name}: it is not JSON ({error.msg} at {place}); {must_hold}")
    except RecursionError:
        diagnostics.faults.append(f"{path.name}: it is nested too deeply; {must_hold}")
    except ValueError as error:
        diagnostics.faults.append(f"{path.name}: {error}; {must_hold}")
    else:
        diagnostics.faults.extend(f"{path.name}: {named(key)} is given more than once" for key in repeated)
        return content
    return None


def is_there(path: Path) -> bool:
    """Say whether there is anything at `path`; what cannot be looked at is there, so that reading it tells why."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _text(path: Path) -> str:
    """Read a file's text; raises ValueError with what is wrong, for a person."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder, not a file") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from None
    try:
        # Editors on Windows put a byte order mark in front, which json refuses.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 text (byte {error.start + 1} of {len(content)})") from None
    if not text.strip():
        raise ValueError("it is empty")
    return text
