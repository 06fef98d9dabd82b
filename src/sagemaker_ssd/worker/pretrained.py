"""Begins with ImageNet weights: those installed beside the program, or a person's own from the pretrained channel."""

import hashlib
import logging
from pathlib import Path
from typing import Any

from sagemaker_ssd.artifacts.parameter_file import arguments_and_states, read_parameter_file
from sagemaker_ssd.contract.weight_channels import pretrained_file
from sagemaker_ssd.contract.weight_store import StoredWeights, damaged
from sagemaker_ssd.model.foreign_weights import converted
from sagemaker_ssd.model.merging import Merged, merged
from sagemaker_ssd.model.parameters import Parameters
from sagemaker_ssd.model.recognition import layers

_log = logging.getLogger(__name__)
_Start = tuple[Parameters, dict[str, Any]]


def from_installed_weights(weights: StoredWeights, starting: Parameters) -> _Start:
    """Return the network's starting values with the installed weights in them; raises UserError if they are damaged."""
    weights.check()
    arrays = read_parameter_file(weights.parameters, str(weights.parameters))
    result = merged(starting, Parameters(*arguments_and_states(arrays)))
    if not result.taken:
        raise damaged(weights.parameters, f"it holds nothing that fits {weights.parameters.stem}")
    facts: dict[str, Any] = {
        name: weights.facts[name] for name in ("source", "title", "checksum", "licence") if name in weights.facts
    }
    _log.info("Start from pre-trained weights: %s", ", ".join(facts.values()))
    return _start(result, {"from": "pretrained", **facts})


def from_channel(folder: Path, starting: Parameters, base_network: str) -> _Start:
    """Return the network's starting values with those of the pretrained channel's file in them; raises UserError."""
    file = pretrained_file(folder)
    found = converted(read_parameter_file(file, f"pretrained/{file.name}"), base_network, f"pretrained/{file.name}")
    result = merged(starting, found.parameters)
    digest = _sha256(file)
    notes = "".join(f"; {note}" for note in found.notes)
    _log.info("Start from pre-trained weights: %s (%s%s), sha256:%s", file.name, found.layout, notes, digest)
    start = {"from": "pretrained channel", "file": file.name, "layout": found.layout, "sha256": digest}
    return _start(result, start)


def _start(result: Merged, facts: dict[str, Any]) -> _Start:
    anew = layers((*result.missing, *result.other_shape))
    _log.info("Layers that it lacks start anew: %s", ", ".join(anew) or "none")
    return result.parameters, {**facts, "layers_starting_anew": list(anew)}


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
