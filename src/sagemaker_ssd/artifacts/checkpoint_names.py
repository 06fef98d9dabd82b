"""What the files of a checkpoint are called, and which files in a checkpoint folder are this program's own.

The folder is not ours alone: while SageMaker uploads it, it puts markers beside the files, and a person may keep
files of their own there. Whatever has none of these names is neither read nor touched.
"""

import re
from pathlib import Path
from typing import Final

# A file has this ending until it is whole. SageMaker does not upload such files: sagemaker-xgboost-container,
# checkpointing.py, writes its own in the same way.
PART: Final = ".sagemaker-ignore"
# SageMaker's markers beside the files, from the same source.
_UPLOADING: Final = ".sagemaker-uploading"
_UPLOADED: Final = ".sagemaker-uploaded"
_NAME: Final = re.compile(r"sagemaker-ssd-(?:[0-9]{4}|[1-9][0-9]{4,})\.(?:params|json)")
_EPOCH: Final = re.compile(r"[0-9]+")


def parameters_name(epoch: int) -> str:
    """Name the file with all arrays of an epoch, counted from 0."""
    return f"sagemaker-ssd-{epoch:04d}.params"


def manifest_name(epoch: int) -> str:
    """Name the file that makes an epoch's arrays a checkpoint."""
    return f"sagemaker-ssd-{epoch:04d}.json"


def parameter_files(folder: Path) -> dict[int, Path]:
    """Find every file of arrays by its epoch."""
    return _found(folder, ".params")


def manifest_files(folder: Path) -> dict[int, Path]:
    """Find every manifest by its epoch, the newest first."""
    return dict(sorted(_found(folder, ".json").items(), reverse=True))


def leftovers(folder: Path) -> list[Path]:
    """Find what a run that was killed had not written to its end."""
    return [
        path
        for path in folder.iterdir()
        if path.suffix == PART and _NAME.fullmatch(path.name.removesuffix(PART)) and path.is_file()
    ]


def is_uploading(path: Path) -> bool:
    """Say whether SageMaker is uploading a file."""
    return path.with_name(path.name + _UPLOADING).exists()


def is_uploaded(path: Path) -> bool:
    """Say whether SageMaker has uploaded a file."""
    return path.with_name(path.name + _UPLOADED).exists()


def has_uploads(folder: Path) -> bool:
    """Say whether SageMaker uploads a folder, and so keeps a copy of it in S3."""
    return any(path.name.endswith((_UPLOADING, _UPLOADED)) for path in folder.iterdir())


def _found(folder: Path, suffix: str) -> dict[int, Path]:
    return {
        int(_EPOCH.findall(path.name)[0]): path
        for path in folder.iterdir()
        if path.suffix == suffix and _NAME.fullmatch(path.name) and path.is_file()
    }
