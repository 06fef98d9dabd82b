import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from another_user import open_folder
from sagemaker_ssd.contract.job import Job, read_job
from sagemaker_ssd.errors import UserError


class JobTree:
    """A real, minimal /opt/ml on disk, whose config files are written anew from these attributes."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.config = base / "input" / "config"
        self.data = base / "input" / "data"
        self.hyperparameters: dict[str, object] = {
            "num_classes": "3",
            "num_training_samples": "10",
            "use_pretrained_model": "0",
        }
        self.channels: dict[str, object] = {
            "train": {"ContentType": "application/x-recordio", "TrainingInputMode": "File"},
            "validation": {"ContentType": "application/x-recordio", "TrainingInputMode": "File"},
        }
        self.resources: object = {"current_host": "algo-1", "hosts": ["algo-1"]}
        self.config.mkdir(parents=True)
        self.file("train/train.rec")
        self.file("validation/val.rec")

    def file(self, path: str, content: bytes = b"x") -> Path:
        target = self.data / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        return target

    def images(self) -> None:
        """Make the job one of images: both channels with an annotation channel each."""
        for name in ("train", "validation"):
            for file in (self.data / name).iterdir():
                file.unlink()
            self.channels[name] = {"ContentType": "image/jpeg"}
            self.channels[f"{name}_annotation"] = {"ContentType": "image/jpeg"}
            self.file(f"{name}/a/1.jpg")
            self.file(f"{name}_annotation/a/1.json")

    def write(self) -> Path:
        for name, content in (
            ("hyperparameters.json", self.hyperparameters),
            ("inputdataconfig.json", self.channels),
            ("resourceconfig.json", self.resources),
        ):
            (self.config / name).write_text(json.dumps(content))
        return self.base

    def read(self) -> Job:
        return read_job(self.write())

    def faults(self) -> list[str]:
        self.write()
        return self.faults_as_written()

    def faults_as_written(self) -> list[str]:
        with pytest.raises(UserError) as caught:
            read_job(self.base)
        head, *rest = caught.value.sentence.splitlines()
        if not rest:
            return [head]
        assert head == f"{len(rest)} problems:"
        return [line.removeprefix("- ") for line in rest]


@pytest.fixture
def tree(tmp_path: Path) -> JobTree:
    return JobTree(tmp_path / "ml")


@pytest.fixture
def open_tree() -> Iterator[JobTree]:
    """One that every user may read."""
    with open_folder() as folder:
        yield JobTree(folder / "ml")
