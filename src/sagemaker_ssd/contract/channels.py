"""Reads inputdataconfig.json: the channels to train and validate on, and the channel that a training starts from."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from sagemaker_ssd.contract.channel_files import (
    FileListing,
    check_annotations,
    check_images,
    check_model,
    check_pretrained,
    check_record_files,
    list_models,
    list_pretrained,
    list_records,
)
from sagemaker_ssd.contract.config_file import Diagnostics, read_object
from sagemaker_ssd.contract.environment import DEFAULT_PIPE_SECONDS, read_pipe_seconds
from sagemaker_ssd.contract.hyperparameter_values import BOOLEANS, unquoted
from sagemaker_ssd.contract.paths import HYPERPARAMETERS_FILE, INPUT_DATA_CONFIG_FILE, Paths
from sagemaker_ssd.errors import UserError, listed, named, shown

_MUST_HOLD: Final = (
    'it must hold a JSON object of channels such as {"train": {"ContentType": "application/x-recordio"}, '
    '"validation": {"ContentType": "application/x-recordio"}}'
)
_NEEDED_FOR: Final = {
    "train": "the model is trained on it",
    "validation": "the mAP that picks the best model is computed on it",
}
# The ContentTypes that are allowed where one is given. The model's is the built-in's own.
_RECORDIO_TYPE: Final = "application/x-recordio"
_IMAGE_TYPES: Final = ("image/jpeg", "image/png", "application/x-image")
_MODEL_TYPE: Final = "application/x-sagemaker-model"
_WEIGHT_TYPES: Final = {
    "model": (_MODEL_TYPE,),
    # Also a model's, for whoever names the channel anew.
    "pretrained": ("application/x-mxnet-params", "application/octet-stream", _MODEL_TYPE),
}

Content = Literal["recordio", "images"]
Mode = Literal["File", "FastFile", "Pipe"]
_FILE_MODES: Final[tuple[Mode, ...]] = ("File", "FastFile")
_NO_PIPE: Final = (
    "TrainingInputMode is Pipe, which delivers a stream and no files; set it to File or FastFile: only the channels "
    "train and validation can be streams"
)
# The API knows RecordIO; people write the other one for what comes of an augmented manifest.
_WRAPPERS: Final = ("RecordIO", "AugmentedManifest")


@dataclass(frozen=True)
class DataChannel:
    """A channel to train or validate on: RecordIO files, or images with a folder of annotations, or a stream.

    sharded_channels: the names of those, of it and its annotation channel, whose files were spread over the hosts.
    mode: Pipe for a stream, which is RecordIO whatever its records hold; then nothing is in `folder`. pipe_seconds: how
    long to wait for a stream.
    """

    name: str
    content: Content
    folder: Path
    annotations: Path | None
    sharded_channels: tuple[str, ...] = ()
    mode: Mode = "File"
    pipe_seconds: float = DEFAULT_PIPE_SECONDS

    @property
    def sharded(self) -> bool:
        """Whether each host was given a part of it, or of its annotations."""
        return bool(self.sharded_channels)

    @property
    def pairs_sharded(self) -> bool:
        """Whether each host was given a part of both."""
        return len(self.sharded_channels) > 1

    @property
    def stream(self) -> Path:
        """The FIFO of Pipe mode's first pass, the only one that is read."""
        return self.folder.with_name(f"{self.name}_0")

    def record_files(self) -> FileListing:
        """List the .rec files of a recordio channel, in the order of their names; raises UserError without any."""
        listing = list_records(self.folder)
        if not listing.found:
            raise UserError(f"{self.folder}: there is no .rec file any more")
        return listing


@dataclass(frozen=True)
class WeightChannels:
    """The folders of the channels to start from, None for a channel that is not given.

    model: of a model to continue training. pretrained: of pre-trained weights. sharded: the names of those whose files
    were spread over the hosts.
    """

    model: Path | None = None
    pretrained: Path | None = None
    sharded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Channels:
    """The data channels by name, and the channels to start from."""

    data: dict[str, DataChannel]
    weights: WeightChannels


