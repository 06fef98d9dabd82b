"""Checks how the platform delivers a channel: input mode, record wrapping, distribution."""

from typing import Final

from sagemaker_ssd.contract.findings import Findings, shown

FILE: Final = "inputdataconfig.json"
NO_PIPE: Final = "Pipe mode is not available in this version: set TrainingInputMode to File or FastFile"


def check_delivery(name: str, entry: dict[str, object], findings: Findings) -> bool:
    """Add the faults of a channel's delivery; return whether its files are spread over the hosts."""
    mode = entry.get("TrainingInputMode") or "File"
    if mode == "Pipe":
        findings.faults.append(f"{FILE}: {name}: {NO_PIPE}")
    elif mode not in ("File", "FastFile"):
        findings.faults.append(f"{FILE}: {name}: TrainingInputMode is {shown(mode)}; it must be File or FastFile")
    wrapper = entry.get("RecordWrapperType") or "None"
    if wrapper in ("RecordIO", "AugmentedManifest"):
        findings.faults.append(
            f"{FILE}: {name}: RecordWrapperType is {shown(wrapper)}, which needs Pipe mode, and Pipe mode is not "
            "available in this version: leave it out"
        )
    elif wrapper != "None":
        findings.faults.append(f"{FILE}: {name}: RecordWrapperType is {shown(wrapper)}; it must be None or left out")
    distribution = entry.get("S3DistributionType") or "FullyReplicated"
    if distribution not in ("FullyReplicated", "ShardedByS3Key"):
        findings.faults.append(
            f"{FILE}: {name}: S3DistributionType is {shown(distribution)}; it must be FullyReplicated or ShardedByS3Key"
        )
    return distribution == "ShardedByS3Key"
