"""output/data/metrics.json: every figure of the job in one document."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sagemaker_ssd.artifacts.whole_file import whole_file


def write_metrics(path: Path, document: Mapping[str, Any]) -> None:
    """Replace the file at once, so that a reader or a kill never finds half of it."""
    with whole_file(path) as part:
        part.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")
