"""The pre-trained weights that are installed beside the program, put there when the image or the .venv was made."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

# Names another folder than the environment's own.
VARIABLE = "SAGEMAKER_SSD_WEIGHTS"


@dataclass(frozen=True)
class StoredWeights:
    """`parameters`: a .params file with this program's names; `facts`: source, checksum, licence and the like."""

    parameters: Path
    facts: dict[str, str]


def store() -> Path:
    """Return the folder of the installed weights, which may not exist."""
    return Path(os.environ.get(VARIABLE) or Path(sys.prefix) / "share" / "sagemaker-ssd" / "weights")


def stored_weights(base_network: str) -> StoredWeights | None:
    """Return the installed weights of a base network, None where there are none or they are incomplete."""
    parameters = store() / f"{base_network}.params"
    try:
        facts = json.loads(parameters.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(facts, dict) or not parameters.is_file():
        return None
    return StoredWeights(parameters, {str(name): str(value) for name, value in facts.items()})
