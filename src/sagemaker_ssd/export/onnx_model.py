"""A model as ONNX: from RGB pixels to detections in standard operators, so that any runtime can do all of it."""

import json
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import mxnet as mx
import numpy as np
import onnx
from onnx import helper

from sagemaker_ssd.artifacts.whole_file import whole_file
from sagemaker_ssd.export.onnx_detection import SCORE_THRESHOLD, Nodes, add_detection
from sagemaker_ssd.model.anchor_boxes import anchor_boxes
from sagemaker_ssd.model.graph import Network, detection_graph
from sagemaker_ssd.model.parameters import with_fixed_gammas
from sagemaker_ssd.version import version

# MXNet 1.9.1 writes the nodes of this opset, whatever the library's newest is.
_OPSET: Final = 13
# The file format of that opset's time, which older runtimes read too.
_IR_VERSION: Final = 7
_CLASSES, _LOCATIONS = "multibox_cls_pred", "multibox_loc_pred"
INPUT, OUTPUT = "image", "detections"


def write_onnx(
    path: Path,
    network: Network,
    arguments: Mapping[str, mx.nd.NDArray],
    states: Mapping[str, mx.nd.NDArray],
    class_names: Sequence[str],
) -> None:
    """Write the network as one file, whole or not at all; raises OSError.

    Input `image`: (1, 3, S, S) float32, RGB from 0 to 255, resized without keeping the ratio of its sides. Output
    `detections`: (D, 6) float32, class_id, score, xmin, ymin, xmax, ymax in fractions of the image, by falling score.
    """
    model = build_onnx(network, arguments, states, class_names)
    with whole_file(path) as part:
        part.write_bytes(model.SerializeToString())


def build_onnx(
    network: Network,
    arguments: Mapping[str, mx.nd.NDArray],
    states: Mapping[str, mx.nd.NDArray],
    class_names: Sequence[str],
) -> onnx.ModelProto:
    """Build and check the model that `write_onnx` writes."""
    size = network.image_shape
    # MXNet's exporter does not know of scales that the graph fixes at 1.
    fixed = with_fixed_gammas(detection_graph(network), dict(arguments))
    model = _trunk_and_heads(network, {**fixed, **states})
    graph = model.graph
    nodes = Nodes(graph)
    del graph.input[:], graph.output[:]
    graph.input.append(helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, (1, 3, size, size)))
    graph.output.append(helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, ("D", 6)))
    # MXNet's own nodes read `data`; theirs come first.
    mean = nodes.constant("mean", np.array(network.mean, np.float32).reshape(1, 3, 1, 1))
    graph.node.insert(0, helper.make_node("Sub", [INPUT, mean], ["data"], name="without_mean"))
    add_detection(
        nodes,
        classes=_CLASSES,
        locations=_LOCATIONS,
        anchors=anchor_boxes(network),
        nms_threshold=network.nms_threshold,
        nms_topk=network.nms_topk,
        output=OUTPUT,
    )
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", _OPSET))
    model.ir_version = _IR_VERSION
    graph.name = f"ssd-{network.base_network}-{size}"
    model.producer_name, model.producer_version = "sagemaker-ssd", version()
    helper.set_model_props(model, {name: json.dumps(value) for name, value in _facts(network, class_names).items()})
    onnx.checker.check_model(model)
    return model


def _trunk_and_heads(network: Network, parameters: dict[str, mx.nd.NDArray]) -> onnx.ModelProto:
    internals = detection_graph(network).get_internals()
    heads = mx.sym.Group([internals[f"{name}_output"] for name in (_CLASSES, _LOCATIONS)])
    size = network.image_shape
    wanted = {*heads.list_arguments(), *heads.list_auxiliary_states()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "heads.onnx"
        # It tells of this file, which nobody will see.
        with _quiet():
            mx.onnx.export_model(
                heads,
                {name: array.as_in_context(mx.cpu()) for name, array in parameters.items() if name in wanted},
                in_shapes=[(1, 3, size, size)],
                in_types=[np.float32],
                onnx_file_path=str(path),
            )
        return onnx.load(str(path))


@contextmanager
def _quiet() -> Iterator[None]:
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _facts(network: Network, class_names: Sequence[str]) -> dict[str, Any]:
    return {
        "classes": list(class_names),
        "input": "RGB, 0 to 255, resized to the input's size by bilinear interpolation, the mean is taken off inside",
        "output": "class_id, score, xmin, ymin, xmax, ymax as fractions of the image, by falling score",
        "base_network": network.base_network,
        "image_shape": network.image_shape,
        "mean": list(network.mean),
        "nms_threshold": network.nms_threshold,
        "nms_topk": network.nms_topk,
        "score_threshold": SCORE_THRESHOLD,
    }
