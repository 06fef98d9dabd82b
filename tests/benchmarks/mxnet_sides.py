"""MXNet's sides of the benchmarks: this project's engine, plain mx.mod.Module on the saved graph, GluonCV's SSD."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sagemaker_ssd import amx

if any("bfloat16" in argument for argument in sys.argv):
    # As the program does; before MXNet is imported.
    amx.use_for_bfloat16()

import mxnet as mx
import numpy as np
from training_step import LOOP

from sagemaker_ssd.scoring.detector import Detector, Weights
from sagemaker_ssd.ssd.bfloat16 import weights_in_bfloat16
from sagemaker_ssd.ssd.graphs import detection_graph, saved_graph, training_graph
from sagemaker_ssd.ssd.initial_values import initial_parameters
from sagemaker_ssd.ssd.network import Network
from sagemaker_ssd.training.loop import train_epoch
from sagemaker_ssd.training.optimizer import OptimizerSettings
from sagemaker_ssd.training.trainer import Trainer
from serving import serve

SGD = OptimizerSettings("sgd", 1e-6, 0.9, 5e-4)


def batch(spec: dict[str, Any]) -> tuple[mx.nd.NDArray, np.ndarray]:
    shape = (spec["batch"], 3, spec["size"], spec["size"])
    data = mx.nd.array(np.random.RandomState(0).uniform(-100, 100, shape))
    return data, np.tile(np.array(spec["label"], np.float32), (spec["batch"], 1, 1))


def network(spec: dict[str, Any]) -> Network:
    return Network(spec["network"], spec["size"], spec["classes"])


def our_trainer(spec: dict[str, Any], precision: str) -> Trainer:
    trainer = Trainer(
        training_graph(network(spec), empty_images=False, precision_dtype=precision),
        [mx.cpu()],
        SGD,
        batch_size=spec["batch"],
        image_shape=spec["size"],
        max_objects=len(spec["label"]),
        frozen=(),
    )
    start = initial_parameters(saved_graph(network(spec)), spec["size"], seed=0)
    trainer.load(start.arguments, start.states)
    return trainer


def ours(spec: dict[str, Any], precision: str = "float32") -> Callable[[], object]:
    trainer = our_trainer(spec, precision)
    data, labels = batch(spec)

    def step() -> None:
        trainer.step(data, labels, 1e-6).read()
        mx.nd.waitall()

    return step


def looped(spec: dict[str, Any], *, read: bool) -> Callable[[], object]:
    """Four steps as an epoch makes them, each one's losses read while the next is computed; or never read."""
    trainer = our_trainer(spec, "float32")
    batches = [batch(spec)] * LOOP

    def epoch() -> None:
        if read:
            train_epoch(trainer, batches, epoch=0, rate=lambda number: 1e-6, observe=lambda progress: None)
        else:
            for data, labels in batches:
                trainer.step(data, labels, 1e-6)
        mx.nd.waitall()

    return epoch


def module(spec: dict[str, Any]) -> Callable[[], object]:
    """Module as mxnet-ssd drives it: all four heads computed, the losses made from the outputs in numpy."""
    graph = saved_graph(network(spec))
    data, labels = batch(spec)
    training = mx.mod.Module(graph, data_names=["data"], label_names=["label"])
    training.bind([("data", data.shape)], [("label", labels.shape)])
    start = initial_parameters(graph, spec["size"], seed=0)
    training.set_params(start.arguments, start.states)
    training.init_optimizer(optimizer="sgd", optimizer_params={**SGD.mxnet_arguments(), "rescale_grad": 1.0})
    together = mx.io.DataBatch([data], [mx.nd.array(labels)])

    def step() -> None:
        training.forward_backward(together)
        training.update()
        probabilities, location_losses, class_ids = (output.asnumpy() for output in training.get_outputs()[:3])
        image, anchor = np.nonzero(class_ids >= 0)
        -np.log(probabilities[image, class_ids[image, anchor].astype(int), anchor] + 1e-8).sum()
        location_losses.sum()
        mx.nd.waitall()

    return step


def gluoncv(spec: dict[str, Any]) -> Callable[[], object]:
    """GluonCV's vgg-16 at 300 as its train_ssd.py trains it, but targets are made in the step, as ours are."""
    from gluoncv.loss import SSDMultiBoxLoss
    from gluoncv.model_zoo import get_model
    from gluoncv.model_zoo.ssd.target import SSDTargetGenerator

    net = get_model("ssd_300_vgg16_atrous_custom", classes=["a", "b", "c"], pretrained_base=False)
    net.initialize()
    net.hybridize(static_alloc=True, static_shape=True)
    data, labels = batch(spec)
    boxes = mx.nd.array(labels[:, :, 1:] * spec["size"])
    class_ids = mx.nd.array(labels[:, :, :1])
    with mx.autograd.train_mode():
        _, _, anchors = net(data[:1])
    generator = SSDTargetGenerator(negative_mining_ratio=-1)
    loss_of = SSDMultiBoxLoss()
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", SGD.mxnet_arguments())

    def step() -> None:
        classes, locations, _ = generator(anchors, None, boxes, class_ids)
        with mx.autograd.record():
            class_predictions, box_predictions, _ = net(data)
            sums, _, _ = loss_of(class_predictions, box_predictions, classes, locations)
            mx.autograd.backward(sums)
        trainer.step(1)
        sums[0].sum().asscalar()
        mx.nd.waitall()

    return step


def ours_detecting(spec: dict[str, Any], precision: str = "float32") -> Callable[[], object]:
    """Detection with decoding and non-maximum suppression, which PyTorch's side leaves out."""
    start = initial_parameters(saved_graph(network(spec)), spec["size"], seed=0)
    arguments = weights_in_bfloat16(start.arguments) if precision == "bfloat16" else start.arguments
    detector = Detector(
        detection_graph(network(spec), precision),
        [Weights(mx.cpu(), arguments, start.states)],
        batch_size=spec["batch"],
        image_shape=spec["size"],
    )
    data, _ = batch(spec)
    return lambda: detector.detect(data)


SIDES: dict[str, Callable[[dict[str, Any]], Callable[[], object]]] = {
    "ours": ours,
    "ours-bfloat16": lambda spec: ours(spec, "bfloat16"),
    "reading losses": lambda spec: looped(spec, read=True),
    "leaving losses unread": lambda spec: looped(spec, read=False),
    "module": module,
    "gluoncv": gluoncv,
    "ours-detecting": ours_detecting,
    "ours-detecting-bfloat16": lambda spec: ours_detecting(spec, "bfloat16"),
}


def main() -> None:
    """Serve one side's work."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("spec", type=Path, help="JSON: network, size, classes, batch, label")
    options = parser.parse_args()
    spec = json.loads(options.spec.read_text())
    shapes, _, _ = saved_graph(network(spec)).infer_shape(data=(1, 3, spec["size"], spec["size"]), label=(1, 1, 5))
    names = saved_graph(network(spec)).list_arguments()
    count = sum(int(np.prod(shape)) for name, shape in zip(names, shapes, strict=True) if name not in ("data", "label"))
    # GluonCV's heads are its own.
    serve(SIDES[options.side](spec), {} if options.side == "gluoncv" else {"parameters": count}, warm=2)


if __name__ == "__main__":
    main()
