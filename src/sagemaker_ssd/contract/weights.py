"""The pre-trained weights that are installed beside the program, put there when the image or the .venv was made."""

import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from sagemaker_ssd.errors import UserError

# Names another folder than the environment's own.
WEIGHTS_VARIABLE = "SAGEMAKER_SSD_WEIGHTS"


@dataclass(frozen=True)
class StoredWeights:
    """`parameters`: a .params file with this program's names; `facts`: source, checksum, licence and the like."""

    parameters: Path
    facts: dict[str, str]

    def check(self) -> None:
        """Raise UserError unless the parameters can be read and are those that the note was written for."""
        try:
            with self.parameters.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise damaged(self.parameters, f"it cannot be read ({error.strerror})") from error
        if digest != self.facts.get("sha256"):
            raise damaged(self.parameters, f"its sha256 is {digest}, not {self.facts.get('sha256')}")


def store() -> Path:
    """Return the folder of the installed weights, which may not exist."""
    return Path(os.environ.get(WEIGHTS_VARIABLE) or Path(sys.prefix) / "share" / "sagemaker-ssd" / "weights")


def stored_weights(base_network: str) -> StoredWeights | None:
    """Return the installed weights of a base network, None without any; raises UserError when their note is damaged."""
    parameters = store() / f"{base_network}.params"
    note = parameters.with_suffix(".json")
    try:
        facts = json.loads(note.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise damaged(note, f"it cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        raise damaged(note, "it is not a JSON object")
    if not parameters.exists():
        return None
    return StoredWeights(parameters, {str(name): str(value) for name, value in facts.items()})


def required_weights(base_network: str) -> StoredWeights:
    """Return the installed weights of a base network; raises UserError, which says what to do without them."""
    weights = stored_weights(base_network)
    if weights is None:
        raise UserError(
            f"hyperparameters.json: use_pretrained_model is 1, but no ImageNet weights for {base_network} are installed"
            f" in {store()}: build the image with them (make image WEIGHTS={base_network}), or fetch them on a laptop "
            f"(python -m sagemaker_ssd.weights fetch {base_network}), or give a `pretrained` channel with a .params "
            "file, or set use_pretrained_model to 0"
        )
    return weights


def damaged(file: Path, reason: str) -> UserError:
    """Make the fault of an installed file, which is named after its network."""
    return UserError(
        f"{file} is damaged: {reason}. Install the weights again (python -m sagemaker_ssd.weights fetch {file.stem}), "
        "or build the image again"
    )
