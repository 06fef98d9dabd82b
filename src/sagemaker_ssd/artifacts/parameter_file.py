"""Reads parameters that were saved by MXNet or GluonCV somewhere else."""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import mxnet as mx
import numpy as np
import numpy.typing as npt

from sagemaker_ssd.artifacts.parameter_bytes import BadBytesError, stored_arrays
from sagemaker_ssd.errors import UserError

_ARGUMENT, _STATE = "arg:", "aux:"
# BatchNorm's in MXNet's symbols and in Gluon's blocks.
_STATE_ENDINGS: Final = ("_moving_mean", "_moving_var", "_running_mean", "_running_var")
_SHOWN: Final = 3
# What people put where parameters belong, by its first bytes.
_KNOWN: Final = (
    (b"version https://git-lfs", "it is a Git LFS pointer, not the file itself: fetch it by `git lfs pull`"),
    (b"<", "it is a web page or an XML message, not an MXNet parameter file: download it again, and look into it"),
    (b"{", "it is JSON, such as a network's symbol, not an MXNet parameter file"),
    (b"\x1f\x8b", "it is a gzip file, not an MXNet parameter file: unpack it first"),
    (b"PK", "it is a zip file, such as NumPy and PyTorch write, not an MXNet parameter file"),
    (b"\x80", "it is a Python pickle, such as PyTorch writes, not an MXNet parameter file"),
    (b"\x89HDF", "it is an HDF5 file, such as Keras writes, not an MXNet parameter file"),
)
_MAKE_ONE: Final = "the file must be one that MXNet wrote, by `save_checkpoint`, `save_parameters` or `mx.nd.save`"


def read_parameter_file(path: Path, shown_as: str) -> dict[str, mx.nd.NDArray]:
    """Read every array of a .params file in float32 by its name in the file.

    shown_as: how the faults name the file. Raises UserError for anything but named, dense arrays of finite
    floating-point numbers, and OSError.
    """
    try:
        with path.open("rb") as file:
            stored = stored_arrays(file, os.fstat(file.fileno()).st_size)
        if not stored.arrays:
            raise BadBytesError("it holds no arrays")
        if not stored.names:
            raise BadBytesError(f"its {len(stored.arrays)} arrays have no names; save a dictionary, not a list")
        repeated = [name for name, count in Counter(map(_bare, stored.names)).items() if count > 1]
        if repeated:
            raise BadBytesError(f"it holds more than one array of the same name: {_some(repeated)}")
        named = dict(zip(stored.names, stored.arrays, strict=True))
        del stored
        return _usable(named)
    except BadBytesError as error:
        raise UserError(f"{shown_as}: {_told(path, str(error))}") from error


def arguments_and_states(
    arrays: Mapping[str, mx.nd.NDArray],
) -> tuple[dict[str, mx.nd.NDArray], dict[str, mx.nd.NDArray]]:
    """Part arrays into arguments and BatchNorm's states, names bare: by "aux:" or by ending.

    States can have the prefix "arg:" where a person has put it before every name.
    """
    arguments: dict[str, mx.nd.NDArray] = {}
    states: dict[str, mx.nd.NDArray] = {}
    for name, array in arrays.items():
        is_state = name.startswith(_STATE) or name.endswith(_STATE_ENDINGS)
        (states if is_state else arguments)[_bare(name)] = array
    return arguments, states


def _usable(named: dict[str, npt.NDArray[np.generic]]) -> dict[str, mx.nd.NDArray]:
    """Turn the arrays into MXNet's, one after the other so that only one is in memory twice."""
    other = {name: str(array.dtype) for name, array in named.items() if array.dtype.kind != "f"}
    if other:
        kinds = " and ".join(sorted(set(other.values())))
        raise BadBytesError(
            f"it holds numbers of type {kinds} in {_some(list(other))}; save floating-point numbers, by "
            "`.astype('float32')`"
        )
    arrays, bad = {}, []
    for name in list(named):
        # Numbers too large for float32 become infinite, which is told below.
        with np.errstate(over="ignore"):
            values = named.pop(name).astype(np.float32, copy=False)
        if not np.isfinite(values).all():
            bad.append(name)
        arrays[name] = mx.nd.array(values, dtype=np.float32)
    if bad:
        raise BadBytesError(
            f"it holds values that are not finite numbers in {_some(bad)}; they come from a training that diverged: "
            "take the parameters of an earlier epoch"
        )
    return arrays


def _told(path: Path, fault: str) -> str:
    if fault.startswith("it is not an MXNet"):
        with path.open("rb") as file:
            head = file.read(64)
        if not head:
            return f"it is empty; {_MAKE_ONE}"
        return next((text for start, text in _KNOWN if head.lstrip().startswith(start)), f"{fault}; {_MAKE_ONE}")
    return f"{fault}; copy or upload it again" if "damaged" in fault else fault


def _bare(name: str) -> str:
    return name.partition(":")[2] if name.startswith((_ARGUMENT, _STATE)) else name


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
