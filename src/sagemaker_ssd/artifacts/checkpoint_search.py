"""Finds the checkpoint that a job goes on from."""

from dataclasses import dataclass
from pathlib import Path

from sagemaker_ssd.artifacts.checkpoint_files import file_facts
from sagemaker_ssd.artifacts.checkpoint_manifest import Manifest, read_manifest
from sagemaker_ssd.artifacts.checkpoint_names import manifest_files


@dataclass(frozen=True)
class Search:
    """The newest whole checkpoint of a folder, if any, and why each newer one cannot be used."""

    manifest: Manifest | None
    unusable: tuple[str, ...]


def newest_checkpoint(folder: Path) -> Search:
    """Look at the checkpoints of a folder, the newest first, until one is whole.

    Raises OSError when the folder cannot be read, UserError when a newer version of this program wrote a checkpoint.
    """
    unusable = []
    for epoch, path in manifest_files(folder).items():
        try:
            manifest = read_manifest(path)
            if manifest.epoch != epoch:
                raise ValueError(f"it is the manifest of epoch {manifest.epoch}")
            _check_files(folder, manifest)
        except ValueError as error:
            unusable.append(f"{path}: {error}")
        else:
            return Search(manifest, tuple(unusable))
    return Search(None, tuple(unusable))


def _check_files(folder: Path, manifest: Manifest) -> None:
    """Raise ValueError unless every file is as it was written."""
    for name, written in manifest.files.items():
        path = folder / name
        try:
            size = path.stat().st_size
            # The digest, which takes longer, only where the size leaves a doubt.
            found = file_facts(path) if size == written.size else None
        except FileNotFoundError:
            raise ValueError(f"{name}, which it needs, is not there") from None
        except OSError as error:
            raise ValueError(f"{name}, which it needs, cannot be read ({error.strerror})") from error
        if found is None:
            raise ValueError(f"{name} has {size:,} bytes, but {written.size:,} were written")
        if found != written:
            raise ValueError(f"{name} has changed since it was written: its sha256 differs")
