"""A model as ONNX: from RGB pixels to detections in standard operators, so that any runtime can do all of it."""

import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import mxnet as mx
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from sagemaker_ssd.artifacts.model_files import size_of
from sagemaker_ssd.contract.environment import ALL_CLASSES, BEST_CLASS
from sagemaker_ssd.errors import UserError, in_words
from sagemaker_ssd.files import atomic_write
from sagemaker_ssd.ssd.detect import SCORE_THRESHOLD, VARIANCES, anchor_boxes
from sagemaker_ssd.ssd.graphs import detection_graph
from sagemaker_ssd.ssd.initial_values import with_fixed_gammas
from sagemaker_ssd.ssd.network import Network
from sagemaker_ssd.version import version

_END: Final = np.iinfo(np.int64).max
# MXNet 1.9.1 writes the nodes of this opset, whatever the library's newest is.
_OPSET: Final = 13
# The file format of that opset's time, which older runtimes read too.
_IR_VERSION: Final = 7
# A file is one message of protobuf, which counts a message's bytes in 31 bits.
_MOST_BYTES: Final = 2**31 - 1
# What a file has beside values and names of classes, nodes and small constants: several times what there is.
_REST_BYTES: Final = 1 << 18
_CLASSES, _LOCATIONS = "multibox_cls_pred", "multibox_loc_pred"
INPUT, OUTPUT, IMAGE_OUTPUT = "image", "detections", "image_numbers"
# Names of dimensions whose length is known when the model runs: images, and detections of all of them.
_IMAGES, _DETECTIONS = "N", "D"


def write_onnx(
    path: Path,
    network: Network,
    arguments: Mapping[str, mx.nd.NDArray],
    states: Mapping[str, mx.nd.NDArray],
    class_names: Sequence[str],
    detections: str = BEST_CLASS,
) -> None:
    """Write the network as one file, whole or not at all; raises UserError as `build_onnx` does, and OSError.

    Input `image`: (N, 3, S, S) float32, RGB from 0 to 255, resized without keeping the ratio of its sides. Output
    `detections`: (D, 6) float32, class_id, score, xmin, ymin, xmax, ymax in fractions of the image, image after image,
    of each by falling score. Output `image_numbers`: (D,) int64, which of the N images each detection is of, from 0.
    detections: which classes of an anchor, BEST_CLASS or ALL_CLASSES.
    """
    model = build_onnx(network, arguments, states, class_names, detections)
    with atomic_write(path) as part:
        part.write_bytes(model.SerializeToString())


def build_onnx(
    network: Network,
    arguments: Mapping[str, mx.nd.NDArray],
    states: Mapping[str, mx.nd.NDArray],
    class_names: Sequence[str],
    detections: str = BEST_CLASS,
) -> onnx.ModelProto:
    """Build and check the model that `write_onnx` writes; raises UserError for one that no ONNX file can hold."""
    needed = file_bytes(network, arguments, states, class_names)
    if needed > _MOST_BYTES:
        raise UserError(
            f"a model of {network.base_network} with {in_words(network.num_classes, 'class', 'classes')} is about "
            f"{needed:,} bytes as ONNX, and an ONNX file holds {_MOST_BYTES:,} at most: train with fewer classes, or "
            "use the model's own files (predict, serve, the deploy form)"
        )
    size = network.image_shape
    # MXNet's exporter knows nothing of scales that the graph fixes at 1.
    fixed = with_fixed_gammas(detection_graph(network), dict(arguments))
    model = _trunk_and_heads(network, {**fixed, **states})
    graph = model.graph
    nodes = Nodes(graph)
    # MXNet's shapes of what is between are those of one image.
    del graph.input[:], graph.output[:], graph.value_info[:]
    graph.input.append(helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, (_IMAGES, 3, size, size)))
    graph.output.append(helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, (_DETECTIONS, 6)))
    graph.output.append(helper.make_tensor_value_info(IMAGE_OUTPUT, onnx.TensorProto.INT64, (_DETECTIONS,)))
    # MXNet's own nodes read `data`; theirs come first.
    mean = nodes.constant("mean", np.array(network.mean, np.float32).reshape(1, 3, 1, 1))
    graph.node.insert(0, helper.make_node("Sub", [INPUT, mean], ["data"], name="without_mean"))
    add_detection(
        nodes,
        classes=_CLASSES,
        locations=_LOCATIONS,
        anchors=anchor_boxes(network),
        nms_threshold=network.nms.threshold,
        nms_topk=network.nms.topk,
        all_classes=detections == ALL_CLASSES,
        output=OUTPUT,
        image_output=IMAGE_OUTPUT,
    )
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", _OPSET))
    model.ir_version = _IR_VERSION
    graph.name = f"ssd-{network.base_network}-{size}"
    model.producer_name, model.producer_version = "sagemaker-ssd", version()
    facts = _metadata(network, class_names, detections)
    helper.set_model_props(model, {name: json.dumps(value) for name, value in facts.items()})
    onnx.checker.check_model(model)
    return model


