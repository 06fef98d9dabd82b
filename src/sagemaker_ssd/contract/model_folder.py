"""The model folder: its three files, and how a new model is published so that a kill leaves the old one or the new one.

A model is written into `.staging`. Renaming that to `.publishing` is the one step that decides: before it the old
model stands, after it the new one does, even if moving its files has to be finished by the next process. All of it
happens inside the model's folder, because a rename cannot leave a mount.
"""

import shutil
from pathlib import Path
from typing import Final

from sagemaker_ssd.files import sync

# The files of the built-in's model.tar.gz, which become those of ours: the network as MXNet's JSON, the values of its
# parameters, and the job's hyperparameters as flat strings.
SYMBOL: Final = "model_algo_1-symbol.json"
PARAMETERS: Final = "model_algo_1-0000.params"
CONFIGURATION: Final = "hyperparams.json"

_STAGING: Final = ".staging"
_PUBLISHING: Final = ".publishing"


def staging_folder(model: Path) -> Path:
    """Make the empty folder that a new model is written into; raises OSError."""
    staging = model / _STAGING
    if staging.exists():
        shutil.rmtree(staging)
    staging.mkdir(parents=True)
    return staging


def publish(model: Path) -> None:
    """Replace the model by the files in the staging folder; raises OSError, the model then being old or new."""
    staging = model / _STAGING
    for file in staging.iterdir():
        sync(file)
    sync(staging)
    _finish_moves(model)
    staging.rename(model / _PUBLISHING)
    sync(model)
    _finish_moves(model)


def finish_publication(model: Path) -> bool:
    """Clear up after a process that was killed; True when the model it had published was put into place."""
    completed = _finish_moves(model)
    if (model / _STAGING).exists():
        shutil.rmtree(model / _STAGING)
    return completed


def model_state(model: Path) -> tuple[int, int] | None:
    """Identify the model in place by its inode and its time in nanoseconds, None when there is none."""
    try:
        status = (model / PARAMETERS).stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _finish_moves(model: Path) -> bool:
    publishing = model / _PUBLISHING
    if not publishing.exists():
        return False
    # The parameters last: where they stand, the rest of their model stands too.
    for file in sorted(publishing.iterdir(), key=lambda file: (file.name == PARAMETERS, file.name)):
        file.replace(model / file.name)
    publishing.rmdir()
    sync(model)
    return True