def read_channels(paths: Paths, diagnostics: Diagnostics, *, several_hosts: bool) -> Channels:
    """Read every channel that the job uses; with faults, what could be read.

    several_hosts: whether there are others, which may have been given what is not here.
    """
    config = read_object(paths.input_data_config, _MUST_HOLD, diagnostics)
    if config is None:
        return Channels({}, WeightChannels())
    data = _read_data_channels(config, paths, diagnostics, several_hosts=several_hosts)
    return Channels(data, _read_weight_channels(config, paths, diagnostics))


def _read_data_channels(
    config: dict[str, object], paths: Paths, diagnostics: Diagnostics, *, several_hosts: bool
) -> dict[str, DataChannel]:
    used: set[str] = set()
    channels = {}
    # For both channels, told once, and only where there is a stream.
    faults: list[str] = []
    pipe_seconds = read_pipe_seconds(os.environ, faults)
    for name in _NEEDED_FOR:
        if (channel := _read_data_channel(name, config, paths, diagnostics, pipe_seconds)) is not None:
            _check_files(channel, paths, diagnostics, channel.sharded_channels if several_hosts else ())
            channels[name] = channel
            used |= {name} if channel.annotations is None else {name, channel.annotations.name}
    if any(channel.mode == "Pipe" for channel in channels.values()):
        diagnostics.faults.extend(faults)
    # Whether an annotation channel is used is known only when its own channel could be read.
    known = {name for channel in channels for name in (channel, f"{channel}_annotation")}
    for name in sorted(config.keys() - used - _NEEDED_FOR.keys() - _WEIGHT_TYPES.keys()):
        data_name = name.removesuffix("_annotation")
        if name in known:
            diagnostics.notices.append(
                f"{INPUT_DATA_CONFIG_FILE}: channel {name} is ignored, because {data_name} is RecordIO"
            )
        elif data_name not in _NEEDED_FOR:
            diagnostics.notices.append(
                f"{INPUT_DATA_CONFIG_FILE}: channel {named(name)} is ignored, no part of the job reads it"
            )
    return channels


def _read_data_channel(
    name: str, config: dict[str, object], paths: Paths, diagnostics: Diagnostics, pipe_seconds: float
) -> DataChannel | None:
    if name not in config:
        there = ", ".join(named(other) for other in config) or "none"
        diagnostics.faults.append(
            f"{INPUT_DATA_CONFIG_FILE}: the {name} channel is required, because {_NEEDED_FOR[name]}; channels given: "
            f"{there}"
        )
        return None
    before = len(diagnostics.faults)
    entry = _entry(name, config, diagnostics)
    if entry is None:
        return None
    delivery = _read_delivery(name, entry, diagnostics, may_stream=True)
    content = _read_content(name, entry, f"{name}_annotation" in config, diagnostics)
    sharded: tuple[str, ...] = (name,) if delivery.sharded else ()
    if content == "images" and delivery.mode != "Pipe":
        sharded += _read_annotation_channel(name, config, diagnostics)
    elif content == "images" and delivery.wrapped:
        # The images of an augmented manifest come as records, each followed by its annotations.
        content = "recordio"
    elif content == "images":
        diagnostics.faults.append(
            f"{INPUT_DATA_CONFIG_FILE}: {name} holds images, and Pipe mode delivers no names to find their annotations "
            "by: set TrainingInputMode to File or FastFile, or feed an augmented manifest and set RecordWrapperType to "
            "RecordIO"
        )
    if content is None or len(diagnostics.faults) > before:
        return None
    folder = paths.data / name
    if delivery.mode == "Pipe":
        return DataChannel(name, content, folder, None, sharded, "Pipe", pipe_seconds)
    annotations = paths.data / f"{name}_annotation" if content == "images" else None
    return DataChannel(name, content, folder, annotations, sharded, delivery.mode)


