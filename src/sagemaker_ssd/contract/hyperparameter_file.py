"""Reads hyperparameters.json: strings in, typed values out, every fault told at once.

The hyperparameters of an earlier job, from the hyperparams.json of its model.
"""

import difflib
import json
import logging
from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from sagemaker_ssd.contract.config_file import ConfigFindings, read_object
from sagemaker_ssd.contract.hyperparameter_text import allowed, takes
from sagemaker_ssd.contract.hyperparameter_values import ExplainedError, plain
from sagemaker_ssd.contract.hyperparameters import ARTIFACT_KEYS, Hyperparameters, known_fields
from sagemaker_ssd.contract.paths import Paths
from sagemaker_ssd.errors import listed, named, shown

FILE: Final = "hyperparameters.json"
MUST_HOLD: Final = 'it must hold a JSON object of strings such as {"num_classes": "20", "num_training_samples": "1000"}'
# Which given hyperparameters have no effect with which optimizer: adadelta takes no learning rate at all.
IGNORED_BY: Final = {
    "learning_rate": ("adadelta",),
    "lr_scheduler_step": ("adadelta",),
    "warmup_epochs": ("adadelta",),
    "momentum": ("adam", "rmsprop", "adadelta"),
    "weight_decay": ("adam", "adadelta"),
}


def read_hyperparameters(paths: Paths, findings: ConfigFindings) -> tuple[dict[str, str], Hyperparameters | None]:
    """Read the strings as given and the hyperparameters, None with faults when there are any."""
    content = read_object(paths.hyperparameters, MUST_HOLD, findings)
    if content is None:
        return {}, None
    provided = _strings(content, findings)
    known = known_fields()
    own_names = [name for name in provided if not name.startswith("sagemaker_")]
    findings.faults.extend(_unknown(name, list(known)) for name in own_names if name not in known)
    values = {name: text for name in own_names if name in known and (text := plain(provided[name])) is not None}
    unread = content.keys() - provided.keys()
    try:
        hyperparameters = Hyperparameters.model_validate(values)
    except ValidationError as error:
        for name, reason in _reasons(error).items():
            # A value that is no string has its fault already.
            if name not in unread:
                findings.faults.append(_fault(name, provided.get(name), reason))
        return provided, None
    findings.notices.extend(_ignored(values, hyperparameters))
    return provided, hyperparameters


def _strings(content: dict[str, object], findings: ConfigFindings) -> dict[str, str]:
    """Give every value as the string it stands for: numbers and booleans may be written without quotes."""
    strings = {}
    for name, value in content.items():
        numbers = isinstance(value, list) and all(type(item) in (int, float) for item in value)
        if isinstance(value, str):
            strings[name] = value
        elif isinstance(value, dict | list) and not numbers and not name.startswith("sagemaker_"):
            findings.faults.append(f"{FILE}: {named(name)} is {shown(value)}; write the value as a text in quotes")
        else:
            strings[name] = json.dumps(value)
    return strings


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name.lower().replace("-", "_"), known, n=1)
    hint = f"did you mean {near[0]}?" if near else "remove it, or look up the name in the README's table"
    return f"{FILE}: {named(name)} is not a hyperparameter; {hint}"


def _reasons(error: ValidationError) -> dict[str, str | None]:
    """Give the faulty names: with the error's own explanation, None where what is allowed says enough."""
    reasons: dict[str, str | None] = {}
    for detail in error.errors(include_url=False):
        cause = detail.get("ctx", {}).get("error")
        reasons.setdefault(str(detail["loc"][0]), str(cause) if isinstance(cause, ExplainedError) else None)
    return reasons


def _fault(name: str, given: str | None, reason: str | None) -> str:
    field = known_fields()[name]
    text = plain(given) if given is not None else None
    if text is None or given is None:
        return f"{FILE}: {name} is required: {allowed(field)}"
    if reason is not None:
        return f"{FILE}: {name} is {shown(given)}, {reason}"
    if (correct := _without_comma(name, text)) is not None:
        return f"{FILE}: {name} is {shown(given)}, which is not a number; write {correct}"
    return f"{FILE}: {name} is {shown(given)}; it must be {allowed(field)}"


def _without_comma(name: str, text: str) -> str | None:
    """Write a number with a decimal comma, or with commas between thousands, as it must be; None for others."""
    field = known_fields()[name]
    if "," not in text or not (takes(field, int) or takes(field, float)):
        return None
    correct = text.replace(",", "." if takes(field, float) else "")
    try:
        Hyperparameters.model_validate({name: correct})
    except ValidationError as error:
        return None if name in _reasons(error) else correct
    return correct


def _ignored(values: dict[str, str], hyperparameters: Hyperparameters) -> list[str]:
    optimizer = hyperparameters.optimizer
    notices = [
        f"{name} is given, but optimizer {optimizer} does not use it"
        for name, optimizers in IGNORED_BY.items()
        if name in values and optimizer in optimizers
    ]
    late = [str(step) for step in hyperparameters.lr_scheduler_step if step > hyperparameters.epochs]
    if late and "lr_scheduler_step" in values:
        epochs = f"the job ends after epoch {hyperparameters.epochs}"
        notices.append(f"lr_scheduler_step has {listed(late, 'and')}, but {epochs}: no effect")
    defaults = Hyperparameters.default_configuration()
    for name in ("_kvstore", "_num_kv_servers", "_begin_epoch"):
        if values.get(name, defaults[name]) != defaults[name]:
            notices.append(f"{name} is {shown(values[name])}, which has no effect in this version")
    return notices


_log = logging.getLogger(__name__)
# The parameters tell the network and the classes; where a job ran, and what it began with, changes nothing here.
_NOT_COMPARED: Final = {"base_network", "num_classes", "kv_store", "use_pretrained_model"}


def settings(configuration: bytes | None) -> dict[str, str]:
    """Read the known hyperparameters that are strings; nothing without a file, and with a warning from a bad one."""
    if configuration is None:
        return {}
    try:
        content = json.loads(configuration)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        _log.warning("The model's hyperparams.json is not a JSON object and is not used.")
        return {}
    return {name: content[name] for name in sorted(ARTIFACT_KEYS & content.keys()) if isinstance(content[name], str)}


def differences(earlier: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Say what differs on one line: `image_shape 512 (now 300), ...`."""
    return ", ".join(
        f"{name} {named(earlier[name])} (now {named(now[name])})"
        for name in earlier
        if not name.startswith("_") and name not in _NOT_COMPARED and not _same(earlier[name], now[name])
    )


def _same(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return one.lower() == other.lower()
