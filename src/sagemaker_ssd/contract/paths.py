"""Every path of SageMaker's training contract, among them the folder for checkpoints, which a config file can set."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sagemaker_ssd.contract.config_file import Diagnostics, is_there, read_object
from sagemaker_ssd.errors import shown

# The config files, as the faults name them.
HYPERPARAMETERS_FILE: Final = "hyperparameters.json"
INPUT_DATA_CONFIG_FILE: Final = "inputdataconfig.json"
RESOURCE_CONFIG_FILE: Final = "resourceconfig.json"
CHECKPOINT_CONFIG_FILE: Final = "checkpointconfig.json"

# Where the job lives on SageMaker.
SAGEMAKER_BASE: Final = "/opt/ml"
# What sentences propose where a job must not go on from the checkpoints that are there.
ANOTHER_CHECKPOINT_FOLDER: Final = "name another folder for checkpoints (on SageMaker another CheckpointConfig.S3Uri)"
# Beside a proposal of other hyperparameters: a job goes on from a checkpoint with those that it was written with alone.
WITH_A_CHECKPOINT: Final = f"where there is a checkpoint already, {ANOTHER_CHECKPOINT_FOLDER}"
_CHECKPOINT_CONFIG_MUST_HOLD: Final = 'it must hold a JSON object such as {"LocalPath": "/opt/ml/checkpoints"}'


def base_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder below which the job, or the model that is hosted, lives; an empty variable names none."""
    return Path(environment.get("SAGEMAKER_BASE_DIR") or SAGEMAKER_BASE)


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
        return self.config / HYPERPARAMETERS_FILE

    @property
    def input_data_config(self) -> Path:
        """The channels and how they are delivered."""
        return self.config / INPUT_DATA_CONFIG_FILE

    @property
    def resource_config(self) -> Path:
        """The hosts of the job."""
        return self.config / RESOURCE_CONFIG_FILE

    @property
    def checkpoint_config(self) -> Path:
        """Where checkpoints go; the file is there only for jobs with checkpoints."""
        return self.config / CHECKPOINT_CONFIG_FILE

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
    def metrics(self) -> Path:
        """The figures of the job."""
        return self.output_data / "metrics.json"

    @property
    def report(self) -> Path:
        """The page for people: a small one while the training goes on, the whole one after its end."""
        return self.output_data / "report.html"

    @property
    def deploy(self) -> Path:
        """The folder of the model in mxnet-ssd's deploy form."""
        return self.output_data / "deploy"

    @property
    def onnx_model(self) -> Path:
        """The model as ONNX."""
        return self.output_data / "model.onnx"

    @property
    def tensorboard(self) -> Path:
        """The folder of TensorBoard's event files: the default LocalPath of SageMaker's TensorBoardOutputConfig."""
        return self.output / "tensorboard"

    @property
    def failure(self) -> Path:
        """The file whose first 1,024 characters become the job's FailureReason."""
        return self.output / "failure"


def read_checkpoint_folder(paths: Paths, diagnostics: Diagnostics) -> Path | None:
    """Find the folder for checkpoints: the one that checkpointconfig.json names, else the usual one if it exists.

    None for a job without checkpoints, and with a fault.
    """
    usual = paths.base / "checkpoints"
    if not is_there(paths.checkpoint_config):
        return usual if is_there(usual) and _may_hold_checkpoints(usual, diagnostics) else None
    content = read_object(paths.checkpoint_config, _CHECKPOINT_CONFIG_MUST_HOLD, diagnostics)
    if content is None:
        return None
    # The service's own default when CheckpointConfig is given without LocalPath.
    folder = content.get("LocalPath", str(usual))
    if not isinstance(folder, str) or not folder.isprintable() or not folder.startswith("/"):
        diagnostics.faults.append(
            f"{CHECKPOINT_CONFIG_FILE}: LocalPath is {shown(folder)}; it must be a folder's path in quotes, such as "
            "/opt/ml/checkpoints"
        )
        return None
    # What is below /opt/ml on SageMaker is below the job's own folder elsewhere, as the job's other folders are.
    path = Path(folder)
    path = paths.base / (path.relative_to(SAGEMAKER_BASE) if path.is_relative_to(SAGEMAKER_BASE) else path)
    for other in (paths.base / "input", paths.model, paths.output):
        if path.is_relative_to(other) or other.is_relative_to(path):
            diagnostics.faults.append(
                f"{CHECKPOINT_CONFIG_FILE}: LocalPath is {shown(folder)}; checkpoints must not lie in or above "
                f"{other}: write /opt/ml/checkpoints"
            )
            return None
    return path if _may_hold_checkpoints(path, diagnostics) else None


def _may_hold_checkpoints(path: Path, diagnostics: Diagnostics) -> bool:
    """Say whether there is a folder at `path`, or nothing in its place; add a fault for anything else."""
    try:
        if path.is_dir() or not is_there(path):
            return True
        wrong = "is not a folder"
    except OSError as error:
        # As where a mount is gone, or a link leads into a closed folder.
        wrong = f"cannot be read ({error.strerror})"
    diagnostics.faults.append(f"{path} {wrong}: remove it, or make it the folder for checkpoints")
    return False
