"""Epoch speed and peak memory beside plain mx.mod.Module on the original graph.

`python tests/benchmarks/epoch_speed.py [--networks resnet-50] [--batches 6] [--rounds 3]` runs the two in turn, each in
a process of its own, on the same drawn images with as many threads, and prints images per second, the ratio of each
round, and the peak memory. Module reads with ImageDetRecordIter and the same augmentation, and computes the logged
losses from its outputs, as mxnet-ssd does.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from turns import surroundings

sys.path.insert(0, str(Path(__file__).parent.parent))

SIZE = 300
CLASSES = 3


def draw(path: Path, images: int, width: int = 640, height: int = 480) -> None:
    """Write images of soft blots, which are as large as photos when compressed, with two boxes each."""
    import cv2
    import mxnet as mx

    random = np.random.RandomState(0)
    writer = mx.recordio.MXRecordIO(str(path), "w")
    for number in range(images):
        label = [2, 5, number % CLASSES, 0.1, 0.2, 0.5, 0.6, (number + 1) % CLASSES, 0.4, 0.3, 0.9, 0.8]
        pixels = cv2.resize(random.randint(0, 255, (60, 80, 3), dtype=np.uint8), (width, height))
        writer.write(mx.recordio.pack_img(mx.recordio.IRHeader(0, label, number, 0), pixels, quality=80))
    writer.close()


def ours(record: Path, base_network: str, batch_size: int, scratch: Path) -> float:
    """Train an epoch with this project's engine; return its seconds after a first one that warms up."""
    import mxnet as mx

    from sagemaker_ssd.batches.reader import LoaderOptions, TrainingLoader, padded_labels
    from sagemaker_ssd.batches.shares import epoch_order
    from sagemaker_ssd.channels.check import check_recordio
    from sagemaker_ssd.channels.findings import CheckOptions
    from sagemaker_ssd.cores import usable_cores
    from sagemaker_ssd.ssd.graphs import saved_graph, training_graph
    from sagemaker_ssd.ssd.initial_values import initial_parameters
    from sagemaker_ssd.ssd.network import Network
    from sagemaker_ssd.training.loop import train_epoch
    from sagemaker_ssd.training.optimizer import OptimizerSettings
    from sagemaker_ssd.training.trainer import Trainer

    network = Network(base_network, SIZE, CLASSES)
    options = CheckOptions(name="train", num_classes=CLASSES, scratch=scratch, max_bad_images=0, label_width=350)
    file = check_recordio(record, options)
    trainer = Trainer(
        training_graph(network, empty_images=False),
        [mx.cpu()],
        OptimizerSettings("sgd", 1e-4, 0.9, 5e-4),
        batch_size=batch_size,
        image_shape=SIZE,
        max_objects=file.max_objects,
        frozen=(),
    )
    starting = initial_parameters(saved_graph(network), SIZE, seed=0)
    trainer.load(starting.arguments, starting.states)
    loader = TrainingLoader(
        file,
        LoaderOptions(batch_size, SIZE, network.mean, threads=usable_cores()),
        seed=0,
        order=lambda epoch: epoch_order(file.images, seed=0, epoch=epoch),
        epochs=range(2),
    )
    for epoch in range(2):
        start = time.monotonic()
        labelled = ((batch.data, padded_labels(batch.labels, file.max_objects)) for batch in loader.batches(epoch))
        train_epoch(trainer, labelled, epoch=epoch, rate=lambda batch: 1e-4, observe=lambda progress: None)
        mx.nd.waitall()
    return time.monotonic() - start


def module(record: Path, base_network: str, batch_size: int, scratch: Path) -> float:
    """Train an epoch with mx.mod.Module on the saved graph, otherwise as `ours`."""
    import mxnet as mx

    from batches.augmentation_draws import EVERYTHING
    from sagemaker_ssd.ssd.graphs import saved_graph
    from sagemaker_ssd.ssd.initial_values import initial_parameters
    from sagemaker_ssd.ssd.network import Network

    network = Network(base_network, SIZE, CLASSES)
    graph = saved_graph(network)
    mean = dict(zip(("mean_r", "mean_g", "mean_b"), network.mean, strict=True))
    reader = mx.io.ImageDetRecordIter(
        path_imgrec=str(record),
        data_shape=(3, SIZE, SIZE),
        batch_size=batch_size,
        label_pad_width=12,
        shuffle=True,
        preprocess_threads=1,
        **mean,
        **EVERYTHING,
    )
    training = mx.mod.Module(graph, data_names=["data"], label_names=["label"])
    training.bind([("data", (batch_size, 3, SIZE, SIZE))], [("label", (batch_size, 2, 5))])
    starting = initial_parameters(graph, SIZE, seed=0)
    training.set_params(starting.arguments, starting.states)
    training.init_optimizer(
        optimizer="sgd",
        optimizer_params={"learning_rate": 1e-4, "momentum": 0.9, "wd": 5e-4, "rescale_grad": 1.0},
    )
    for _ in range(2):
        reader.reset()
        start = time.monotonic()
        for batch in reader:
            label = batch.label[0][:, 6:].reshape((batch_size, -1, 5))
            training.forward_backward(mx.io.DataBatch(batch.data, [label]))
            training.update()
            probabilities, location_losses, class_ids = (out.asnumpy() for out in training.get_outputs()[:3])
            image, anchor = np.nonzero(class_ids >= 0)
            -np.log(probabilities[image, class_ids[image, anchor].astype(int), anchor] + 1e-8).sum()
            location_losses.sum()
        mx.nd.waitall()
    return time.monotonic() - start


def measure(variant: str, record: Path, base_network: str, batch_size: int, images: int) -> tuple[float, float]:
    """Run a variant in its own process; return images per second and peak memory in MB."""
    command = [sys.executable, __file__, "--variant", variant, str(record), base_network, str(batch_size)]
    environment = surroundings(worker=variant == "ours")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=1800)
    figures = json.loads(done.stdout.splitlines()[-1])
    return images / figures["seconds"], figures["megabytes"]


def main() -> None:
    """Compare the two on each network in turn and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    # Of vgg-16's epochs even less is reading, and it takes a quarter of an hour and more.
    parser.add_argument("--networks", nargs="+", choices=["resnet-50", "vgg-16"], default=["resnet-50"])
    parser.add_argument("--batches", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--variant", nargs=4, metavar=("NAME", "REC", "NETWORK", "BATCH"), help="one run, used inside")
    options = parser.parse_args()
    if options.variant:
        name, record, base_network, batch_size = options.variant
        with tempfile.TemporaryDirectory() as scratch:
            run = {"ours": ours, "module": module}[name]
            seconds = run(Path(record), base_network, int(batch_size), Path(scratch))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "megabytes": peak}))
        return
    images = options.batches * options.batch_size
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "drawn.rec"
        draw(record, images)
        for base_network in options.networks:
            ratios = []
            for number in range(options.rounds):
                speed, memory = measure("ours", record, base_network, options.batch_size, images)
                their_speed, their_memory = measure("module", record, base_network, options.batch_size, images)
                ratios.append(speed / their_speed)
                print(
                    f"{base_network} round {number}: ours {speed:.2f} images/s, {memory:.0f} MB; "
                    f"Module {their_speed:.2f} images/s, {their_memory:.0f} MB; ratio {ratios[-1]:.2f}",
                    flush=True,
                )
            print(f"{base_network}: median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
