"""A side of the comparison of accuracy: trains on converted channels, and is scored after every epoch.

Every side starts from the installed ImageNet convolutions, sees the same images in batches of the same size, leaves
the same layers alone, and is scored by one metric.
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sagemaker_ssd import amx

if any("bfloat16" in argument for argument in sys.argv):
    # As the program does; before MXNet is imported.
    amx.use_for_bfloat16()

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.artifacts.params_file import arguments_and_states, read_parameter_file
from sagemaker_ssd.batches.reader import LoaderOptions, TrainingLoader, evaluation_batches, padded_labels
from sagemaker_ssd.batches.shares import epoch_order
from sagemaker_ssd.channels.check import check_recordio
from sagemaker_ssd.channels.findings import CheckOptions
from sagemaker_ssd.channels.images import decode
from sagemaker_ssd.channels.record_file import RecordFile
from sagemaker_ssd.channels.recordio import objects_with_area, read_payload, read_records, split_label, split_payload
from sagemaker_ssd.collectives import ProcessGroup, SupervisorSocket
from sagemaker_ssd.contract.job import read_job
from sagemaker_ssd.contract.weights import required_weights
from sagemaker_ssd.cores import usable_cores
from sagemaker_ssd.errors import JobError, UserError
from sagemaker_ssd.processes.child_end import end_with_supervisor
from sagemaker_ssd.scoring.average_precision import AveragePrecision
from sagemaker_ssd.scoring.detector import Detector, Weights
from sagemaker_ssd.ssd.bfloat16 import predictions_in_bfloat16, weights_in_bfloat16
from sagemaker_ssd.ssd.detect import detections_of_all_classes
from sagemaker_ssd.ssd.graphs import detection_graph, saved_graph
from sagemaker_ssd.ssd.heads import Predictions
from sagemaker_ssd.ssd.network import Network
from sagemaker_ssd.ssd.number_formats import can_compute_bfloat16
from sagemaker_ssd.training.state import not_finite
from sagemaker_ssd.worker.epochs import EpochRunner
from sagemaker_ssd.worker.initial_weights import initial_weights
from sagemaker_ssd.worker.inputs import agree_on_shares, check_channels

OVERLAP = 0.5
# GluonCV's metric adds 1 to xmax and ymax.
PIXELS = 10_000
IMAGE_SHAPE = 300
# An image's detections (D, 6), class_id, score and box in fractions, and its objects (n, 5 or 6).
Scored = Iterator[tuple[NDArray[Any], NDArray[Any]]]
# After every epoch the sides that have been trained, and what detects with them, in float32 unless told otherwise.
Epochs = Iterator[tuple[Sequence[str], Callable[..., Scored]]]


@dataclass(frozen=True)
class Run:
    """What all sides have in common: channels in RecordIO, classes, epochs, images in a batch, frozen layers.

    precision: what trunk and heads are trained in, "float32" or "bfloat16"; GluonCV's side has float32 alone.
    shown: the epochs, counted from 1, after which the detections of all classes are scored too.
    """

    train: Path
    validation: Path
    classes: int
    epochs: int
    batch: int
    seed: int
    freeze: str
    precision: str
    shown: Sequence[int] = ()

    @property
    def network(self) -> Network:
        """The network, without settings of a job."""
        return Network("vgg-16", IMAGE_SHAPE, self.classes)

    def channel(self, name: str, scratch: Path) -> RecordFile:
        """Check a channel."""
        path = self.train if name == "train" else self.validation
        options = CheckOptions(
            name=name, num_classes=self.classes, scratch=scratch, max_bad_images=0.01, label_width=350
        )
        return check_recordio(path, options)

    def loading(self) -> LoaderOptions:
        """Return how this program makes batches."""
        return LoaderOptions(self.batch, IMAGE_SHAPE, self.network.mean, usable_cores())


@dataclass(frozen=True)
class NetworkInBfloat16(Network):
    """A network whose graphs compute trunk and heads in bfloat16; its parameters are the same, in float32.

    trained: the names of the arguments whose gradients are wanted.
    """

    trained: frozenset[str] = frozenset()

    def predictions(self, *, frozen_batch_norms: Collection[str] = (), folded_scale: bool = False) -> Predictions:
        """Build trunk and heads as a job does with `precision_dtype` bfloat16."""
        in_float32 = super().predictions(frozen_batch_norms=frozen_batch_norms, folded_scale=folded_scale)
        return predictions_in_bfloat16(in_float32, self, trained=self.trained)


def read_to_the_end(supervisor: socket.socket) -> None:
    """Read whatever a worker sends, until one of the ends is closed."""
    with contextlib.suppress(OSError):
        while supervisor.recv(1 << 16):
            pass


@contextmanager
def runner_of_a_job(run: Run, scratch: Path, changed: dict[str, str], *, first_epoch: int) -> Iterator[EpochRunner]:
    """Start as a job's worker does, with the defaults but for what the run fixes and `changed`."""
    values = {
        "num_classes": str(run.classes),
        "num_training_samples": str(sum(1 for _ in read_records(run.train, run.train.name))),
        "base_network": "vgg-16",
        "use_pretrained_model": "1",
        "epochs": str(run.epochs),
        "mini_batch_size": str(run.batch),
        "freeze_layer_pattern": run.freeze,
        "seed": str(run.seed),
        "precision_dtype": run.precision,
        **changed,
    }
    root = scratch / f"opt_ml-{first_epoch}"
    config = root / "input" / "config"
    config.mkdir(parents=True)
    channel = {"ContentType": "application/x-recordio", "TrainingInputMode": "File"}
    files = {
        "hyperparameters": {name: value for name, value in values.items() if value},
        "inputdataconfig": {"train": channel, "validation": channel},
        "resourceconfig": {"current_host": "localhost", "hosts": ["localhost"], "network_interface_name": "lo"},
    }
    for name, content in files.items():
        (config / f"{name}.json").write_text(json.dumps(content))
    for name, path in (("train", run.train), ("validation", run.validation)):
        (root / "input" / "data" / name).mkdir(parents=True)
        shutil.copy(path, root / "input" / "data" / name)
    job = read_job(root)
    supervisor, worker = socket.socketpair()
    with supervisor:
        # The worker tells its supervisor of every batch, and would wait for one who does not read.
        threading.Thread(target=read_to_the_end, args=(supervisor,), daemon=True).start()
        group = ProcessGroup(SupervisorSocket(worker.detach()), job.cluster.hosts, job.cluster.current_host, 60)
        start = initial_weights(job, saved_graph(run.network), scratch)
        channels = check_channels(job, scratch, group)
        shares, _ = agree_on_shares(job, channels.train, group)
        runner = EpochRunner(
            job, run.network, channels, shares, [mx.cpu()], group, first_epoch=first_epoch, start=start.start
        )
        if runner.precision_dtype != run.precision:
            raise SystemExit(f"{run.precision} is no faster on this machine: run the comparison in float32")
        runner.load(start.parameters)
        yield runner


