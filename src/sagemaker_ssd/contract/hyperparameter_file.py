"""Reads hyperparameters from their two files: the job's hyperparameters.json, and the hyperparams.json of a model."""

import difflib
import json
import logging
import re
from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from sagemaker_ssd.contract.config_file import Diagnostics, read_object
from sagemaker_ssd.contract.hyperparameter_text import allowed_values, is_of_type
from sagemaker_ssd.contract.hyperparameter_values import ExplainedError, unquoted
from sagemaker_ssd.contract.hyperparameters import ARTIFACT_KEYS, Hyperparameters, known_fields, parse_value
from sagemaker_ssd.contract.model_folder import CONFIGURATION
from sagemaker_ssd.contract.paths import HYPERPARAMETERS_FILE, Paths
from sagemaker_ssd.errors import UserError, in_words, listed, named, shown

_MUST_HOLD: Final = (
    'it must hold a JSON object of strings such as {"num_classes": "20", "num_training_samples": "1000"}'
)
# Keys that the platform and its SDKs add for themselves.
_PLATFORM_PREFIX: Final = "sagemaker_"
# Which given hyperparameters have no effect with which optimizer: adadelta takes no learning rate at all.
_IGNORED_BY: Final = {
    "learning_rate": ("adadelta",),
    "lr_scheduler_step": ("adadelta",),
    "warmup_epochs": ("adadelta",),
    "momentum": ("adam", "rmsprop", "adadelta"),
    "weight_decay": ("adam", "adadelta"),
}
# Of an earlier job and this one. The parameters themselves say the network and the classes; where a job ran, and what
# it began with, changes nothing here.
_NOT_COMPARED: Final = {"base_network", "num_classes", "kv_store", "use_pretrained_model"}
# 1,000 and 1,234,567, also with blanks, apostrophes or underscores.
_THOUSANDS: Final = re.compile(r"[1-9]\d{0,2}([, '_])\d{3}(\1\d{3})*", re.ASCII)
_DECIMAL_COMMA: Final = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?", re.ASCII)
_log = logging.getLogger(__name__)


def read_hyperparameters(paths: Paths, diagnostics: Diagnostics) -> tuple[dict[str, str], Hyperparameters | None]:
    """Read the job's strings as given, and from them the hyperparameters, None with every fault when there is one."""
    content = read_object(paths.hyperparameters, _MUST_HOLD, diagnostics)
    if content is None:
        return {}, None
    provided = _strings(content, diagnostics)
    known = known_fields()
    own_names = [name for name in provided if not name.startswith(_PLATFORM_PREFIX)]
    diagnostics.faults.extend(_unknown(name, list(known), provided) for name in own_names if name not in known)
    values = {name: text for name in own_names if name in known and (text := unquoted(provided[name])) is not None}
    unread = content.keys() - provided.keys()
    try:
        hyperparameters = Hyperparameters.model_validate(values)
    except ValidationError as error:
        for name, reason in _reasons(error).items():
            # A value that is no string has its fault already.
            if name not in unread:
                diagnostics.faults.append(_fault(name, provided.get(name), reason))
        return provided, None
    diagnostics.notices.extend(_without_effect(values, hyperparameters))
    return provided, hyperparameters


def _strings(content: dict[str, object], diagnostics: Diagnostics) -> dict[str, str]:
    """Give every value as the string it stands for: numbers and booleans may be written without quotes."""
    strings = {}
    for name, value in content.items():
        if (text := _text_of(value)) is not None:
            strings[name] = text
        elif name.startswith(_PLATFORM_PREFIX):
            strings[name] = json.dumps(value)
        else:
            diagnostics.faults.append(
                f"{HYPERPARAMETERS_FILE}: {named(name)} is {shown(value)}; write the value as a text in quotes"
            )
    return strings


def _text_of(value: object) -> str | None:
    """Give the string that a JSON value stands for; None for objects and for lists of anything but numbers."""
    if isinstance(value, str):
        return value
    numbers = isinstance(value, list) and all(type(item) in (int, float) for item in value)
    return None if isinstance(value, dict | list) and not numbers else json.dumps(value)


def _unknown(name: str, known: list[str], provided: Mapping[str, str]) -> str:
    meant = name.lower().replace("-", "_")
    # Who gives num_classes and num_layers did not mean num_classes by the second; who gives epochs and epoch may have.
    free = [other for other in known if other not in provided]
    near = difflib.get_close_matches(meant, known, n=1, cutoff=0.9) or difflib.get_close_matches(meant, free, n=1)
    hint = f"did you mean {near[0]}?" if near else "remove it, or look up the name in the README's table"
    return f"{HYPERPARAMETERS_FILE}: {named(name)} is not a hyperparameter; {hint}"


def _reasons(error: ValidationError) -> dict[str, str | None]:
    """Give the faulty names: with the error's own explanation, None where what is allowed says enough."""
    reasons: dict[str, str | None] = {}
    for detail in error.errors(include_url=False):
        cause = detail.get("ctx", {}).get("error")
        reasons.setdefault(str(detail["loc"][0]), str(cause) if isinstance(cause, ExplainedError) else None)
    return reasons


def _fault(name: str, given: str | None, reason: str | None) -> str:
    field = known_fields()[name]
    text = unquoted(given) if given is not None else None
    if text is None or given is None:
        return f"{HYPERPARAMETERS_FILE}: {name} is required: {allowed_values(field)}"
    if reason is not None:
        return f"{HYPERPARAMETERS_FILE}: {name} is {shown(given)}, {reason}"
    if (correct := _without_separators(name, text)) is not None:
        return f"{HYPERPARAMETERS_FILE}: {name} is {shown(given)}, which is not a number; write {correct}"
    return f"{HYPERPARAMETERS_FILE}: {name} is {shown(given)}; it must be {allowed_values(field)}"


