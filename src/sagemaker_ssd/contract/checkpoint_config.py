"""Reads checkpointconfig.json: where the platform expects checkpoints, if the job has any."""

from pathlib import Path
from typing import Final

from sagemaker_ssd.contract.findings import Findings, shown
from sagemaker_ssd.contract.json_object import is_there, read_object
from sagemaker_ssd.contract.paths import Paths

FILE: Final = "checkpointconfig.json"
MUST_HOLD: Final = 'it must hold a JSON object such as {"LocalPath": "/opt/ml/checkpoints"}'


def read_checkpoints(paths: Paths, findings: Findings) -> Path | None:
    """Read the folder for checkpoints; None without the file, and with a fault."""
    if not is_there(paths.checkpoint_config):
        return None
    content = read_object(paths.checkpoint_config, MUST_HOLD, findings)
    if content is None:
        return None
    # The service's own default when CheckpointConfig is given without LocalPath.
    folder = content.get("LocalPath", str(paths.base / "checkpoints"))
    if not isinstance(folder, str) or not folder:
        findings.faults.append(f"{FILE}: LocalPath is {shown(folder)}; it must be a folder's path in quotes")
        return None
    findings.notices.append(f"{FILE}: this version does not write checkpoints yet; {shown(folder)} stays as it is")
    return Path(folder)