def ours(run: Run, scratch: Path, sides: Sequence[str]) -> Epochs:
    """Train this program at its defaults, and as docs/hyperparameters.md recommends it for so short a training.

    The recommendation is a lower rate for the last quarter: until then both are one training.
    """
    lower = max(1, run.epochs * 3 // 4)
    recommended = {"lr_scheduler_step": str(lower)}
    defaults = "ours" in sides
    with runner_of_a_job(run, scratch, {} if defaults else recommended, first_epoch=0) as runner:
        for epoch in range(run.epochs):
            runner.train(epoch, progress_bar=False, each_batch=lambda: None)
            if epoch + 1 == lower:
                state = runner.trainer.state().copied(optimizer=True)
            both = epoch < lower or not defaults
            yield sides if both else ("ours",), evaluation_of(run, scratch, runner, epoch)
    # Its memory is the next one's.
    del runner
    if len(sides) > 1:
        with runner_of_a_job(run, scratch, recommended, first_epoch=lower) as runner:
            runner.trainer.restore(state)
            for epoch in range(lower, run.epochs):
                runner.train(epoch, progress_bar=False, each_batch=lambda: None)
                yield ("ours-recommended",), evaluation_of(run, scratch, runner, epoch)


def evaluation_of(run: Run, scratch: Path, runner: EpochRunner, epoch: int) -> Callable[..., Scored]:
    """Return what detects with a job's network as it is after an epoch."""
    arguments, states = runner.trainer.parameters()
    check_finite(epoch, arguments, states)
    return partial(detected, run, scratch, arguments, states)


def original(run: Run, scratch: Path, sides: Sequence[str]) -> Epochs:
    """Train the saved graph through mx.mod.Module with mxnet-ssd's initialisation, optimizer and augmentation.

    The augmentation's distributions are those of MXNet's ImageDetRecordIter; as there, the last batch is filled up.
    """
    rate = float(sides[0].removeprefix("original-"))
    mx.random.seed(run.seed)
    train = run.channel("train", scratch)
    network, frozen = run.network, run.network.freeze(run.freeze or None).arguments
    if run.precision == "bfloat16":
        trained = network.arguments() - frozen
        network = NetworkInBfloat16(network.base_network, network.image_shape, network.num_classes, trained=trained)
    graph = saved_graph(network)
    internals = graph.get_internals()
    for name in graph.list_arguments():
        # Parameters that are cast have no type that MXNet could tell; 0 is its number of float32.
        internals[name]._set_attr(__dtype__="0")
    module = mx.mod.Module(
        graph, data_names=["data"], label_names=["label"], fixed_param_names=sorted(frozen) if frozen else None
    )
    module.bind([("data", (run.batch, 3, IMAGE_SHAPE, IMAGE_SHAPE))], [("label", (run.batch, train.max_objects, 5))])
    weights = required_weights("vgg-16").parameters
    given, _ = arguments_and_states(read_parameter_file(weights, str(weights)))
    convolutions = {name: value for name, value in given.items() if name.startswith("conv")}
    module.init_params(mx.init.Xavier(), arg_params=convolutions, allow_missing=True)
    settings = {"learning_rate": rate, "momentum": 0.9, "wd": 0.0005, "rescale_grad": 1.0}
    module.init_optimizer(optimizer="sgd", optimizer_params=settings)

    def order(epoch: int) -> NDArray[np.int64]:
        images = epoch_order(train.images, seed=run.seed, epoch=epoch)
        return np.resize(images, -(-len(images) // run.batch) * run.batch)

    loader = TrainingLoader(train, run.loading(), seed=run.seed, order=order, epochs=range(run.epochs))
    for epoch in range(run.epochs):
        for batch in loader.batches(epoch):
            labels = mx.nd.array(padded_labels(batch.labels, train.max_objects))
            module.forward_backward(mx.io.DataBatch([batch.data], [labels]))
            module.update()
        arguments, states = module.get_params()
        check_finite(epoch, arguments, states)
        yield sides, partial(detected, run, scratch, arguments, states)


def gluoncv(run: Run, scratch: Path, sides: Sequence[str]) -> Epochs:
    """Train GluonCV's SSD as its train_ssd.py does: its transform, targets, loss, and optimizer."""
    import gluoncv
    from gluoncv.data.batchify import Stack, Tuple
    from gluoncv.data.transforms.presets.ssd import SSDDefaultTrainTransform
    from gluoncv.loss import SSDMultiBoxLoss

    gluoncv.utils.random.seed(run.seed)
    names = [str(number) for number in range(run.classes)]
    net = gluoncv.model_zoo.get_model("ssd_300_vgg16_atrous_custom", classes=names, pretrained_base=False)
    net.initialize()
    _, _, anchors = raw_predictions(net, mx.nd.zeros((1, 3, IMAGE_SHAPE, IMAGE_SHAPE)))
    weights = required_weights("vgg-16").parameters
    given, _ = arguments_and_states(read_parameter_file(weights, str(weights)))
    for name, parameter in parameters_of_gluoncv(net).items():
        if name.startswith("conv"):
            parameter.set_data(given[name])
    freeze_in_gluoncv(run, net)
    pictures = Pictures(run.channel("train", scratch))
    if len(pictures) < run.batch:
        raise UserError(
            f"GluonCV's side trains on whole batches of images with objects: it needs {run.batch}, and there are "
            f"{len(pictures)}; choose a smaller --batch, or leave out this side with --sides"
        )
    transform = SSDDefaultTrainTransform(IMAGE_SHAPE, IMAGE_SHAPE, anchors)
    data = pictures.transform(transform)
    loader = mx.gluon.data.DataLoader(
        data, run.batch, shuffle=True, batchify_fn=Tuple(Stack(), Stack(), Stack()), last_batch="rollover"
    )
    # train_ssd.py's rate is meant for batches of 32.
    settings = {"learning_rate": 0.001 * run.batch / 32, "momentum": 0.9, "wd": 0.0005}
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd", settings)
    loss_of = SSDMultiBoxLoss()
    for epoch in range(run.epochs):
        # As train_ssd.py does before every epoch: an evaluation leaves the network in its form for detecting.
        net.hybridize(static_alloc=True, static_shape=True)
        for batch in loader:
            # Out of the memory that the loader's processes would share.
            pixels, classes, boxes = (part.as_in_context(mx.cpu()) for part in batch)
            with mx.autograd.record():
                class_predictions, box_predictions, _ = net(pixels)
                sums, _, _ = loss_of(class_predictions, box_predictions, classes, boxes)
                mx.autograd.backward(sums)
            trainer.step(1)
        check_finite(epoch, {name: parameter.data() for name, parameter in net.collect_params().items()})
        yield sides, partial(detected_by_gluoncv, run, scratch, net)


def parameters_of_gluoncv(net: Any) -> dict[str, Any]:
    """Return all parameters of GluonCV's SSD by the names that the same ones have in this program's vgg-16."""

    def convolutions(block: Any) -> list[Any]:
        return [layer for layer in block if isinstance(layer, mx.gluon.nn.Conv2D)]

    *groups, dilated = map(convolutions, net.features.stages)
    layers = {
        f"conv{group}_{number}": layer
        for group, its_layers in enumerate(groups, start=1)
        for number, layer in enumerate(its_layers, start=1)
    }
    layers |= zip(("fc6", "fc7"), dilated, strict=True)
    maps = ["relu4_3", "relu7"]
    for number, extra in enumerate(map(convolutions, net.features.extras), start=len(maps)):
        names = [f"multi_feat_{number}_conv_{kernel}" for kernel in ("1x1", "3x3")]
        layers |= zip((f"{name}_conv" for name in names), extra, strict=True)
        maps.append(f"{names[-1]}_relu")
    for kind, heads in (("cls", net.class_predictors), ("loc", net.box_predictors)):
        layers |= {f"{name}_{kind}_pred_conv": head.predictor for name, head in zip(maps, heads, strict=True)}
    parameters = {"relu4_3_scale": net.features.norm4.scale}
    for name, layer in layers.items():
        parameters |= {f"{name}_weight": layer.weight, f"{name}_bias": layer.bias}
    return parameters


def freeze_in_gluoncv(run: Run, net: Any) -> None:
    """Leave alone what the other sides do."""
    frozen = run.network.freeze(run.freeze or None).arguments
    for name, parameter in parameters_of_gluoncv(net).items():
        if name in frozen:
            parameter.grad_req = "null"


def raw_predictions(net: Any, pixels: mx.nd.NDArray) -> tuple[mx.nd.NDArray, mx.nd.NDArray, mx.nd.NDArray]:
    """Return what GluonCV's SSD gives to a loss.

    Scores (B, A, classes + 1), those of the background first; offsets (B, A, 4); anchors (1, A, 4): centre, width and
    height in pixels.
    """
    with mx.autograd.train_mode():
        classes, offsets, anchors = net(pixels)
    return classes, offsets, anchors


def check_finite(epoch: int, *parameters: Mapping[str, mx.nd.NDArray]) -> None:
    """Raise FloatingPointError where a parameter is not a finite number after an epoch."""
    if not_finite(*parameters):
        raise FloatingPointError(f"training diverged: parameters are not finite numbers after epoch {epoch}")


class Pictures(mx.gluon.data.Dataset):
    """A channel's images, (H, W, 3) RGB, with objects as GluonCV has them: box in pixels, class_id.

    It takes no image without objects: its targets need one.
    """

    def __init__(self, file: RecordFile) -> None:
        spans = zip(file.offsets[:-1].tolist(), file.offsets[1:].tolist(), strict=True)
        self._file = file
        self._spans = [span for span in spans if len(self._read(*span)[1])]

    def _read(self, begin: int, end: int) -> tuple[bytes, NDArray[np.float32]]:
        payload = split_payload(read_payload(self._file.path, begin, end))
        return payload.image, objects_with_area(split_label(payload.label))

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, number: int) -> tuple[mx.nd.NDArray, NDArray[np.float32]]:
        image, objects = self._read(*self._spans[number])
        pixels = decode(image)
        height, width = pixels.shape[:2]
        boxes = objects[:, 1:5] * (width, height, width, height)
        labels = np.concatenate([boxes, objects[:, :1]], axis=1).astype(np.float32)
        return mx.nd.array(pixels[:, :, ::-1].copy(), dtype=np.uint8), labels


def detected(
    run: Run,
    scratch: Path,
    arguments: dict[str, Any],
    states: dict[str, Any],
    precision_dtype: str = "float32",
    *,
    all_classes: bool = False,
) -> Scored:
    """Detect with this program's graph, whose parameters the original has too."""
    file = run.channel("validation", scratch)
    batch = min(run.batch, file.images)
    if precision_dtype == "bfloat16":
        arguments = weights_in_bfloat16(arguments)
    weights = Weights(mx.cpu(), arguments, states)
    graph = detection_graph(run.network, precision_dtype, all_classes=all_classes)
    detector = Detector(graph, [weights], batch_size=batch, image_shape=IMAGE_SHAPE)
    for images in evaluation_batches(file, run.loading()):
        yield from zip(detector.detect(images.data), images.labels, strict=True)
    if not detector.finite:
        raise FloatingPointError("training diverged: the network's predictions are not finite numbers")


def detected_by_gluoncv(run: Run, scratch: Path, net: Any, *, all_classes: bool = False) -> Scored:
    """Detect with GluonCV's network, with this program's threshold and number of detections.

    all_classes: by the rule of the other sides' detections of all classes. GluonCV's own, which has all classes too,
    looks at the best of all of them together, so that those of a class with low scores may not be among them.
    """
    # Also has the network built anew in the form that is called next: for a loss, or for detecting.
    net.set_nms(nms_thresh=run.network.nms.threshold, nms_topk=run.network.nms.topk, post_nms=-1)
    deviation = mx.nd.array(np.array([0.229, 0.224, 0.225]).reshape((1, 3, 1, 1)) * 255)
    mean = np.array([0.485, 0.456, 0.406]) * 255 - np.array(run.network.mean)
    shift = mx.nd.array(mean.reshape((1, 3, 1, 1)))
    for images in evaluation_batches(run.channel("validation", scratch), run.loading()):
        pixels = (images.data - shift) / deviation
        if all_classes:
            found = of_all_classes(run, *raw_predictions(net, pixels))
        else:
            ids, scores, boxes = net(pixels)
            # Within the image, as its own evaluation has them.
            found = mx.nd.concat(ids, scores, boxes.clip(0, IMAGE_SHAPE) / IMAGE_SHAPE, dim=2)
        yield from zip((rows[rows[:, 0] >= 0] for rows in found.asnumpy()), images.labels, strict=True)


def of_all_classes(run: Run, classes: mx.nd.NDArray, offsets: mx.nd.NDArray, anchors: mx.nd.NDArray) -> mx.nd.NDArray:
    """Return the detections that this program's graph makes of what `raw_predictions` returns, (B, K, 6)."""
    variables = {name: mx.sym.Variable(name) for name in ("probabilities", "locations", "anchors")}
    graph = detections_of_all_classes(
        Predictions(variables["locations"], mx.sym.Variable("unused"), variables["anchors"], ()),
        variables["probabilities"],
        run.network.nms,
        num_classes=run.classes,
        num_anchors=anchors.shape[1],
    )
    centres, sizes = anchors[:, :, :2], anchors[:, :, 2:]
    (found,) = graph.eval(
        ctx=mx.cpu(),
        probabilities=mx.nd.softmax(classes, axis=2).transpose((0, 2, 1)),
        locations=offsets.reshape((0, -1)),
        anchors=mx.nd.concat(centres - sizes / 2, centres + sizes / 2, dim=2) / IMAGE_SHAPE,
    )
    return found


def scored(found: Scored, classes: int) -> dict[str, float]:
    """Return GluonCV's VOC07 on boxes times 10,000, and COCO's AP, which tests compare with pycocotools."""
    from gluoncv.utils.metrics.voc_detection import VOC07MApMetric

    voc = VOC07MApMetric(OVERLAP, class_names=[str(number) for number in range(classes)])
    ours_too = AveragePrecision(classes, OVERLAP)
    for rows, objects in found:
        difficult = objects[:, 5] if objects.shape[1] > 5 else np.zeros(len(objects))
        voc.update(
            [(rows[None, :, 2:6] * PIXELS)],
            [rows[None, :, 0]],
            [rows[None, :, 1]],
            [(objects[None, :, 1:5] * PIXELS)],
            [objects[None, :, 0]],
            [difficult[None]],
        )
        ours_too.add(rows, objects)
    mean = voc.get()[1][-1]
    return {
        "voc07": round(float(np.nan_to_num(mean)), 4),
        "coco": round(ours_too.result().coco, 4),
    }


# Each trains the sides that it is given in one go, the only one or both of this program's.
SIDES: dict[str, Callable[[Run, Path, Sequence[str]], Epochs]] = {
    "ours": ours,
    "ours-recommended": ours,
    "original-0.001": original,
    "original-0.004": original,
    "gluoncv": gluoncv,
}


def measure(results: dict[str, Path], run: Run, facts: dict[str, Any]) -> None:
    """Train sides and write each one's figures after every epoch; results: the sides' files.

    That a training diverges is a result too. Raises UserError where it could not be run.
    """
    epochs: dict[str, list[dict[str, Any]]] = {side: [] for side in results}
    sides = tuple(results)
    with tempfile.TemporaryDirectory() as folder:
        begin, core_begin = time.monotonic(), time.process_time()
        try:
            for trained, evaluation in SIDES[sides[0]](run, Path(folder), sides):
                # The last updates are still being computed.
                mx.nd.waitall()
                seconds, core_seconds = time.monotonic() - begin, time.process_time() - core_begin
                figures: dict[str, Any] = {
                    **scored(evaluation(), run.classes),
                    "train_seconds": round(seconds, 1),
                    "core_seconds": round(core_seconds, 1),
                }
                done = len(epochs[trained[0]]) + 1
                if done in run.shown:
                    figures["all_classes"] = scored(evaluation(all_classes=True), run.classes)
                # What detection in bfloat16 costs, shown on the models that come out.
                if done == run.epochs and trained[0].startswith("ours") and can_compute_bfloat16():
                    figures["bfloat16"] = scored(evaluation("bfloat16"), run.classes)
                for side in trained:
                    epochs[side].append(figures)
                    write(results[side], {**facts, "side": side, "epochs": epochs[side]})
                    print(f"{results[side].stem} epoch {len(epochs[side])}: {figures}", flush=True)
                begin, core_begin = time.monotonic(), time.process_time()
        except (FloatingPointError, UserError) as error:
            if isinstance(error, UserError) and not isinstance(error.__cause__, FloatingPointError):
                raise
            # Of the side that was trained. Another one is run again.
            side = next(side for side in sides if len(epochs[side]) < run.epochs)
            write(results[side], {**facts, "side": side, "epochs": epochs[side], "failure": str(error)})
            print(f"{results[side].stem}: {error}", flush=True)


def write(path: Path, content: dict[str, Any]) -> None:
    """Write JSON whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1) + "\n")
    part.replace(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run sides that are trained together, as bench_accuracy.py asks for it, and no longer than that lives."""
    end_with_supervisor(os.getppid())
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=json.loads, help="JSON: the fields of Run")
    parser.add_argument("results", type=json.loads, help="JSON: by side, the file of its figures")
    parser.add_argument("--facts", type=json.loads, default={})
    options = parser.parse_args(arguments)
    fields = {**options.run, "train": Path(options.run["train"]), "validation": Path(options.run["validation"])}
    run = Run(**fields)
    about = {k: v for k, v in asdict(run).items() if k not in ("train", "validation", "shown")}
    status = 1
    try:
        if run.network.freeze(run.freeze or None).arguments == run.network.arguments():
            raise UserError(f"--freeze {run.freeze!r} matches all parameters: nothing is left to train")
        measure({side: Path(path) for side, path in options.results.items()}, run, {**options.facts, **about})
        status = 0
    except JobError as error:
        print(error.sentence, file=sys.stderr)
    except Exception:
        traceback.print_exc()
    sys.stderr.flush()
    # The engine's threads may wait for one another in an interpreter that ends.
    os._exit(status)


if __name__ == "__main__":
    main()
