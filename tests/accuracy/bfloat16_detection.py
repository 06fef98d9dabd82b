"""What detection in bfloat16 costs in mAP: a model's figures on a channel in both number formats.

`python tests/accuracy/bfloat16_detection.py MODEL CHANNEL.rec [--image-shape 300]`. Where MXNet has no kernels for
bfloat16 (a CPU without AVX512) its arithmetic is imitated in float32: everything that the kernels read and write is
rounded to bfloat16, and sums are float32's, as theirs are.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from sagemaker_ssd import amx

if __name__ == "__main__":
    # Before MXNet is imported.
    amx.use_for_bfloat16()

import mxnet as mx
from accuracy_sides import scored

from sagemaker_ssd.batches.reader import LoaderOptions, evaluation_batches
from sagemaker_ssd.channels.check import check_recordio
from sagemaker_ssd.channels.findings import CheckOptions
from sagemaker_ssd.cores import usable_cores
from sagemaker_ssd.scoring.detector import Detector
from sagemaker_ssd.scoring.saved_model import LoadedModel, load_model
from sagemaker_ssd.ssd.bfloat16 import predictions_in_bfloat16
from sagemaker_ssd.ssd.detect import detection_probabilities, detections
from sagemaker_ssd.ssd.network import Network
from sagemaker_ssd.ssd.number_formats import can_compute_bfloat16

BATCH = 8


def imitated(network: Network) -> mx.sym.Symbol:
    """Return the graph that detects in bfloat16, over float32 arrays that are rounded where it would round them."""
    predictions = predictions_in_bfloat16(network.predictions(), network)
    found = detections(predictions, detection_probabilities(predictions), network.nms)
    return rounded(mx.sym.Group([found, mx.sym.sum(predictions.locations)]))


def rounded(graph: mx.sym.Symbol) -> mx.sym.Symbol:
    """Return a graph in which everything that was bfloat16 is float32, rounded to bfloat16 after every operator."""
    described = json.loads(graph.tojson(remove_amp_cast=False))
    nodes: list[dict[str, Any]] = []
    # By an old node's number, its new one, and whether it is bfloat16.
    number_of: list[int] = []
    is_bfloat16: list[bool] = []
    for node in described["nodes"]:
        sources = [source for source, *_ in node["inputs"]]
        attributes = node.get("attrs", {})
        cast = attributes.get("dtype") if node["op"] == "amp_cast" else None
        low = cast == "bfloat16" if cast else bool(sources) and is_bfloat16[sources[0]]
        inputs = [[number_of[source], *rest] for source, *rest in node["inputs"]]
        nodes.append({**node, "inputs": inputs, "attrs": {**attributes, **({"dtype": "float32"} if cast else {})}})
        if low:
            value, product, rest = ([len(nodes) + offset, 0, 0] for offset in (-1, 0, 1))
            # c x - (c x - x) has the upper 8 bits of x with this c (Dekker 1971), as bfloat16 has. MXNet's own cast to
            # bfloat16 on a CPU takes longer than the convolutions.
            nodes += [
                {"op": "_mul_scalar", "name": f"{node['name']}_c", "attrs": {"scalar": "65537"}, "inputs": [value]},
                {"op": "elemwise_sub", "name": f"{node['name']}_d", "inputs": [product, value]},
                {"op": "elemwise_sub", "name": f"{node['name']}_e", "inputs": [product, rest]},
            ]
        number_of.append(len(nodes) - 1)
        is_bfloat16.append(low)
    heads = [[number_of[source], *rest] for source, *rest in described["heads"]]
    arguments = [number for number, node in enumerate(nodes) if node["op"] == "null"]
    return mx.sym.load_json(
        json.dumps({"nodes": nodes, "heads": heads, "arg_nodes": arguments, "attrs": described.get("attrs", {})})
    )


def detector(model: LoadedModel) -> Detector:
    """Return what detects in bfloat16, or as it would."""
    if can_compute_bfloat16():
        return model.detector(BATCH)
    return Detector(imitated(model.network), [model.weights], batch_size=BATCH, image_shape=model.network.image_shape)


def main() -> None:
    """Print both formats' figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("channel", type=Path)
    parser.add_argument("--image-shape", type=int)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        native = "bfloat16" if can_compute_bfloat16() else "float32"
        models = [
            load_model(options.model, scratch, options.image_shape, precision_dtype=of) for of in ("float32", native)
        ]
        network = models[0].network
        file = check_recordio(
            options.channel,
            CheckOptions(
                name=options.channel.stem,
                num_classes=network.num_classes,
                scratch=scratch,
                max_bad_images=0.05,
                label_width=350,
            ),
        )
        loading = LoaderOptions(BATCH, network.image_shape, network.mean, usable_cores())
        print(f"| {file.images} images | VOC07 | COCO AP |")
        print("|---|---|---|")
        for name, detecting in (("float32", models[0].detector(BATCH)), ("bfloat16", detector(models[1]))):
            pairs = (
                pair
                for batch in evaluation_batches(file, loading)
                for pair in zip(detecting.detect(batch.data), batch.labels, strict=True)
            )
            figures = scored(pairs, network.num_classes)
            print(f"| {name} | {figures['voc07']:.4f} | {figures['coco']:.4f} |", flush=True)


if __name__ == "__main__":
    main()
