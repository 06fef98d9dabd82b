"""Reads how the platform delivers a channel: input mode, record wrapping, distribution.

The two channels that a training can start from: a model to continue, or pre-trained weights.

Reads inputdataconfig.json: the channels that the job trains and validates on.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from sagemaker_ssd.contract.channel_files import (
    PARAMETERS,
    RECORD,
    FileSearch,
    annotation_faults,
    image_faults,
    model_faults,
    models,
    pretrained_faults,
    record_faults,
    search,
)
from sagemaker_ssd.contract.config_file import ConfigFindings, read_object
from sagemaker_ssd.contract.environment import DEFAULT_PIPE_SECONDS as PIPE_SECONDS
from sagemaker_ssd.contract.environment import read_pipe_seconds
from sagemaker_ssd.contract.hyperparameter_values import SWITCH, plain
from sagemaker_ssd.contract.paths import Paths
from sagemaker_ssd.errors import UserError, listed, named, shown

NO_PIPE: Final = (
    "TrainingInputMode is Pipe, which delivers a stream and no files; set it to File or FastFile: only the channels "
    "train and validation can be streams"
)
Mode = Literal["File", "FastFile", "Pipe"]
_FOLDERS: Final[tuple[Mode, ...]] = ("File", "FastFile")
# The API knows RecordIO; people write the other one for what comes of an augmented manifest.
_WRAPPED: Final = ("RecordIO", "AugmentedManifest")


@dataclass(frozen=True)
class Delivery:
    """How a channel comes; wrapped: each object, or each attribute of a manifest, as a record of its own."""

    mode: Mode
    wrapped: bool
    sharded: bool


def read_delivery(
    name: str, entry: dict[str, object], findings: ConfigFindings, *, may_stream: bool = False
) -> Delivery:
    """Read a channel's delivery; what is wrong is added to the faults, and read as the default."""
    mode = _mode(name, entry, findings, (*_FOLDERS, "Pipe") if may_stream else _FOLDERS)
    wrapper = entry.get("RecordWrapperType") or "None"
    if wrapper in _WRAPPED:
        if mode in _FOLDERS and entry.get("TrainingInputMode") != "Pipe":
            also = ", or set TrainingInputMode to Pipe" if may_stream else ""
            findings.faults.append(
                f"{FILE}: {name}: RecordWrapperType is {shown(wrapper)}, which is for Pipe mode alone: leave it "
                f"out{also}"
            )
    elif wrapper != "None":
        also = "None, RecordIO" if mode == "Pipe" else "None"
        findings.faults.append(f"{FILE}: {name}: RecordWrapperType is {shown(wrapper)}; it must be {also} or left out")
    distribution = entry.get("S3DistributionType") or "FullyReplicated"
    if distribution not in ("FullyReplicated", "ShardedByS3Key"):
        findings.faults.append(
            f"{FILE}: {name}: S3DistributionType is {shown(distribution)}; it must be FullyReplicated or ShardedByS3Key"
        )
    return Delivery(mode, wrapper in _WRAPPED, distribution == "ShardedByS3Key")


def _mode(name: str, entry: dict[str, object], findings: ConfigFindings, allowed: tuple[Mode, ...]) -> Mode:
    given = entry.get("TrainingInputMode") or "File"
    for mode in allowed:
        if given == mode:
            return mode
    if given == "Pipe":
        findings.faults.append(f"{FILE}: {name}: {NO_PIPE}")
    else:
        must = listed(list(allowed))
        findings.faults.append(f"{FILE}: {name}: TrainingInputMode is {shown(given)}; it must be {must}")
    return "File"


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


def read_weight_channels(config: dict[str, object], paths: Paths, findings: ConfigFindings) -> WeightChannels:
    """Read both from the channels' configuration; with faults, what could be read."""
    folders = {name: _folder(name, config[name], paths, findings) for name in WEIGHT_CHANNELS if name in config}
    if len(folders) > 1:
        findings.faults.append(
            f"{FILE}: the channels model and pretrained are both given, but training can start from only one of them: "
            "remove model to start from the weights, or pretrained to continue from the model"
        )
    return WeightChannels(folders.get("model"), folders.get("pretrained"))


def check_start(channels: WeightChannels, provided: dict[str, str], findings: ConfigFindings) -> None:
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


def _file(folder: Path, look: Callable[[], FileSearch]) -> Path:
    found = look().found
    if not found:
        raise UserError(f"{folder}: the file to start from is not there any more")
    return found[0]


def _folder(name: str, entry: object, paths: Paths, findings: ConfigFindings) -> Path:
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


FILE: Final = "inputdataconfig.json"
CHANNELS_MUST_HOLD: Final = (
    'it must hold a JSON object of channels such as {"train": {"ContentType": "application/x-recordio"}, '
    '"validation": {"ContentType": "application/x-recordio"}}'
)
RECORDIO: Final = "application/x-recordio"
IMAGES: Final = ("image/jpeg", "image/png", "application/x-image")
NEEDED_FOR: Final = {
    "train": "the model is trained on it",
    "validation": "the mAP that picks the best model is computed on it",
}

Content = Literal["recordio", "images"]


