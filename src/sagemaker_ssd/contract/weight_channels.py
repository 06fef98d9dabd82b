"""The two channels that a training can start from: a model to continue, or pre-trained weights."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sagemaker_ssd.contract.channel_folder import PARAMETERS, Search, models, search
from sagemaker_ssd.contract.delivery import FILE, read_delivery
from sagemaker_ssd.contract.findings import Findings, listed, shown
from sagemaker_ssd.contract.folder_faults import model_faults, pretrained_faults
from sagemaker_ssd.contract.paths import Paths
from sagemaker_ssd.contract.values import SWITCH, plain
from sagemaker_ssd.errors import UserError

# The allowed ContentTypes, each of which may be left out. The model's is the built-in's own.
WEIGHT_CHANNELS: Final = {
    "model": ("application/x-sagemaker-model",),
    "pretrained": ("application/x-mxnet-params", "application/octet-stream"),
}


@dataclass(frozen=True)
class WeightChannels:
    """The folders of the channels to start from, None for a channel that is not given."""

    model: Path | None
    pretrained: Path | None


def read_weight_channels(config: dict[str, object], paths: Paths, findings: Findings) -> WeightChannels:
    """Read both from the channels' configuration; with faults, what could be read."""
    folders = {name: _folder(name, config[name], paths, findings) for name in WEIGHT_CHANNELS if name in config}
    if len(folders) > 1:
        findings.faults.append(
            f"{FILE}: the channels model and pretrained are both given, but training can start from only one of them: "
            "remove model to start from the weights, or pretrained to continue from the model"
        )
    return WeightChannels(folders.get("model"), folders.get("pretrained"))


def check_start(channels: WeightChannels, provided: dict[str, str], findings: Findings) -> None:
    """Hold the channels against use_pretrained_model as it was given, readable or not."""
    given = plain(provided.get("use_pretrained_model", ""))
    wanted = None if given is None else SWITCH.get(given.lower())
    if channels.pretrained is not None and wanted is False:
        findings.faults.append(
            f"hyperparameters.json: use_pretrained_model is {shown(provided['use_pretrained_model'])}, but the "
            "pretrained channel gives weights to start from: remove the channel or set use_pretrained_model to 1"
        )
    if channels.model is not None and wanted:
        findings.notices.append(
            f"use_pretrained_model is {shown(provided['use_pretrained_model'])}, but training continues from the model "
            "in the model channel: no pre-trained weights are used"
        )


def model_file(folder: Path) -> Path:
    """Give the archive or .params file of a checked model channel; raises UserError when it is gone."""
    return _file(folder, lambda: models(folder))


def pretrained_file(folder: Path) -> Path:
    """Give the .params file of a checked pretrained channel; raises UserError when it is gone."""
    return _file(folder, lambda: search(folder, PARAMETERS, 1))


def _file(folder: Path, look: Callable[[], Search]) -> Path:
    found = look().found
    if not found:
        raise UserError(f"{folder}: the file to start from is not there any more")
    return found[0]


def _folder(name: str, entry: object, paths: Paths, findings: Findings) -> Path:
    folder = paths.data / name
    if not isinstance(entry, dict):
        findings.faults.append(f'{FILE}: {name} is {shown(entry)}; it must be an object such as {{"ContentType": ...}}')
        return folder
    before = len(findings.faults)
    given = entry.get("ContentType")
    kind = given.partition(";")[0].strip().lower() if isinstance(given, str) else given
    if kind not in (None, "", *WEIGHT_CHANNELS[name]):
        allowed = listed([*WEIGHT_CHANNELS[name], "left out"])
        findings.faults.append(f"{FILE}: {name}: ContentType is {shown(given)}; it must be {allowed}")
    read_delivery(name, entry, findings)
    if len(findings.faults) == before:
        check = model_faults if name == "model" else pretrained_faults
        findings.faults.extend(check(folder, paths.base))
    return folder
