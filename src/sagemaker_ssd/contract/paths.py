"""Every path of SageMaker's training contract, once.

Reads checkpointconfig.json: where the platform expects checkpoints, if the job has any.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sagemaker_ssd.contract.config_file import ConfigFindings, is_there, read_object
from sagemaker_ssd.errors import shown


@dataclass(frozen=True)
class Paths:
    """The files and folders below one root, `/opt/ml` on SageMaker."""

    base: Path

    @property
    def config(self) -> Path:
        """The folder of the four config files."""
        return self.base / "input" / "config"

    @property
    def hyperparameters(self) -> Path:
        """What the person set."""
        return self.config / "hyperparameters.json"

    @property
    def input_data_config(self) -> Path:
        """The channels and how they are delivered."""
        return self.config / "inputdataconfig.json"

    @property
    def resource_config(self) -> Path:
        """The hosts of the job."""
        return self.config / "resourceconfig.json"

    @property
    def checkpoint_config(self) -> Path:
        """Where checkpoints go; the file is there only for jobs with checkpoints."""
        return self.config / "checkpointconfig.json"

    @property
    def data(self) -> Path:
        """The folder with one folder a channel."""
        return self.base / "input" / "data"

    @property
    def model(self) -> Path:
        """The folder that becomes model.tar.gz."""
        return self.base / "model"

    @property
    def output(self) -> Path:
        """The folder of the failure file and of output/data."""
        return self.base / "output"

    @property
    def output_data(self) -> Path:
        """The folder that becomes output.tar.gz."""
        return self.output / "data"

    @property
    def failure(self) -> Path:
        """The file whose first 1,024 characters become the job's FailureReason."""
        return self.output / "failure"


CHECKPOINT_FILE: Final = "checkpointconfig.json"
SAGEMAKER_BASE: Final = "/opt/ml"
CHECKPOINT_MUST_HOLD: Final = 'it must hold a JSON object such as {"LocalPath": "/opt/ml/checkpoints"}'


def read_checkpoints(paths: Paths, findings: ConfigFindings) -> Path | None:
    """Read the folder for checkpoints: the one that the file names, else the usual one if it exists; None else."""
    usual = paths.base / "checkpoints"
    if not is_there(paths.checkpoint_config):
        if is_there(usual) and not usual.is_dir():
            findings.faults.append(f"{usual} is not a folder: remove it, or make it the folder for checkpoints")
        return usual if usual.is_dir() else None
    content = read_object(paths.checkpoint_config, CHECKPOINT_MUST_HOLD, findings)
    if content is None:
        return None
    # The service's own default when CheckpointConfig is given without LocalPath.
    folder = content.get("LocalPath", str(usual))
    if not isinstance(folder, str) or not folder.isprintable() or not folder.startswith("/"):
        findings.faults.append(
            f"{CHECKPOINT_FILE}: LocalPath is {shown(folder)}; it must be a folder's path in quotes, such as "
            "/opt/ml/checkpoints"
        )
        return None
    # What is below /opt/ml on SageMaker is below the job's own folder elsewhere, as the job's other folders are.
    path = Path(folder)
    path = paths.base / (path.relative_to(SAGEMAKER_BASE) if path.is_relative_to(SAGEMAKER_BASE) else path)
    for other in (paths.base / "input", paths.model, paths.output):
        if path.is_relative_to(other) or other.is_relative_to(path):
            findings.faults.append(
                f"{CHECKPOINT_FILE}: LocalPath is {shown(folder)}; checkpoints must not lie in or above {other}: write "
                "/opt/ml/checkpoints"
            )
            return None
    return path
