"""Reads ONNX files that someone else wrote, with nothing in them trusted: no other file is opened."""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from sagemaker_ssd.errors import UserError, bytes_in_words, shown

# Protocol Buffers can hold no more in one message.
_MOST_BYTES: Final = (1 << 31) - 1
_AGAIN: Final = "copy or upload it again"


def read_onnx_file(path: Path, shown_as: str) -> onnx.ModelProto:
    """Read a model; raises UserError, in which shown_as names the file, and OSError."""
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise UserError(f"{shown_as}: it has {bytes_in_words(size)}; an ONNX file has 2 GB at most")
    with path.open("rb") as file:
        return onnx_model(file.read(), shown_as)


def onnx_model(content: bytes, shown_as: str) -> onnx.ModelProto:
    """Read a model from a file's bytes; raises UserError, in which shown_as names the file."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise UserError(
            f"{shown_as}: it is an ONNX file, incomplete or damaged: it cannot be read to its end; {_AGAIN}"
        ) from error
    if not model.graph.node:
        raise UserError(
            f"{shown_as}: it begins as an ONNX file does and holds no network: it is an incomplete copy, or one of the "
            "kinds that begin alike and are not read, such as TensorFlow's saved_model.pb and CoreML's .mlmodel"
        )
    return model


def tensor_values(tensor: onnx.TensorProto, shown_as: str) -> npt.NDArray[np.float32]:
    """Return a stored tensor's values in float32; raises UserError for other numbers than finite, floating ones."""
    where = f"{shown_as}: {shown(tensor.name)}"
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        raise UserError(f"{where} is stored in another file; give one ONNX file that holds all of its values")
    if tensor.data_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE):
        raise UserError(f"{where} holds no floating-point numbers; give the model in float32")
    try:
        values = numpy_helper.to_array(tensor)
    # What numpy raises where bytes and shape do not fit together.
    except (ValueError, TypeError, MemoryError) as error:
        raise UserError(f"{where} is damaged: its values do not have its shape; {_AGAIN}") from error
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    if not np.isfinite(single).all():
        raise UserError(
            f"{where} holds values that are not finite numbers; take a model whose training did not diverge"
        )
    return single
