"""Every path of SageMaker's training contract, once."""

from dataclasses import dataclass
from pathlib import Path


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