def _check_files(channel: DataChannel, paths: Paths, diagnostics: Diagnostics, sharded: tuple[str, ...]) -> None:
    """Add the faults of what is in a channel's folders; sharded: those of which other hosts have the rest."""
    if channel.mode == "Pipe":
        return
    check = check_record_files if channel.annotations is None else check_images
    check(channel.folder, paths.base, diagnostics, sharded=channel.folder.name in sharded)
    if (annotations := channel.annotations) is not None:
        check_annotations(annotations, paths.base, diagnostics, sharded=annotations.name in sharded)


def _read_content(name: str, entry: dict[str, object], annotated: bool, diagnostics: Diagnostics) -> Content | None:
    """Read what a channel holds, None with a fault; annotated: whether it has an annotation channel."""
    kind = _content_type(entry)
    if kind is None or kind == "":
        return "images" if annotated else "recordio"
    if kind == _RECORDIO_TYPE:
        return "recordio"
    if kind in _IMAGE_TYPES:
        return "images"
    diagnostics.faults.append(
        f"{INPUT_DATA_CONFIG_FILE}: {name}: ContentType is {shown(entry['ContentType'])}; it must be {_RECORDIO_TYPE}, "
        f"or for images {listed(list(_IMAGE_TYPES))}"
    )
    return None


def _read_annotation_channel(name: str, config: dict[str, object], diagnostics: Diagnostics) -> tuple[str, ...]:
    """Add the faults of a channel's annotation channel; return its name where its files are spread over the hosts."""
    channel = f"{name}_annotation"
    if channel not in config:
        diagnostics.faults.append(
            f"{INPUT_DATA_CONFIG_FILE}: {name} holds images, so the {channel} channel is required, with one JSON file "
            "for each image"
        )
        return ()
    entry = _entry(channel, config, diagnostics)
    return (channel,) if entry is not None and _read_delivery(channel, entry, diagnostics).sharded else ()


def _read_weight_channels(config: dict[str, object], paths: Paths, diagnostics: Diagnostics) -> WeightChannels:
    """Read both channels to start from; with faults, what could be read."""
    folders, sharded = {}, []
    for name in _WEIGHT_TYPES:
        if name in config:
            folders[name] = paths.data / name
            if _check_weight_channel(name, config, paths, diagnostics):
                sharded.append(name)
    if len(folders) > 1:
        diagnostics.faults.append(
            f"{INPUT_DATA_CONFIG_FILE}: the channels model and pretrained are both given, but training can start from "
            "only one of them: remove model to start from the weights, or pretrained to continue from the model"
        )
    return WeightChannels(folders.get("model"), folders.get("pretrained"), tuple(sharded))


def _check_weight_channel(name: str, config: dict[str, object], paths: Paths, diagnostics: Diagnostics) -> bool:
    """Add the faults of a channel to start from; return whether its files were spread over the hosts."""
    before = len(diagnostics.faults)
    entry = _entry(name, config, diagnostics)
    if entry is None:
        return False
    if _content_type(entry) not in (None, "", *_WEIGHT_TYPES[name]):
        diagnostics.faults.append(
            f"{INPUT_DATA_CONFIG_FILE}: {name}: ContentType is {shown(entry['ContentType'])}; it must be "
            f"{listed([*_WEIGHT_TYPES[name], 'left out'])}"
        )
    sharded = _read_delivery(name, entry, diagnostics).sharded
    if len(diagnostics.faults) == before:
        check = check_model if name == "model" else check_pretrained
        check(paths.data / name, paths.base, diagnostics)
    return sharded


def _entry(name: str, config: dict[str, object], diagnostics: Diagnostics) -> dict[str, object] | None:
    """Return a channel's own object, None with a fault."""
    entry = config[name]
    if isinstance(entry, dict):
        return entry
    diagnostics.faults.append(
        f'{INPUT_DATA_CONFIG_FILE}: {name} is {shown(entry)}; it must be an object such as {{"ContentType": ...}}'
    )
    return None


