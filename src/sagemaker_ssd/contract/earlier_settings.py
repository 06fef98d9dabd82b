"""The hyperparameters of an earlier job, from the hyperparams.json of its model."""

import json
import logging
from collections.abc import Mapping
from typing import Final

from sagemaker_ssd.contract.findings import named
from sagemaker_ssd.contract.hyperparameters import ARTIFACT_KEYS

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