def file_bytes(
    network: Network,
    arguments: Mapping[str, mx.nd.NDArray],
    states: Mapping[str, mx.nd.NDArray],
    class_names: Sequence[str],
) -> int:
    """Return how many bytes the file of a model has at most, without making it."""
    graph = detection_graph(network)
    wanted = {*graph.list_arguments(), *graph.list_auxiliary_states()}
    values = size_of({name: array for name, array in {**arguments, **states}.items() if name in wanted})
    # Beside its centre an anchor has what offsets of the centre and of the sides are multiplied by: six numbers of four
    # bytes.
    constants = 24 * len(anchor_boxes(network))
    return values + constants + len(json.dumps(list(class_names))) + _REST_BYTES


def _trunk_and_heads(network: Network, parameters: dict[str, mx.nd.NDArray]) -> onnx.ModelProto:
    """Return MXNet's own export of what comes before the detection."""
    internals = detection_graph(network).get_internals()
    heads = mx.sym.Group([internals[f"{name}_output"] for name in (_CLASSES, _LOCATIONS)])
    size = network.image_shape
    wanted = {*heads.list_arguments(), *heads.list_auxiliary_states()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "heads.onnx"
        # It logs the path of this file, which nobody will see.
        logging.disable(logging.INFO)
        try:
            mx.onnx.export_model(
                heads,
                {name: array.as_in_context(mx.cpu()) for name, array in parameters.items() if name in wanted},
                in_shapes=[(1, 3, size, size)],
                in_types=[np.float32],
                onnx_file_path=str(path),
            )
        finally:
            logging.disable(logging.NOTSET)
        return onnx.load(str(path))


def _metadata(network: Network, class_names: Sequence[str], detections: str) -> dict[str, Any]:
    return {
        "classes": list(class_names),
        "input": "RGB, 0 to 255, resized to the input's size by bilinear interpolation, the mean is taken off inside",
        "output": f"{OUTPUT}: class_id, score, xmin, ymin, xmax, ymax as fractions of the image, image after image, of "
        f"each by falling score; {IMAGE_OUTPUT}: the image of each, counted from 0",
        "base_network": network.base_network,
        "image_shape": network.image_shape,
        "mean": list(network.mean),
        "nms_threshold": network.nms.threshold,
        "nms_topk": network.nms.topk,
        "score_threshold": SCORE_THRESHOLD,
        "detections": detections,
    }


class Nodes:
    """Adds nodes and constants to a graph, each value under a name of its own."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Add a constant and return its name."""
        name = f"detection_{name}"
        self._graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def add(self, kind: str, inputs: list[str], name: str, outputs: int = 1, **attributes: Any) -> str:
        """Add a node and return the name of its last output; the ones before are <name>_0 and so on."""
        before = [f"{name}_{number}" for number in range(outputs - 1)]
        self._graph.node.append(helper.make_node(kind, inputs, [*before, name], name=f"node_{name}", **attributes))
        return name

    def slice(self, values: str, name: str, axis: int, begin: int, end: int) -> str:
        """Add the part [begin, end) of an axis."""
        bounds = [
            self.constant(f"{name}_{part}", np.array([number], np.int64))
            for part, number in (("begin", begin), ("end", end), ("axis", axis))
        ]
        return self.add("Slice", [values, *bounds], name)


def add_detection(
    nodes: Nodes,
    *,
    classes: str,
    locations: str,
    anchors: NDArray[np.float32],
    nms_threshold: float,
    nms_topk: int,
    all_classes: bool,
    output: str,
    image_output: str,
) -> None:
    """Add the detection, of each anchor's best class alone or of all its classes.

    (D, 6) `output` is class_id, score and box, image after image, of each by falling score; (D,) `image_output` is the
    image's number. classes: (N, num_classes + 1, A), before the softmax. locations: (N, 4A). anchors: (A, 4).
    """
    probabilities = nodes.add("Softmax", [classes], "probabilities", axis=1)
    objects = nodes.slice(probabilities, "object_probabilities", 1, 1, _END)
    boxes = _decoded(nodes, locations, anchors)
    most = min(nms_topk, len(anchors))
    add = _add_all_classes if all_classes else _add_best_class
    add(nodes, objects, boxes, nms_threshold, most, output, image_output)


def _add_best_class(
    nodes: Nodes, objects: str, boxes: str, nms_threshold: float, most: int, output: str, image_output: str
) -> None:
    """Add what MXNet's MultiBoxDetection does.

    Source: src/operator/contrib/multibox_detection.cc of MXNet 1.9.1: of each anchor the best class alone, if its score
    reaches the threshold; of these the `most` best; then non-maximum suppression within each class.
    objects: (N, num_classes, A) probabilities. boxes: (N, A, 4).
    """
    best = nodes.add("ReduceMax", [objects], "best", axes=[1], keepdims=0)
    count = nodes.constant("most", np.array([most], np.int64))
    chosen = nodes.add("TopK", [best, count], "chosen", outputs=2, axis=1)
    # (N, K, 1): of each image its own anchors.
    numbers = nodes.add("Unsqueeze", [chosen, nodes.constant("last_axis", np.array([2], np.int64))], "chosen_anchors")
    by_anchor = nodes.add("Transpose", [objects], "probabilities_by_anchor", perm=[0, 2, 1])
    chosen_rows = nodes.add("GatherND", [by_anchor, numbers], "chosen_rows", batch_dims=1)
    of_chosen = nodes.add("Transpose", [chosen_rows], "chosen_probabilities", perm=[0, 2, 1])
    boxes = nodes.add("GatherND", [boxes, numbers], "chosen_boxes", batch_dims=1)
    scores = _scores_of_best_class(nodes, of_chosen)
    kept = nodes.add("NonMaxSuppression", [boxes, scores, *_limits(nodes, nms_threshold, most)], "kept")
    _rows(nodes, kept, boxes, of_chosen, output, image_output)


def _add_all_classes(
    nodes: Nodes, objects: str, boxes: str, nms_threshold: float, most: int, output: str, image_output: str
) -> None:
    """Add what `detections_of_all_classes` does; arguments as above."""
    count = nodes.constant("most", np.array([most], np.int64))
    shape = nodes.add("Shape", [objects], "objects_shape")
    nothing = nodes.add("ConstantOfShape", [shape], "no_scores")
    best = nodes.add("TopK", [objects, count], "best_of_class", outputs=2, axis=2)
    # (N, num_classes, A) again: zeros but for the best of each class, which alone are looked at.
    scores = nodes.add("ScatterElements", [nothing, best, f"{best}_0"], "scores", axis=2)
    kept = nodes.add("NonMaxSuppression", [boxes, scores, *_limits(nodes, nms_threshold, most)], "kept")
    # The best that all classes of an image keep: again zeros but for those kept, in one row for each image.
    of_kept = nodes.add("ScatterND", [nothing, kept, nodes.add("GatherND", [scores, kept], "of_kept")], "all_kept")
    row = nodes.constant("row", np.array([0, -1], np.int64))
    of_images = nodes.add("Reshape", [of_kept, row], "kept_of_images")
    places = nodes.add("TopK", [of_images, count], "places", outputs=2, axis=1)
    some = nodes.add("NonZero", [f"{places}_0"], "some")
    some = nodes.add("Transpose", [some], "some_by_row", perm=[1, 0])
    column = nodes.constant("place_column", np.array([-1, 1], np.int64))
    place = nodes.add("Reshape", [nodes.add("GatherND", [places, some], "place"), column], "place_rows")
    anchors = nodes.add("Gather", [shape, nodes.constant("third", np.array([2], np.int64))], "anchor_count", axis=0)
    image = nodes.slice(some, "some_images", 1, 0, 1)
    number, anchor = (nodes.add(kind, [place, anchors], f"some_{kind.lower()}") for kind in ("Div", "Mod"))
    best_kept = nodes.add("Concat", [image, number, anchor], "best_kept", axis=1)
    _rows(nodes, best_kept, boxes, objects, output, image_output)


def _decoded(nodes: Nodes, locations: str, anchors: NDArray[np.float32]) -> str:
    """Add the boxes (N, A, 4), xmin, ymin, xmax, ymax from 0 to 1."""
    sides = anchors[:, 2:] - anchors[:, :2]
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    variances = np.array(VARIANCES, np.float32)
    rows = nodes.add("Reshape", [locations, nodes.constant("rows", np.array([0, -1, 4], np.int64))], "offsets")
    shift, stretch = nodes.slice(rows, "shift", 2, 0, 2), nodes.slice(rows, "stretch", 2, 2, 4)
    moved = nodes.add("Mul", [shift, nodes.constant("move", (variances[:2] * sides)[None])], "moved")
    centre = nodes.add("Add", [moved, nodes.constant("centres", centres[None])], "centre")
    power = nodes.add("Mul", [stretch, nodes.constant("variances", variances[2:])], "power")
    grown = nodes.add("Exp", [power], "grown")
    half = nodes.add("Mul", [grown, nodes.constant("halves", (sides / 2)[None])], "half")
    corners = [nodes.add(kind, [centre, half], f"corner_{kind.lower()}") for kind in ("Sub", "Add")]
    joined = nodes.add("Concat", corners, "corners", axis=2)
    limits = [nodes.constant(name, np.array(value, np.float32)) for name, value in (("zero", 0), ("one", 1))]
    return nodes.add("Clip", [joined, *limits], "boxes")


def _scores_of_best_class(nodes: Nodes, probabilities: str) -> str:
    """Add the probabilities (N, C, K) with zeros for all classes of an anchor but its best."""
    best = nodes.add("ArgMax", [probabilities], "best_class", axis=1, keepdims=1)
    shape = nodes.add("Shape", [probabilities], "probabilities_shape")
    count = nodes.add("Gather", [shape, nodes.constant("second", np.array(1, np.int64))], "class_count", axis=0)
    classes = nodes.add(
        "Range",
        [nodes.constant("begin", np.array(0, np.int64)), count, nodes.constant("by", np.array(1, np.int64))],
        "class_numbers",
    )
    column = nodes.add("Reshape", [classes, nodes.constant("column", np.array([1, -1, 1], np.int64))], "class_column")
    mask = nodes.add("Cast", [nodes.add("Equal", [column, best], "is_best")], "mask", to=onnx.TensorProto.FLOAT)
    return nodes.add("Mul", [probabilities, mask], "scores")


def _limits(nodes: Nodes, nms_threshold: float, most: int) -> list[str]:
    """Add the limits: MXNet takes what reaches them, ONNX what is above."""
    below = {
        "overlap": np.nextafter(np.float32(nms_threshold), np.float32(0)),
        "least_score": np.nextafter(np.float32(SCORE_THRESHOLD), np.float32(0)),
    }
    each = nodes.constant("each_class", np.array([most], np.int64))
    return [each, *(nodes.constant(name, np.array([value], np.float32)) for name, value in below.items())]


def _rows(nodes: Nodes, kept: str, boxes: str, probabilities: str, output: str, image_output: str) -> None:
    """Add the rows of the boxes that are kept, (D, 3) of image, class and anchor, by image and falling score."""
    image, number, anchor = (
        nodes.slice(kept, f"kept_{name}", 1, place, place + 1)
        for place, name in enumerate(("image", "class", "anchor"))
    )
    score = nodes.add("GatherND", [probabilities, kept], "kept_scores")
    class_id = nodes.add("Cast", [number], "kept_class_ids", to=onnx.TensorProto.FLOAT)
    box = nodes.add("GatherND", [boxes, nodes.add("Concat", [image, anchor], "kept_places", axis=1)], "kept_boxes")
    column = nodes.constant("score_column", np.array([-1, 1], np.int64))
    rows = nodes.add("Concat", [class_id, nodes.add("Reshape", [score, column], "score_rows"), box], "rows", axis=1)
    flat = nodes.constant("flat", np.array([-1], np.int64))
    images = nodes.add("Reshape", [image, flat], "kept_images")
    # One key sorts by both: 2 for each image, less a score of at most 1. Doubles hold it without rounding.
    wide = {
        name: nodes.add("Cast", [values], f"wide_{name}", to=onnx.TensorProto.DOUBLE)
        for name, values in (("images", images), ("scores", score))
    }
    two = nodes.constant("two", np.array(2, np.float64))
    key = nodes.add("Sub", [nodes.add("Mul", [wide["images"], two], "first_key"), wide["scores"]], "key")
    count = nodes.add("Shape", [score], "count")
    order = nodes.add("TopK", [key, count], "order", outputs=2, axis=0, largest=0)
    nodes.add("Gather", [rows, order], output, axis=0)
    nodes.add("Gather", [images, order], image_output, axis=0)
