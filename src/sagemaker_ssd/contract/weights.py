"""The pre-trained weights that are installed with the program, when the image or the .venv is made."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from sagemaker_ssd.contract.environment import WEIGHTS_VARIABLE
from sagemaker_ssd.contract.paths import HYPERPARAMETERS_FILE
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.files import sha256


@dataclass(frozen=True)
class StoredWeights:
    """The installed weights of one base network.

    parameters: a .params file with this program's names. facts: source, checksum, licence and the like, from the note
    that is installed with it.
    """

    parameters: Path
    facts: dict[str, str]

    def check(self) -> None:
        """Raise UserError unless the parameters can be read and are those that the note was written for."""
        try:
            digest = sha256(self.parameters)
        except OSError as error:
            raise damaged(self.parameters, f"it cannot be read ({error.strerror})") from error
        if digest != self.facts.get("sha256"):
            raise damaged(self.parameters, f"its sha256 is {digest}, not {self.facts.get('sha256')}")


def weights_folder() -> Path:
    """Return the folder of the installed weights, which may not exist."""
    return Path(os.environ.get(WEIGHTS_VARIABLE) or Path(sys.prefix) / "share" / "sagemaker-ssd" / "weights")


def stored_weights(base_network: str) -> StoredWeights | None:
    """Return the installed weights of a base network, None without any; raises UserError when their note is damaged."""
    parameters = weights_folder() / f"{base_network}.params"
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
            f"{HYPERPARAMETERS_FILE}: use_pretrained_model is 1, but no ImageNet weights for {base_network} are "
            f"installed in {weights_folder()}: build the image with them (make image WEIGHTS={base_network}), or fetch "
            f"them on a laptop (python -m sagemaker_ssd.weights fetch {base_network}), or give a `pretrained` channel "
            "with a .params file, or set use_pretrained_model to 0"
        )
    return weights


def damaged(file: Path, reason: str) -> UserError:
    """Make the error of a damaged installed file, which is named after its network."""
    return UserError(
        f"{file} is damaged: {reason}. Install the weights again (python -m sagemaker_ssd.weights fetch {file.stem}), "
        "or build the image again"
    )