@dataclass(frozen=True)
class DataChannel:
    """A channel to train or validate on: RecordIO files, or images with a folder of annotations, or a stream.

    sharded: whether each host was given a part of it, or of its annotations. mode: Pipe for a stream, which is
    RecordIO whatever its records hold; then nothing is in `folder`. pipe_seconds: how long to wait for a stream.
    """

    name: str
    content: Content
    folder: Path
    annotations: Path | None
    sharded: bool
    mode: Mode = "File"
    pipe_seconds: float = PIPE_SECONDS

    @property
    def stream(self) -> Path:
        """The FIFO of Pipe mode's first pass, the only one that is read."""
        return self.folder.with_name(f"{self.name}_0")

    def record_files(self) -> FileSearch:
        """Find the .rec files of a recordio channel, in the order of their names; raises UserError without any."""
        result = search(self.folder, RECORD, None)
        if not result.found:
            raise UserError(f"{self.folder}: there is no .rec file any more")
        return result


@dataclass(frozen=True)
class Channels:
    """The data channels by name, and the channels to start from."""

    data: dict[str, DataChannel]
    weights: WeightChannels


def read_channels(paths: Paths, findings: ConfigFindings) -> Channels:
    """Read every channel that the job uses; with faults, what could be read."""
    config = read_object(paths.input_data_config, CHANNELS_MUST_HOLD, findings)
    if config is None:
        return Channels({}, WeightChannels(None, None))
    data = _read_data_channels(config, paths, findings)
    return Channels(data, read_weight_channels(config, paths, findings))


def _read_data_channels(config: dict[str, object], paths: Paths, findings: ConfigFindings) -> dict[str, DataChannel]:
    used: set[str] = set()
    channels = {}
    for name in NEEDED_FOR:
        if (channel := _read_channel(name, config, paths, findings)) is not None:
            channels[name] = channel
            used |= {name} if channel.annotations is None else {name, channel.annotations.name}
    # Whether an annotation channel is used is known only when its own channel could be read.
    settled = {name for channel in channels for name in (channel, f"{channel}_annotation")}
    for name in sorted(config.keys() - used - NEEDED_FOR.keys() - WEIGHT_CHANNELS.keys()):
        if name in settled:
            parent = name.removesuffix("_annotation")
            findings.notices.append(f"{FILE}: channel {name} is ignored, because {parent} is RecordIO")
        elif name.removesuffix("_annotation") not in NEEDED_FOR:
            findings.notices.append(f"{FILE}: channel {named(name)} is ignored, no part of the job reads it")
    return channels


def _read_channel(name: str, config: dict[str, object], paths: Paths, findings: ConfigFindings) -> DataChannel | None:
    if name not in config:
        there = ", ".join(named(other) for other in config) or "none"
        reason = NEEDED_FOR[name]
        findings.faults.append(f"{FILE}: the {name} channel is required, because {reason}; channels given: {there}")
        return None
    entry = config[name]
    before = len(findings.faults)
    if not isinstance(entry, dict):
        findings.faults.append(f'{FILE}: {name} is {shown(entry)}; it must be an object such as {{"ContentType": ...}}')
        return None
    annotated = f"{name}_annotation" in config
    delivery = read_delivery(name, entry, findings, may_stream=True)
    content = _content(name, entry, annotated, findings)
    sharded = delivery.sharded
    if delivery.mode == "Pipe":
        content = _streamed(name, content, delivery, findings)
    elif content == "images":
        sharded |= _check_annotation_channel(name, config, findings)
    if content is None or len(findings.faults) > before:
        return None
    folder = paths.data / name
    if delivery.mode == "Pipe":
        return DataChannel(name, content, folder, None, sharded, "Pipe", read_pipe_seconds(os.environ, findings))
    annotations = paths.data / f"{name}_annotation" if content == "images" else None
    if annotations is None:
        findings.faults.extend(record_faults(folder, paths.base, sharded=sharded))
    else:
        findings.faults.extend(image_faults(folder, paths.base, sharded=sharded))
        findings.faults.extend(annotation_faults(annotations, paths.base, sharded=sharded))
    return DataChannel(name, content, folder, annotations, sharded, delivery.mode)


def _streamed(name: str, content: Content | None, delivery: Delivery, findings: ConfigFindings) -> Content | None:
    """Return what a stream holds: records in every case, since the images of an augmented manifest are wrapped."""
    if content is None:
        return None
    if content == "recordio" or delivery.wrapped:
        return "recordio"
    findings.faults.append(
        f"{FILE}: {name} holds images, and Pipe mode delivers no names to find their annotations by: set "
        "TrainingInputMode to File or FastFile, or feed an augmented manifest and set RecordWrapperType to RecordIO"
    )
    return None


def _content(name: str, entry: dict[str, object], annotated: bool, findings: ConfigFindings) -> Content | None:
    given = entry.get("ContentType")
    kind = given.partition(";")[0].strip().lower() if isinstance(given, str) else given
    if kind is None or kind == "":
        return "images" if annotated else "recordio"
    if kind == RECORDIO:
        return "recordio"
    if kind in IMAGES:
        return "images"
    findings.faults.append(
        f"{FILE}: {name}: ContentType is {shown(given)}; it must be {RECORDIO}, or for images {', '.join(IMAGES[:-1])} "
        f"or {IMAGES[-1]}"
    )
    return None


def _check_annotation_channel(name: str, config: dict[str, object], findings: ConfigFindings) -> bool:
    """Add the faults of a channel's annotation channel; return whether its files are spread over the hosts."""
    channel = f"{name}_annotation"
    entry = config.get(channel)
    if channel not in config:
        findings.faults.append(
            f"{FILE}: {name} holds images, so the {channel} channel is required, with one JSON file for each image"
        )
    elif not isinstance(entry, dict):
        findings.faults.append(
            f'{FILE}: {channel} is {shown(entry)}; it must be an object such as {{"ContentType": ...}}'
        )
    else:
        return read_delivery(channel, entry, findings).sharded
    return False