def _content_type(entry: dict[str, object]) -> object:
    """Return a ContentType without its parameters, in lower case; what is not a string as it is."""
    given = entry.get("ContentType")
    return given.partition(";")[0].strip().lower() if isinstance(given, str) else given


@dataclass(frozen=True)
class _Delivery:
    """How a channel comes; wrapped: each object, or each attribute of a manifest, as a record of its own."""

    mode: Mode
    wrapped: bool
    sharded: bool


def _read_delivery(
    name: str, entry: dict[str, object], diagnostics: Diagnostics, *, may_stream: bool = False
) -> _Delivery:
    """Read input mode, record wrapping and distribution; what is wrong is a fault, and read as the default."""
    mode = _read_mode(name, entry, diagnostics, (*_FILE_MODES, "Pipe") if may_stream else _FILE_MODES)
    wrapper = entry.get("RecordWrapperType") or "None"
    if wrapper in _WRAPPERS:
        if mode in _FILE_MODES and entry.get("TrainingInputMode") != "Pipe":
            also = ", or set TrainingInputMode to Pipe" if may_stream else ""
            diagnostics.faults.append(
                f"{INPUT_DATA_CONFIG_FILE}: {name}: RecordWrapperType is {shown(wrapper)}, which is for Pipe mode "
                f"alone: leave it out{also}"
            )
    elif wrapper != "None":
        also = "None, RecordIO" if mode == "Pipe" else "None"
        diagnostics.faults.append(
            f"{INPUT_DATA_CONFIG_FILE}: {name}: RecordWrapperType is {shown(wrapper)}; it must be {also} or left out"
        )
    distribution = entry.get("S3DistributionType") or "FullyReplicated"
    if distribution not in ("FullyReplicated", "ShardedByS3Key"):
        diagnostics.faults.append(
            f"{INPUT_DATA_CONFIG_FILE}: {name}: S3DistributionType is {shown(distribution)}; it must be "
            "FullyReplicated or ShardedByS3Key"
        )
    return _Delivery(mode, wrapper in _WRAPPERS, distribution == "ShardedByS3Key")


def _read_mode(name: str, entry: dict[str, object], diagnostics: Diagnostics, allowed: tuple[Mode, ...]) -> Mode:
    given = entry.get("TrainingInputMode") or "File"
    for mode in allowed:
        if given == mode:
            return mode
    wrong = _NO_PIPE if given == "Pipe" else f"TrainingInputMode is {shown(given)}; it must be {listed(list(allowed))}"
    diagnostics.faults.append(f"{INPUT_DATA_CONFIG_FILE}: {name}: {wrong}")
    return "File"


def check_use_pretrained_model(channels: WeightChannels, provided: dict[str, str], diagnostics: Diagnostics) -> None:
    """Compare the channels to start from with use_pretrained_model as it was given, readable or not."""
    given = provided.get("use_pretrained_model", "")
    wanted = BOOLEANS.get((unquoted(given) or "").lower())
    if channels.pretrained is not None and wanted is False:
        diagnostics.faults.append(
            f"{HYPERPARAMETERS_FILE}: use_pretrained_model is {shown(given)}, but the pretrained channel gives weights "
            "to start from: remove the channel or set use_pretrained_model to 1"
        )
    if channels.model is not None and wanted:
        diagnostics.notices.append(
            f"use_pretrained_model is {shown(given)}, but training continues from the model in the model channel: no "
            "pre-trained weights are used"
        )


def model_file(folder: Path) -> Path:
    """Give the archive or .params file of a checked model channel; raises UserError when it is gone."""
    return _only(list_models(folder), folder)


def pretrained_file(folder: Path) -> Path:
    """Give the file of weights or the archive of a checked pretrained channel; raises UserError when it is gone."""
    return _only(list_pretrained(folder), folder)


def _only(listing: FileListing, folder: Path) -> Path:
    if not listing.found:
        raise UserError(f"{folder}: the file to start from is not there any more")
    return listing.found[0]
