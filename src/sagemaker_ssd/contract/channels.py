"""Reads inputdataconfig.json: the channels that the job trains and validates on."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from sagemaker_ssd.contract.channel_folder import RECORD, Search, search
from sagemaker_ssd.contract.delivery import Delivery, Mode, read_delivery
from sagemaker_ssd.contract.findings import Findings, named, shown
from sagemaker_ssd.contract.folder_faults import annotation_faults, image_faults, record_faults
from sagemaker_ssd.contract.json_object import read_object
from sagemaker_ssd.contract.paths import Paths
from sagemaker_ssd.contract.pipe_seconds import DEFAULT as PIPE_SECONDS
from sagemaker_ssd.contract.pipe_seconds import read_pipe_seconds
from sagemaker_ssd.contract.weight_channels import WEIGHT_CHANNELS, WeightChannels, read_weight_channels
from sagemaker_ssd.errors import UserError

FILE: Final = "inputdataconfig.json"
MUST_HOLD: Final = (
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

    def record_files(self) -> Search:
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


def read_channels(paths: Paths, findings: Findings) -> Channels:
    """Read every channel that the job uses; with faults, what could be read."""
    config = read_object(paths.input_data_config, MUST_HOLD, findings)
    if config is None:
        return Channels({}, WeightChannels(None, None))
    data = _read_data_channels(config, paths, findings)
    return Channels(data, read_weight_channels(config, paths, findings))


def _read_data_channels(config: dict[str, object], paths: Paths, findings: Findings) -> dict[str, DataChannel]:
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


def _read_channel(name: str, config: dict[str, object], paths: Paths, findings: Findings) -> DataChannel | None:
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


def _streamed(name: str, content: Content | None, delivery: Delivery, findings: Findings) -> Content | None:
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


def _content(name: str, entry: dict[str, object], annotated: bool, findings: Findings) -> Content | None:
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


def _check_annotation_channel(name: str, config: dict[str, object], findings: Findings) -> bool:
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
