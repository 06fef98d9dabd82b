"""Reads how the platform delivers a channel: input mode, record wrapping, distribution."""

from dataclasses import dataclass
from typing import Final, Literal

from sagemaker_ssd.contract.findings import Findings, listed, shown

FILE: Final = "inputdataconfig.json"
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


def read_delivery(name: str, entry: dict[str, object], findings: Findings, *, may_stream: bool = False) -> Delivery:
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


def _mode(name: str, entry: dict[str, object], findings: Findings, allowed: tuple[Mode, ...]) -> Mode:
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
