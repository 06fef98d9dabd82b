"""The newest whole checkpoint of a folder, and why each newer one cannot be used."""

from dataclasses import dataclass
from pathlib import Path

from sagemaker_ssd.checkpoints.format import Manifest, manifest_files, read_manifest, unreadable
from sagemaker_ssd.files import sha256


@dataclass(frozen=True)
class FoundCheckpoint:
    """The newest whole checkpoint of a folder, if any, and why each newer one cannot be used.

    Where none is whole, it is the newest one that lacks no more than the best epoch's arrays: its own epoch is the best
    one then, and `lost` says which arrays are lost and why.
    """

    manifest: Manifest | None
    unusable: tuple[str, ...] = ()
    lost: str | None = None


def newest_checkpoint(folder: Path, newest: int | None = None) -> FoundCheckpoint:
    """Look at the checkpoints of a folder, the newest first, until one is whole; none after epoch `newest`.

    Raises UserError when a file cannot be read or a newer version of this program wrote a checkpoint, OSError when the
    folder cannot be read.
    """
    unusable: list[str] = []
    without_best: FoundCheckpoint | None = None
    for epoch, path in manifest_files(folder).items():
        if newest is not None and epoch > newest:
            continue
        try:
            manifest = read_manifest(path)
            if manifest.epoch != epoch:
                raise ValueError(f"it is the manifest of epoch {manifest.epoch}")
            _check_file(folder, manifest, manifest.parameters)
        except ValueError as error:
            unusable.append(f"{path}: {error}")
            continue
        try:
            _check_file(folder, manifest, manifest.best_parameters)
        except ValueError as error:
            lost = f"the best model, of epoch {manifest.best_epoch}, is lost: {error}"
            without_best = without_best or FoundCheckpoint(_as_its_own_best(manifest), tuple(unusable), lost)
            unusable.append(f"{path}: {error}")
            continue
        return FoundCheckpoint(manifest, tuple(unusable))
    return without_best or FoundCheckpoint(None, tuple(unusable))


def _as_its_own_best(manifest: Manifest) -> Manifest:
    own = manifest.parameters
    changed = {"best_epoch": manifest.epoch, "best_parameters": own, "files": {own: manifest.files[own]}}
    return manifest.model_copy(update=changed)


def _check_file(folder: Path, manifest: Manifest, name: str) -> None:
    """Raise ValueError unless a file is as it was written."""
    path, written = folder / name, manifest.files[name]
    try:
        size = path.stat().st_size
        # The digest, which takes longer, only where the size leaves a doubt.
        digest = sha256(path) if size == written.size else None
    except FileNotFoundError:
        raise ValueError(f"{name}, which it needs, is not there") from None
    except OSError as error:
        raise unreadable(path, error) from error
    if size != written.size:
        raise ValueError(f"{name} has {size:,} bytes, but {written.size:,} were written")
    if digest != written.sha256:
        raise ValueError(f"{name} has changed since it was written: its sha256 differs")
