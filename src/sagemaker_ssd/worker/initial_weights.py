"""The weights before the first step, from one of four sources.

They are those of an earlier job's model (the model channel: incremental training), a person's own (the pretrained
channel), the pre-trained weights that are installed with the program, or random values. What a source lacks, such as
the heads for other classes, keeps its random values.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import mxnet as mx

from sagemaker_ssd.artifacts.model_archive import read_stored_model
from sagemaker_ssd.artifacts.params_file import arguments_and_states, read_parameter_file
from sagemaker_ssd.contract.channels import model_file, pretrained_file
from sagemaker_ssd.contract.hyperparameter_file import changed_hyperparameters, parse_model_configuration
from sagemaker_ssd.contract.hyperparameters import Hyperparameters
from sagemaker_ssd.contract.job import Job
from sagemaker_ssd.contract.weights import StoredWeights, damaged, required_weights
from sagemaker_ssd.errors import UserError, named, problems, some
from sagemaker_ssd.files import sha256
from sagemaker_ssd.pretrained.conversion import converted_file
from sagemaker_ssd.pretrained.merge import Merged, class_heads, merged
from sagemaker_ssd.ssd.initial_values import Parameters, initial_parameters
from sagemaker_ssd.ssd.network import behind_trunk, deeper_units, fit_centred_pixels, layers, network_of

_log = logging.getLogger(__name__)
# The parameters that a sentence names before it only counts the rest.
_LISTED: Final = 8
_SCRATCH: Final = "scratch"
_ANEW: Final = "layers_starting_anew"


class InitialWeights(NamedTuple):
    """A value for every parameter, and for metrics.json where they came from."""

    parameters: Parameters
    start: dict[str, Any]


def initial_weights(job: Job, graph: mx.sym.Symbol, scratch: Path) -> InitialWeights:
    """Return the weights that the job's training starts from; raises UserError and OSError.

    graph: the network as it is saved. scratch: folder for temporary files.
    """
    hyperparameters = job.hyperparameters
    drawn = initial_parameters(graph, hyperparameters.image_shape, hyperparameters.seed)
    if job.model_channel is not None:
        return from_model_channel(job.model_channel, drawn, hyperparameters, scratch)
    if job.pretrained_channel is not None:
        return from_pretrained_channel(job.pretrained_channel, drawn, hyperparameters.base_network, scratch)
    if hyperparameters.use_pretrained_model:
        # Without installed weights the job was accepted for its checkpoints, of which none can be used.
        return from_installed_weights(job.weights or required_weights(hyperparameters.base_network), drawn)
    _log.info("Start training from scratch, seed %d.", hyperparameters.seed)
    return InitialWeights(drawn, {"from": _SCRATCH, "seed": hyperparameters.seed})


def starts_from_scratch(start: Mapping[str, Any]) -> bool:
    """Say whether no layer had weights when a training began; start: of `InitialWeights`, or out of a checkpoint."""
    return start.get("from") == _SCRATCH


def fresh_layers(start: Mapping[str, Any]) -> frozenset[str]:
    """Return the layers that a training began with anew beside trained ones; none where all layers start alike.

    start: of `InitialWeights`, or out of a checkpoint.
    """
    return frozenset(start.get(_ANEW, ()))


def from_installed_weights(weights: StoredWeights, drawn: Parameters) -> InitialWeights:
    """Put the installed weights into the values that were drawn; raises UserError if they are damaged."""
    weights.check()
    arrays = read_parameter_file(weights.parameters, str(weights.parameters))
    result = merged(drawn, Parameters(*arguments_and_states(arrays)))
    if not result.taken:
        raise damaged(weights.parameters, f"it holds nothing that fits {weights.parameters.stem}")
    facts: dict[str, str] = {
        name: weights.facts[name] for name in ("source", "title", "checksum", "licence") if name in weights.facts
    }
    _log.info("Start from pre-trained weights: %s", ", ".join(facts.values()))
    return _pretrained(result, {"from": "pretrained", **facts})


def from_pretrained_channel(folder: Path, drawn: Parameters, base_network: str, scratch: Path) -> InitialWeights:
    """Put the values of the pretrained channel's file into the values that were drawn.

    The file is one that `converted_file` takes. Raises UserError and OSError.
    """
    file = pretrained_file(folder)
    found = converted_file(file, base_network, f"pretrained/{file.relative_to(folder)}", scratch)
    result = merged(drawn, found.parameters)
    digest = sha256(file)
    notes = "".join(f"; {note}" for note in found.notes)
    _log.info("Start from pre-trained weights: %s (%s%s), sha256:%s", file.name, found.layout, notes, digest)
    if class_heads(result.taken):
        _log.warning(
            "%s has heads for as many classes as this job, and they are taken too: its classes must be this job's in "
            "the same order. Where they are others, save it without its arrays that have cls_pred_conv in their names: "
            "then these heads start anew",
            file.name,
        )
    facts = {"from": "pretrained channel", "file": file.name, "layout": found.layout, "sha256": digest}
    return _pretrained(result, facts)


def _pretrained(result: Merged, facts: Mapping[str, str]) -> InitialWeights:
    anew = layers((*result.missing, *result.other_shape))
    _log.info("Layers that it lacks start anew: %s", ", ".join(anew) or "none")
    return InitialWeights(result.parameters, {**facts, _ANEW: list(anew)})


def from_model_channel(
    folder: Path, drawn: Parameters, hyperparameters: Hyperparameters, scratch: Path
) -> InitialWeights:
    """Put the values of the model channel in `folder` into the values that were drawn.

    base_network and num_classes must be the job's; layers that another image_shape needs keep the drawn values.
    A resnet-50 that reads pixels minus a mean is fitted to pixels as they are, with a warning.
    Raises UserError and OSError.
    """
    file = model_file(folder)
    shown_as = f"{folder.name}/{file.relative_to(folder)}"
    stored = read_stored_model(file, shown_as, scratch)
    given, earlier_settings = (
        Parameters(stored.arguments, stored.states),
        parse_model_configuration(stored.configuration),
    )
    _check_network(given, shown_as, hyperparameters, earlier_settings)
    result = merged(drawn, given)
    _check_trunk(result, drawn, given, shown_as)
    anew = layers(name for name in _by_name(drawn) if name not in result.taken)
    _log.info(
        "Continue training from %s: %d of %d parameters of the network are its values.",
        shown_as,
        len(result.taken),
        len(_by_name(result.parameters)),
    )
    for fitted in fit_centred_pixels(result.parameters.states):
        _log.warning("%s: %s", shown_as, fitted)
    if anew:
        _log.warning("Layers that it lacks, or has for another image_shape, start anew: %s", some(anew, _LISTED))
    if result.unused:
        _log.warning("Parameters of it that this network does not have are not used: %s", some(result.unused, _LISTED))
    changed = changed_hyperparameters(earlier_settings, hyperparameters.artifact_configuration())
    if changed:
        _log.info("It was trained with other hyperparameters: %s", changed)
    start = {
        "from": "model",
        "file": shown_as,
        "sha256": sha256(file),
        "hyperparameters": dict(earlier_settings),
        _ANEW: list(anew),
        "unused_parameters": list(result.unused),
    }
    return InitialWeights(result.parameters, start)


def _check_network(
    given: Parameters, shown_as: str, hyperparameters: Hyperparameters, earlier_settings: Mapping[str, str]
) -> None:
    """Compare the model with the job by its parameters; the hyperparams.json next to them may be of another job."""
    found = network_of(given)
    if isinstance(found, str):
        raise UserError(f"{shown_as}: {found}; the model channel must hold a model of this algorithm")
    faults = []
    other_classes = " and use data with the same classes"
    if found.base_network == hyperparameters.base_network:
        other_classes += (
            ", name the channel pretrained instead of model, which takes the same file, starts from its trunk and "
            "learns the heads for other classes anew"
        )
    for name, value, wanted, remedy in (
        ("base_network", found.base_network, hyperparameters.base_network, ""),
        ("num_classes", str(found.num_classes), str(hyperparameters.num_classes), other_classes),
    ):
        said = earlier_settings.get(name, value)
        if said != value:
            _log.warning(
                "%s: hyperparams.json says %s %s, but the parameters are of %s: these count",
                shown_as,
                name,
                named(said),
                value,
            )
        if value != wanted:
            faults.append(
                f"{shown_as}: its model has {name} {value}, but this job has {name} {wanted}: set {name} to "
                f"{value}{remedy}, or remove the model channel"
            )
    if faults:
        raise UserError(problems(faults))


def _check_trunk(result: Merged, drawn: Parameters, given: Parameters, shown_as: str) -> None:
    found, needed = _by_name(given), _by_name(drawn)
    faults = [f"{name} is missing" for name in result.missing if not behind_trunk(name)]
    faults += [
        f"{name} has shape {found[name].shape} instead of {needed[name].shape}"
        for name in result.other_shape
        if not behind_trunk(name)
    ]
    faults += [f"{name} is of a deeper network" for name in deeper_units(result.unused)]
    if faults:
        raise UserError(
            f"{shown_as}: its model is not one of this algorithm: {some(faults, _LISTED)}; give the model of a "
            "training job as it was saved, or remove the model channel"
        )


def _by_name(parameters: Parameters) -> dict[str, mx.nd.NDArray]:
    return {**parameters.arguments, **parameters.states}
