"""Reads checkpointconfig.json: where the platform expects checkpoints, if the job has any."""

from pathlib import Path
from typing import Final

from sagemaker_ssd.contract.findings import Findings, shown
from sagemaker_ssd.contract.json_object import is_there, read_object
from sagemaker_ssd.contract.paths import Paths

FILE: Final = "checkpointconfig.json"
SAGEMAKER_BASE: Final = "/opt/ml"
MUST_HOLD: Final = 'it must hold a JSON object such as {"LocalPath": "/opt/ml/checkpoints"}'


def read_checkpoints(paths: Paths, findings: Findings) -> Path | None:
    """Read the folder for checkpoints: the one that the file names, else the usual one if it exists; None else."""
    usual = paths.base / "checkpoints"
    if not is_there(paths.checkpoint_config):
        if is_there(usual) and not usual.is_dir():
            findings.faults.append(f"{usual} is not a folder: remove it, or make it the folder for checkpoints")
        return usual if usual.is_dir() else None
    content = read_object(paths.checkpoint_config, MUST_HOLD, findings)
    if content is None:
        return None
    # The service's own default when CheckpointConfig is given without LocalPath.
    folder = content.get("LocalPath", str(usual))
    if not isinstance(folder, str) or not folder.isprintable() or not folder.startswith("/"):
        findings.faults.append(
            f"{FILE}: LocalPath is {shown(folder)}; it must be a folder's path in quotes, such as /opt/ml/checkpoints"
        )
        return None
    # What is below /opt/ml on SageMaker is below the job's own folder elsewhere, as the job's other folders are.
    path = Path(folder)
    path = paths.base / (path.relative_to(SAGEMAKER_BASE) if path.is_relative_to(SAGEMAKER_BASE) else path)
    for other in (paths.base / "input", paths.model, paths.output):
        if path.is_relative_to(other) or other.is_relative_to(path):
            findings.faults.append(
                f"{FILE}: LocalPath is {shown(folder)}; checkpoints must not lie in or above {other}: write "
                "/opt/ml/checkpoints"
            )
            return None
    return path
