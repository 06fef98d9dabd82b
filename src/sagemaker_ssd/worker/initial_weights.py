"""Continues from the model of an earlier job: incremental training.

Begins with ImageNet weights: those installed beside the program, or a person's own from the pretrained channel.

Where a job's training begins: a model, pre-trained weights, or random values.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mxnet as mx

from sagemaker_ssd.artifacts.model_archive import read_stored_model
from sagemaker_ssd.artifacts.params_file import arguments_and_states, read_parameter_file
from sagemaker_ssd.contract.channels import model_file, pretrained_file
from sagemaker_ssd.contract.hyperparameter_file import changed_hyperparameters, parse_model_configuration
from sagemaker_ssd.contract.hyperparameters import Hyperparameters
from sagemaker_ssd.contract.job import Job
from sagemaker_ssd.contract.weights import StoredWeights, damaged, required_weights
from sagemaker_ssd.errors import UserError, named, problems
from sagemaker_ssd.pretrained.conversion import converted
from sagemaker_ssd.pretrained.merge import Merged, merged
from sagemaker_ssd.ssd.initial_values import Parameters, initial_parameters
from sagemaker_ssd.ssd.network import behind_trunk, deeper_units, layers, network_of

_log = logging.getLogger(__name__)
_SHOWN: Final = 8


@dataclass(frozen=True)
class _EarlierModel:
    """What a model channel holds; `shown_as` names the parameters in a text."""

    file: Path
    shown_as: str
    parameters: Parameters
    configuration: bytes | None


def continued(
    folder: Path, starting: Parameters, chosen: Hyperparameters, scratch: Path
) -> tuple[Parameters, dict[str, Any]]:
    """Put the values of the model channel in `folder` into `starting`; return them and where they came from.

    base_network and num_classes must be the job's; layers that another image_shape needs keep their starting values.
    Raises UserError and OSError.
    """
    earlier = _read(folder, scratch)
    earlier_settings = parse_model_configuration(earlier.configuration)
    _check_network(earlier, chosen, earlier_settings)
    result = merged(starting, earlier.parameters)
    _check_trunk(result, starting, earlier)
    anew = layers(name for name in _named(starting) if name not in result.taken)
    changed = changed_hyperparameters(earlier_settings, chosen.artifact_configuration())
    _report(earlier, result, anew, changed)
    with earlier.file.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    return result.parameters, {
        "from": "model",
        "file": f"{folder.name}/{earlier.file.relative_to(folder)}",
        "sha256": checksum,
        "hyperparameters": dict(earlier_settings),
        "layers_starting_anew": list(anew),
        "unused_parameters": list(result.unused),
    }


def _read(folder: Path, scratch: Path) -> _EarlierModel:
    file = model_file(folder)
    shown_as = f"{folder.name}/{file.relative_to(folder)}"
    stored = read_stored_model(file, shown_as, scratch)
    return _EarlierModel(file, shown_as, Parameters(stored.arguments, stored.states), stored.configuration)


def _check_network(earlier: _EarlierModel, chosen: Hyperparameters, earlier_settings: Mapping[str, str]) -> None:
    """Hold the model against the job by its parameters; the settings beside them may be of another job."""
    found = network_of(earlier.parameters)
    if isinstance(found, str):
        raise UserError(f"{earlier.shown_as}: {found}; the model channel must hold a model of this algorithm")
    faults = []
    for name, value, wanted, remedy in (
        ("base_network", found.base_network, chosen.base_network, ""),
        ("num_classes", str(found.num_classes), str(chosen.num_classes), " and use data with the same classes"),
    ):
        said = earlier_settings.get(name, value)
        if said != value:
            _log.warning(
                "%s: hyperparams.json says %s %s, but the parameters are of %s: these count",
                earlier.shown_as,
                name,
                named(said),
                value,
            )
        if value != wanted:
            faults.append(
                f"{earlier.shown_as}: its model has {name} {value}, but this job has {name} {wanted}: set {name} to "
                f"{value}{remedy}, or remove the model channel"
            )
    if faults:
        raise UserError(problems(faults))


def _check_trunk(result: Merged, starting: Parameters, earlier: _EarlierModel) -> None:
    given, needed = _named(earlier.parameters), _named(starting)
    faults = [f"{name} is missing" for name in result.missing if not behind_trunk(name)]
    faults += [
        f"{name} has shape {given[name].shape} instead of {needed[name].shape}"
        for name in result.other_shape
        if not behind_trunk(name)
    ]
    faults += [f"{name} is of a deeper network" for name in deeper_units(result.unused)]
    if faults:
        raise UserError(
            f"{earlier.shown_as}: its model is not one of this algorithm: {_some(faults)}; give the model of a "
            "training job as it was saved, or remove the model channel"
        )


def _report(earlier: _EarlierModel, result: Merged, anew: tuple[str, ...], other_settings: str) -> None:
    _log.info(
        "Continue training from %s: %d of %d parameters of the network are its values.",
        earlier.shown_as,
        len(result.taken),
        len(_named(result.parameters)),
    )
    if anew:
        _log.warning("Layers that it lacks, or has for another image_shape, start anew: %s", _some(anew))
    if result.unused:
        _log.warning("Parameters of it that this network does not have are not used: %s", _some(result.unused))
    if other_settings:
        _log.info("It was trained with other hyperparameters: %s", other_settings)


def _named(parameters: Parameters) -> dict[str, mx.nd.NDArray]:
    return {**parameters.arguments, **parameters.states}


def _some(words: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return f"{', '.join(words[:_SHOWN])}{more}"


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


def starting_point(job: Job, graph: mx.sym.Symbol, scratch: Path) -> tuple[Parameters, dict[str, Any]]:
    """Return the values of every parameter before the first step, and for metrics.json where they came from.

    graph: the network as it is saved. scratch: folder for temporary files. Raises UserError.
    """
    chosen = job.hyperparameters
    starting = initial_parameters(graph, chosen.image_shape, chosen.seed)
    if job.model_channel is not None:
        return continued(job.model_channel, starting, chosen, scratch)
    if job.pretrained_channel is not None:
        return from_channel(job.pretrained_channel, starting, chosen.base_network)
    if chosen.use_pretrained_model:
        # Without weights the job was let in for its checkpoints, of which none can be used.
        return from_installed_weights(job.weights or required_weights(chosen.base_network), starting)
    _log.info("Start training from scratch, seed %d.", chosen.seed)
    return starting, {"from": "scratch", "seed": chosen.seed}
