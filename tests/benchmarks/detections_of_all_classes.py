"""What detections of all classes of an anchor cost at batch 1, beside those of its best class and beside the network.

`OMP_NUM_THREADS=1 python tests/benchmarks/detections_of_all_classes.py [--rounds 20]`. Of each network the processor
milliseconds for all but the detection, in MXNet, and for the detection alone, in MXNet and in onnxruntime, on drawn
predictions: those of a trained network, where 20 objects have 30 anchors each that tell one class from the others, and
those of an untrained one, where every class scores nearly the same everywhere.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import mxnet as mx
import numpy as np
import onnx
import onnxruntime

from sagemaker_ssd.export.onnx import Nodes, add_detection
from sagemaker_ssd.ssd.detect import (
    anchor_boxes,
    detection_probabilities,
    detections,
    detections_of_all_classes,
)
from sagemaker_ssd.ssd.graphs import detection_graph, saved_graph
from sagemaker_ssd.ssd.heads import Predictions
from sagemaker_ssd.ssd.initial_values import initial_parameters
from sagemaker_ssd.ssd.network import Network

SIZE, OBJECTS, ANCHORS_OF_AN_OBJECT = 300, 20, 30
KINDS = {"best-class": False, "all-classes": True}


def drawn_scores(classes: int, anchors: int, *, trained: bool) -> np.ndarray:
    """Draw (1, classes + 1, A) as they are before the softmax."""
    random = np.random.RandomState(0)
    scores = random.normal(0, 0.01, (1, classes + 1, anchors)).astype(np.float32)
    if trained:
        scores[:, 0] += 10
        for _ in range(OBJECTS):
            begin = random.randint(0, anchors - ANCHORS_OF_AN_OBJECT)
            chosen = slice(begin, begin + ANCHORS_OF_AN_OBJECT)
            scores[0, :, chosen] += 3 + random.normal(0, 0.5, (classes + 1, ANCHORS_OF_AN_OBJECT))
            scores[0, 0, chosen] -= 10
            scores[0, 1 + random.randint(classes), chosen] += 4
    return scores


def mxnet_detection(
    network: Network, anchors: np.ndarray, scores: np.ndarray, offsets: np.ndarray, *, all_classes: bool
) -> Callable[[], np.ndarray]:
    """Return what detects on given predictions by MXNet's operators."""
    variables = {name: mx.sym.Variable(name) for name in ("locations", "classes", "anchors")}
    predictions = Predictions(**variables, maps=())
    probabilities = detection_probabilities(predictions)
    if all_classes:
        graph = detections_of_all_classes(
            predictions,
            probabilities,
            network.nms,
            num_classes=network.num_classes,
            num_anchors=len(anchors),
        )
    else:
        graph = detections(predictions, probabilities, network.nms)
    values = {"locations": offsets, "classes": scores, "anchors": anchors[None]}
    arrays = {name: mx.nd.array(value) for name, value in values.items()}
    bound = graph.bind(mx.cpu(), arrays, grad_req="null")

    def detect() -> np.ndarray:
        rows = bound.forward(is_train=False)[0].asnumpy()[0]
        return rows[rows[:, 0] >= 0]

    return detect


def onnx_detection(
    network: Network, anchors: np.ndarray, scores: np.ndarray, offsets: np.ndarray, *, all_classes: bool
) -> Callable[[], np.ndarray]:
    """Return what detects on given predictions by onnxruntime."""
    inputs = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ("N", *values.shape[1:]))
        for name, values in (("classes", scores), ("locations", offsets))
    ]
    output = onnx.helper.make_tensor_value_info("found", onnx.TensorProto.FLOAT, ("D", 6))
    graph = onnx.helper.make_graph([], "tail", inputs, [output])
    add_detection(
        Nodes(graph),
        classes="classes",
        locations="locations",
        anchors=anchors,
        nms_threshold=network.nms.threshold,
        nms_topk=network.nms.topk,
        all_classes=all_classes,
        output="found",
        image_output="numbers",
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=7)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"classes": scores, "locations": offsets})[0]


def mxnet_predictions(network: Network) -> Callable[[], object]:
    """Return what computes the network on one image, up to the detection."""
    values = initial_parameters(saved_graph(network), SIZE, seed=1)
    internals = detection_graph(network).get_internals()
    graph = mx.sym.Group([internals["cls_prob_output"], internals["multibox_loc_pred_output"]])
    arguments = {name: values.arguments[name] for name in graph.list_arguments() if name != "data"}
    arguments["data"] = mx.nd.random.uniform(0, 255, (1, 3, SIZE, SIZE))
    bound = graph.bind(mx.cpu(), arguments, grad_req="null", aux_states=values.states)
    return lambda: [output.asnumpy() for output in bound.forward(is_train=False)]


def milliseconds(work: Callable[[], object], rounds: int) -> float:
    """Return the median of the processor's time, which other programs change less than the clock's."""
    work()
    seconds = []
    for _ in range(rounds):
        begin = time.process_time()
        work()
        seconds.append(time.process_time() - begin)
    return 1000 * statistics.median(seconds)


def main() -> None:
    """Measure both networks, with 3 and with 80 classes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    print("| network | classes | network, ms | scores | detections of | rows | MXNet, ms | onnxruntime, ms |")
    print("|---|---|---|---|---|---|---|---|")
    for base_network in ("vgg-16", "resnet-50"):
        for classes in (3, 80):
            network = Network(base_network, SIZE, classes)
            anchors = anchor_boxes(network)
            before = milliseconds(mxnet_predictions(network), max(3, rounds // 4))
            offsets = np.random.RandomState(1).normal(0, 0.5, (1, 4 * len(anchors))).astype(np.float32)
            for trained in (True, False):
                scores = drawn_scores(classes, len(anchors), trained=trained)
                for kind, all_classes in KINDS.items():
                    sides = [
                        detection(network, anchors, scores, offsets, all_classes=all_classes)
                        for detection in (mxnet_detection, onnx_detection)
                    ]
                    times = " | ".join(f"{milliseconds(side, rounds):.1f}" for side in sides)
                    print(
                        f"| {base_network} | {classes} | {before:.0f} | {'trained' if trained else 'untrained'} "
                        f"| {kind} | {len(sides[0]())} | {times} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
