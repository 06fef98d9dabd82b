"""Continues from the model of an earlier job: incremental training."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mxnet as mx

from sagemaker_ssd.artifacts.stored_model import read_stored_model
from sagemaker_ssd.contract import Hyperparameters
from sagemaker_ssd.contract.earlier_settings import differences, settings
from sagemaker_ssd.contract.findings import named
from sagemaker_ssd.contract.weight_channels import model_file
from sagemaker_ssd.errors import UserError, problems
from sagemaker_ssd.model.merging import Merged, merged
from sagemaker_ssd.model.parameters import Parameters
from sagemaker_ssd.model.recognition import behind_trunk, deeper_units, layers, network_of

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
    earlier_settings = settings(earlier.configuration)
    _check_network(earlier, chosen, earlier_settings)
    result = merged(starting, earlier.parameters)
    _check_trunk(result, starting, earlier)
    anew = layers(name for name in _named(starting) if name not in result.taken)
    _report(earlier, result, anew, differences(earlier_settings, chosen.artifact_configuration()))
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