def _without_separators(name: str, text: str) -> str | None:
    """Write a number with a decimal comma, or with separated thousands, as it must be.

    None for others, and for what can be read in two ways: of a number with a fraction 1,000 can be 1 or 1000.
    """
    field = known_fields()[name]
    thousands = _THOUSANDS.fullmatch(text) is not None
    if is_of_type(field, int) and thousands:
        correct = re.sub(r"\D", "", text)
    elif is_of_type(field, float) and _DECIMAL_COMMA.fullmatch(text) and not thousands:
        correct = text.replace(",", ".")
    else:
        return None
    try:
        parse_value(name, correct)
    except ValueError:
        return None
    return correct


def _without_effect(values: dict[str, str], hyperparameters: Hyperparameters) -> list[str]:
    """Say which of the given values change nothing, and why."""
    optimizer = hyperparameters.optimizer
    notices = [
        f"{name} is given, but optimizer {optimizer} does not use it"
        for name, optimizers in _IGNORED_BY.items()
        if name in values and optimizer in optimizers
    ]
    late = [str(step) for step in hyperparameters.lr_scheduler_step if step >= hyperparameters.epochs]
    if late and "lr_scheduler_step" in values:
        epochs = f"the job ends after epoch {hyperparameters.epochs}"
        notices.append(f"lr_scheduler_step has {listed(late, 'and')}, but {epochs}: no effect")
    climbing = [str(step) for step in hyperparameters.lr_scheduler_step if step < hyperparameters.warmup_epochs]
    if climbing and optimizer != "adadelta":
        notices.append(
            f"lr_scheduler_step has {listed(climbing, 'and')}, within the {hyperparameters.warmup_epochs} epochs of "
            "warmup_epochs: learning_rate falls when these are over"
        )
    if hyperparameters.warmup_epochs >= hyperparameters.epochs:
        reached = hyperparameters.epochs / hyperparameters.warmup_epochs
        notices.append(
            f"warmup_epochs is {hyperparameters.warmup_epochs} and epochs {hyperparameters.epochs}: the job ends "
            f"with its warm-up, at {reached:.0%} of learning_rate"
        )
    # The fewest epochs after which it can end a job.
    earliest = max(hyperparameters.early_stopping_min_epochs, hyperparameters.early_stopping_patience + 1)
    if hyperparameters.early_stopping and earliest >= hyperparameters.epochs:
        notices.append(
            f"early_stopping is on, but with early_stopping_min_epochs {hyperparameters.early_stopping_min_epochs} and "
            f"early_stopping_patience {hyperparameters.early_stopping_patience} it cannot end a job of "
            f"{in_words(hyperparameters.epochs, 'epoch', 'epochs')}"
        )
    defaults = Hyperparameters.default_configuration()
    needed: dict[str, tuple[str, object]] = {
        "lr_scheduler_factor": ("lr_scheduler_step", hyperparameters.lr_scheduler_step)
    }
    for name in ("min_epochs", "patience", "tolerance"):
        needed[f"early_stopping_{name}"] = ("early_stopping", hyperparameters.early_stopping)
    # A configuration that is given again as a whole has all of them at their defaults.
    notices.extend(
        f"{name} is given, but has no effect without {other}"
        for name, (other, there) in needed.items()
        if name in values and not there and not _equal(values[name], defaults[name])
    )
    for name in ("_kvstore", "_num_kv_servers", "_begin_epoch"):
        if values.get(name, defaults[name]) != defaults[name]:
            notices.append(f"{name} is {shown(values[name])}, which has no effect in this version")
    return notices


def parse_model_configuration(content: bytes | None) -> dict[str, str]:
    """Parse a model's hyperparams.json: the known hyperparameters, read as those of a job.

    Nothing without a file, and nothing but a warning from a bad one, or from bad values: the model can be used without
    them.
    """
    if content is None:
        return {}
    try:
        configuration = json.loads(content)
    except (ValueError, RecursionError):
        configuration = None
    if not isinstance(configuration, dict):
        _log.warning("The model's %s is not a JSON object and is not used.", CONFIGURATION)
        return {}
    given = {name: configuration[name] for name in sorted(ARTIFACT_KEYS & configuration.keys())}
    texts = {name: text for name, value in given.items() if value is not None and (text := _text_of(value)) is not None}
    unread = [f"{name} {shown(value)}" for name, value in given.items() if value is not None and name not in texts]
    if unread:
        _log.warning(
            "The model's %s has values that are neither texts nor numbers, and these are not used: %s.",
            *(CONFIGURATION, listed(unread, "and")),
        )
    return {name: text if (bare := unquoted(text)) is None else bare for name, text in texts.items()}


def stored_number(configuration: Mapping[str, str], name: str) -> float | None:
    """Return a number of a model's hyperparams.json, None where it is not set; raises UserError for a bad one."""
    if (given := configuration.get(name)) is None or unquoted(given) is None:
        return None
    try:
        return float(str(parse_value(name, given)))
    except ValueError:
        raise UserError(
            f"its {CONFIGURATION} has {name} {shown(given)}, and it must be {allowed_values(known_fields()[name])}"
        ) from None


def changed_hyperparameters(earlier: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Say on one line what the job that made a model had set otherwise: `image_shape 512 (now 300), ...`."""
    return ", ".join(
        f"{name} {named(earlier[name])} (now {named(now[name])})"
        for name in earlier
        if not name.startswith("_") and name not in _NOT_COMPARED and not _equal(earlier[name], now[name])
    )


def _equal(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return one.lower() == other.lower()
