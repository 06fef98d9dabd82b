"""The names of classes, where a channel's JSONs give them."""

import json
from pathlib import Path
from typing import Final

from sagemaker_ssd.data.pairing import find_files

# Names stand in every JSON; a few thousand show all that there are.
_LOOKED_AT: Final = 2000


def class_names(annotations: Path | None, num_classes: int) -> list[str]:
    """Return the name of each class id: from `categories` of the JSONs in a folder, else the number itself."""
    names: dict[int, str] = {}
    if annotations is not None:
        for path in find_files(annotations, (".json",))[:_LOOKED_AT]:
            names |= {number: name for number, name in _named(annotations / path) if number not in names}
            if len(names) == num_classes:
                break
    return [names.get(number, str(number)) for number in range(num_classes)]


def _named(path: Path) -> list[tuple[int, str]]:
    """Read what a JSON that has been checked names; nothing of what is no name."""
    try:
        categories = json.loads(path.read_bytes()).get("categories", [])
        return [(int(one["class_id"]), str(one["name"])) for one in categories if str(one["name"]).strip()]
    except (OSError, ValueError, AttributeError, TypeError, KeyError):
        return []
