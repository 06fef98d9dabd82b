"""output/data/metrics.json: every figure of the job in one document."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_metrics(path: Path, document: Mapping[str, Any]) -> None:
    """Replace the file at once, so that a reader or a kill never finds half of it."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")
    temporary.replace(path)
