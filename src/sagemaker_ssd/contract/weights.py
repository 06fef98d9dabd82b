"""The pre-trained weights that are installed with the program, when the image or the .venv is made.

In their folder a network has two files for each of its sources: NETWORK-SOURCE.params, and NETWORK-SOURCE.json, the
note that says what it is. Until 0.2.0 there was one source for a network, whose files had the network's name alone.
defaults.json says which source of a network a job starts from where nobody names one.
"""

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sagemaker_ssd.contract.environment import WEIGHTS_SOURCE_VARIABLE, WEIGHTS_VARIABLE
from sagemaker_ssd.contract.paths import HYPERPARAMETERS_FILE
from sagemaker_ssd.errors import UserError, listed, shown
from sagemaker_ssd.files import sha256, write_json

DEFAULTS: Final = "defaults.json"
# The sources that there are for each network; where they are and what they give stands in weights/sources.py.
SOURCES_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "vgg-16": ("keras", "onnx-zoo", "coco-ssd", "gluoncv"),
    "resnet-50": ("onnx-zoo", "gluoncv"),
}


@dataclass(frozen=True)
class StoredWeights:
    """The installed weights of one source of a base network.

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


def installed_sources(base_network: str, folder: Path | None = None) -> dict[str, Path]:
    """Return the sources of which a network has both files, whole or damaged: the note of each by the source's name."""
    notes: dict[str, Path] = {}
    for note in sorted((folder or weights_folder()).glob(f"{base_network}*.json")):
        # A note of an earlier version has no source in its name.
        named = note.stem.removeprefix(base_network).removeprefix("-")
        source = named or _source_in(note)
        if note.with_suffix(".params").exists():
            notes.setdefault(source, note)
    return notes


def _source_in(note: Path) -> str:
    """Return the source that a note of an earlier version names, "" where it is damaged."""
    try:
        return _facts(note).get("source", "")
    except UserError:
        return ""


def _facts(note: Path) -> dict[str, str]:
    try:
        facts = json.loads(note.read_text(encoding="utf-8"))
    except OSError as error:
        raise damaged(note, f"it cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        raise damaged(note, "it is not a JSON object")
    return {str(name): str(value) for name, value in facts.items()}


def stored_weights(base_network: str, source: str) -> StoredWeights | None:
    """Return the installed weights of a source, None without any; raises UserError when their note is damaged."""
    note = installed_sources(base_network).get(source)
    return None if note is None else StoredWeights(note.with_suffix(".params"), _facts(note))


def default_sources(folder: Path | None = None) -> dict[str, str]:
    """Return network -> the source that is used where nobody names one, as installing left it; {} where unreadable."""
    try:
        found = json.loads(((folder or weights_folder()) / DEFAULTS).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def set_default_source(base_network: str, source: str, folder: Path) -> None:
    """Let jobs of a network start from a source where nobody names another; raises OSError."""
    path = folder / DEFAULTS
    write_json(path, {**default_sources(folder), base_network: source})
    # For whoever runs the program, whatever the installer's umask.
    path.chmod(0o644)


def source_to_use(base_network: str) -> str | None:
    """Return the installed source that a job of a network starts from, None where none is installed.

    It is the one that the environment variable names, else the default, else the only one. Raises UserError, which
    names what is installed, or every entry of the variable that is not allowed.
    """
    there = list(installed_sources(base_network))
    named = _named_source(base_network, there)
    if named is not None:
        if named not in there:
            choice = f"{listed(there)} is" if there else "none is"
            raise UserError(
                f"environment variable {WEIGHTS_SOURCE_VARIABLE} names the source {shown(named)} for {base_network}, "
                f"but in {weights_folder()} {choice} installed: name an installed one, or install it (make image "
                f"WEIGHTS={base_network}={named}; on a laptop: python -m sagemaker_ssd.weights fetch {base_network} "
                f"--source {named})"
            )
        return named
    default = default_sources().get(base_network)
    if default in there:
        return default
    if len(there) < 2:
        return there[0] if there else None
    if default is None:
        reason, remedy = f"no {DEFAULTS} that says which are used", "name one"
    else:
        reason = f"its {DEFAULTS} says that those from {shown(default)} are used, which are not there"
        remedy = (
            f"install these again (python -m sagemaker_ssd.weights fetch {base_network} --source {default}), or name "
            "others"
        )
    raise UserError(
        f"{weights_folder()} holds weights for {base_network} from {listed(there, 'and')}, and {reason}: {remedy} in "
        f"the environment variable {WEIGHTS_SOURCE_VARIABLE}"
    )


def _named_source(base_network: str, there: list[str]) -> str | None:
    """Read the variable: SOURCE for whatever network, or NETWORK=SOURCE for each, which goes before.

    there: what is installed for the network. Raises UserError with every entry that is not allowed.
    """
    given = os.environ.get(WEIGHTS_SOURCE_VARIABLE, "")
    # By network; "" for whatever network.
    named: dict[str, str] = {}
    faults = []
    for entry in filter(None, re.split(r"[\s,]+", re.sub(r"\s*=\s*", "=", given))):
        network, sign, source = entry.partition("=")
        if not sign:
            network, source = "", entry
        # What there is for another network alone is told below, where it counts.
        known = {*SOURCES_OF.get(network, ())} if sign else {name for names in SOURCES_OF.values() for name in names}
        if network in ("", base_network):
            known.update(there)
        what = f" for {network}" if network else ""
        if sign and network not in SOURCES_OF:
            faults.append(f"{shown(network)} is no network")
        elif not source:
            faults.append(f"{shown(entry)} names no source")
        elif source not in known:
            faults.append(f"{shown(source)} is no source of weights{what}")
        elif named.setdefault(network, source) != source:
            faults.append(f"{shown(named[network])} and {shown(source)} are both named{what}")
    found = named.get(base_network, named.get(""))
    if not faults and found is not None and found not in (*SOURCES_OF.get(base_network, ()), *there):
        faults.append(f"{shown(found)} is no source of weights for {base_network}")
    if faults:
        allowed = "; ".join(f"for {network} {listed(list(names))}" for network, names in SOURCES_OF.items())
        raise UserError(
            f"environment variable {WEIGHTS_SOURCE_VARIABLE} is {shown(given)}: {', '.join(faults)}. It must be a "
            "source, such as coco-ssd, or one for each network, such as vgg-16=coco-ssd resnet-50=onnx-zoo, with "
            f"blanks or commas between them. Sources are {allowed}"
        )
    return found


def required_weights(base_network: str) -> StoredWeights:
    """Return the installed weights that a job starts from; raises UserError, which says what to do without them."""
    source = source_to_use(base_network)
    weights = None if source is None else stored_weights(base_network, source)
    if weights is None:
        raise UserError(
            f"{HYPERPARAMETERS_FILE}: use_pretrained_model is 1, but no ImageNet weights for {base_network} are "
            f"installed in {weights_folder()}: build the image with them (make image WEIGHTS={base_network}), or fetch "
            f"them on a laptop (python -m sagemaker_ssd.weights fetch {base_network}), or give a `pretrained` channel "
            "with a file of weights, or set use_pretrained_model to 0"
        )
    return weights


def damaged(file: Path, reason: str) -> UserError:
    """Make the error of a damaged installed file, which is named after its network and its source."""
    network = next((name for name in SOURCES_OF if file.stem.startswith(name)), file.stem)
    source = file.stem.removeprefix(network).removeprefix("-")
    option = f" --source {source}" if source else ""
    return UserError(
        f"{file} is damaged: {reason}. Install the weights again (python -m sagemaker_ssd.weights fetch "
        f"{network}{option}), or build the image again"
    )
