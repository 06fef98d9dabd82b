"""What a change of the recipe gives where only fc6, fc7, extra layers and heads learn, on features computed once.

`python tests/accuracy/heads_alone.py CHANNELS --work FOLDER [--recipe NAME ...] [--views 8] [--epochs 8]`, for vgg-16
at 300 pixels; --pretrained FOLDER starts from a detector as that channel does, if its convolutions are the installed
ones. CHANNELS: what `convert --as recordio` wrote. The frozen trunk's features of the views that a training sees in its
first --views epochs are kept in --work, 2 MB a view, and used again in later ones: an epoch of a recipe takes a fifth
of a training's time or less, and is the same training where every epoch has its views. These are the same for all
seeds, which differ in the values of fresh layers and in the order of the images. What has been run is kept there too,
figures and model, and not run again. Prints a table in Markdown.
"""

import argparse
import json
import math
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
from accuracy_sides import Run, scored
from numpy.typing import NDArray

from sagemaker_ssd.artifacts.model_files import named_parameters, save_arrays
from sagemaker_ssd.batches.reader import Batch, TrainingLoader, evaluation_batches
from sagemaker_ssd.batches.shares import epoch_order
from sagemaker_ssd.channels.record_file import RecordFile
from sagemaker_ssd.contract.channels import pretrained_file
from sagemaker_ssd.contract.weights import required_weights
from sagemaker_ssd.files import sha256, write_json
from sagemaker_ssd.ssd import loss
from sagemaker_ssd.ssd.graphs import detection_graph, saved_graph, training_graph
from sagemaker_ssd.ssd.initial_values import Parameters, initial_parameters
from sagemaker_ssd.ssd.network import layer
from sagemaker_ssd.training import schedule
from sagemaker_ssd.training.optimizer import OptimizerSettings, create_optimizer
from sagemaker_ssd.worker.initial_weights import (
    InitialWeights,
    fresh_layers,
    from_installed_weights,
    from_pretrained_channel,
)

# What the layers that learn read of the trunk.
FEATURES = ("relu4_3", "pool5")
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.001, 0.9, 0.0005
FROZEN = "^conv[1-5]_"


@dataclass(frozen=True)
class Recipe:
    """A job's defaults, but for what is given.

    rate, climb: of layers without weights, in rates of the others, and the updates until then. last_batch: whether an
    epoch's last, smaller batch weighs by its images instead of as a whole one. cosine: whether the rate falls to 0 with
    half a cosine. lower: whether it is a tenth in the last quarter of the epochs. momentum_climb: updates until the
    momentum is whole. empty: negatives of an image without objects.
    background: its probability at first in class heads without weights. original: as mxnet-ssd starts, with Xavier's
    values where the ImageNet convolutions have none, and its last batches, which are filled up.
    """

    rate: float = schedule.RATE_OF_FRESH_LAYERS
    climb: int = schedule.UPDATES_TO_THAT_RATE
    last_batch: bool = False
    cosine: bool = False
    lower: bool = False
    warmup_epochs: int = 0
    momentum_climb: int = 0
    empty: int = loss.NEGATIVES_OF_AN_EMPTY_IMAGE
    learning_rate: float = LEARNING_RATE
    background: float | None = None
    original: bool = False


RECIPES = {
    "defaults": Recipe(),
    "one rate": Recipe(rate=1.0),
    "last batch by its images": Recipe(last_batch=True),
    "cosine": Recipe(cosine=True),
    "a tenth in the last quarter": Recipe(lower=True),
    "one epoch of warm-up": Recipe(warmup_epochs=1),
    "momentum climbs in 75 updates": Recipe(momentum_climb=75),
    "10 negatives of an empty image": Recipe(empty=10),
    "3 negatives of an empty image": Recipe(empty=3),
    "background begins at 0.75": Recipe(background=0.75),
    "original recipe, learning rate 0.001": Recipe(rate=1.0, original=True),
    "original recipe, learning rate 0.004": Recipe(rate=1.0, original=True, learning_rate=0.004),
}


def without_trunk(graph: mx.sym.Symbol) -> mx.sym.Symbol:
    """Return a graph that takes the trunk's features in place of the layers before them."""
    described = json.loads(graph.tojson())
    for node in described["nodes"]:
        if node["name"] in FEATURES:
            node.update(op="null", inputs=[])
            node.pop("attrs", None)
    return mx.sym.load_json(json.dumps(described))


def original_start(run: Run, start: InitialWeights, seed: int) -> InitialWeights:
    """Return values of mxnet-ssd's initialisation, but for the convolutions of `start`."""
    mx.random.seed(seed)
    module = mx.mod.Module(saved_graph(run.network), data_names=["data"], label_names=["label"])
    module.bind([("data", (1, 3, 300, 300))], [("label", (1, 1, 5))], for_training=False)
    given = {name: array for name, array in start.parameters.arguments.items() if re.match(FROZEN, name)}
    module.init_params(mx.init.Xavier(), arg_params=given, allow_missing=True)
    return InitialWeights(Parameters(*module.get_params()), start.start)


def set_background(start: InitialWeights, share: float, classes: int) -> None:
    """Have the class heads that start anew begin with this probability of the background, the first of each anchor."""
    for name, array in start.parameters.arguments.items():
        if name.endswith("_cls_pred_conv_bias") and layer(name) in fresh_layers(start.start):
            biases = array.asnumpy().reshape(-1, classes + 1)
            biases[:, 0] = math.log(share / (1 - share) * classes)
            array[:] = biases.reshape(-1)


def write_features(
    folder: Path,
    channel: RecordFile,
    views: int,
    batches: Callable[[int], Iterator[Batch]],
    trunk: mx.executor.Executor,
) -> None:
    """Write the trunk's features (float16) and the labels (float32) of a channel's views, by view and image."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {"relu4_3": (512, 38, 38), "pool5": (512, 19, 19), "labels": (channel.max_objects, 6)}
    arrays = {
        name: np.lib.format.open_memmap(
            folder / f"{name}.npy",
            mode="w+",
            dtype=np.float32 if name == "labels" else np.float16,
            shape=(views, channel.images, *shape),
        )
        for name, shape in shapes.items()
    }
    for view in range(views):
        begin = 0
        for batch in batches(view):
            end = begin + len(batch.labels)
            trunk.arg_dict["data"][: end - begin] = batch.data
            for name, values in zip(FEATURES, trunk.forward(is_train=False), strict=True):
                arrays[name][view, begin:end] = values[: end - begin].asnumpy()
            labels = arrays["labels"][view, begin:end]
            labels[:] = (-1, -1, -1, -1, -1, 0)
            for row, objects in zip(labels, batch.labels, strict=True):
                row[: len(objects), : objects.shape[1]] = objects
            begin = end
        print(f"{folder.name}: features of view {view + 1} of {views}", flush=True)
    (folder / "whole").touch()


class Features:
    """The features and labels in a folder."""

    def __init__(self, folder: Path) -> None:
        self._arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in (*FEATURES, "labels")}
        self._views, self.images = self._arrays["labels"].shape[:2]

    def read(self, epoch: int, images: NDArray[np.int64]) -> tuple[dict[str, NDArray[Any]], NDArray[np.float32]]:
        """Return the features of some images and their labels (n, objects, 6)."""
        view = epoch % self._views
        read = {name: self._arrays[name][view][images].astype(np.float32) for name in FEATURES}
        return read, np.asarray(self._arrays["labels"][view][images])


class WithNegatives:
    """The first images of a set, and after them another set's, in which nothing is an object."""

    def __init__(self, kept: Features, images: int, others: Features) -> None:
        self._kept, self._images, self._others = kept, images, others

    def read(self, epoch: int, images: NDArray[np.int64]) -> tuple[dict[str, NDArray[Any]], NDArray[np.float32]]:
        """Return the features of some images of both and their labels, as `Features` does."""
        own = images < self._images
        read, found = self._kept.read(epoch, images[own])
        negatives, _ = self._others.read(epoch, images[~own] - self._images)
        labels = np.full((len(images), *found.shape[1:]), (-1, -1, -1, -1, -1, 0), np.float32)
        labels[own] = found
        features = {name: np.empty((len(images), *array.shape[1:]), np.float32) for name, array in read.items()}
        for name, array in features.items():
            array[own], array[~own] = read[name], negatives[name]
        return features, labels


def start_of(run: Run, seed: int, pretrained: Path | None = None) -> InitialWeights:
    """Return what a job starts from: the installed weights, or those in a folder, and values for what they lack."""
    drawn = initial_parameters(saved_graph(run.network), run.network.image_shape, seed)
    installed = from_installed_weights(required_weights("vgg-16"), drawn)
    if pretrained is None:
        return installed
    with tempfile.TemporaryDirectory() as scratch:
        start = from_pretrained_channel(pretrained, drawn, "vgg-16", Path(scratch))
    for name, array in installed.parameters.arguments.items():
        if re.match(FROZEN, name) and not np.array_equal(array.asnumpy(), start.parameters.arguments[name].asnumpy()):
            raise SystemExit(f"{name} is not that of the installed weights, of which the features are")
    return start


def features_of(run: Run, work: Path, views: int) -> tuple[Features, Features]:
    """Return the features of both channels, computed unless they are there."""
    train, validation = (run.channel(name, work) for name in ("train", "validation"))
    facts = {name: sha256(path) for name, path in (("train", run.train), ("validation", run.validation))}
    facts["weights"] = sha256(required_weights("vgg-16").parameters)
    kept = work / "features.json"
    if kept.exists() and json.loads(kept.read_text()) != facts:
        raise SystemExit(f"{work} holds the features of other images or of another trunk: name another folder")
    if not (work / "validation" / "whole").exists():
        write_json(kept, facts)
        internals = saved_graph(run.network).get_internals()
        graph = mx.sym.Group([internals[f"{name}_output"] for name in FEATURES])
        trunk = graph.simple_bind(mx.cpu(), grad_req="null", data=(run.batch, 3, 300, 300))
        trunk.copy_params_from(start_of(run, 0).parameters.arguments, allow_extra_params=True)
        loader = TrainingLoader(
            train, run.loading(), seed=run.seed, order=lambda _: np.arange(train.images), epochs=range(views)
        )
        write_features(work / "train", train, views, loader.batches, trunk)
        evaluated = evaluation_batches(validation, run.loading())
        write_features(work / "validation", validation, 1, lambda _: evaluated, trunk)
    return Features(work / "train"), Features(work / "validation")


def train(
    run: Run,
    recipe: Recipe,
    start: InitialWeights,
    seed: int,
    kept: Features | WithNegatives,
    held_out: Features,
    images: tuple[int, int],
) -> tuple[list[dict[str, float]], dict[str, mx.nd.NDArray]]:
    """Train by a recipe and return each epoch's figures and the whole network's parameters.

    images: how many to train on, and how many of these have no objects.
    """
    schedule.RATE_OF_FRESH_LAYERS, schedule.UPDATES_TO_THAT_RATE = recipe.rate, recipe.climb
    loss.NEGATIVES_OF_AN_EMPTY_IMAGE = recipe.empty
    network = run.network
    whole = training_graph(network, empty_images=images[1] > 0, frozen=network.freeze(FROZEN))
    graph, detecting = without_trunk(whole), without_trunk(detection_graph(network))
    parameters = start.parameters.arguments
    names = [name for name in graph.list_arguments() if name in parameters]
    first, labels = kept.read(0, np.arange(run.batch))
    shapes = {name: array.shape for name, array in first.items()}
    requests = {name: "write" if name in names else "null" for name in graph.list_arguments()}
    executor = graph.simple_bind(mx.cpu(), grad_req=requests, **shapes, label=(*labels.shape[:2], 5))
    executor.copy_params_from({name: parameters[name] for name in names})
    fresh = frozenset(name for name in names if layer(name) in fresh_layers(start.start))
    settings = OptimizerSettings("sgd", recipe.learning_rate, MOMENTUM, WEIGHT_DECAY, fresh=fresh)
    optimizer = create_optimizer(settings, graph, dict(enumerate(names)), world_size=1)
    update = mx.optimizer.get_updater(optimizer)
    executors = {run.batch: executor}
    steps = -(-images[0] // run.batch)
    lower = (run.epochs * 3 // 4,) if recipe.lower else ()
    plan = schedule.Schedule(recipe.learning_rate, steps=lower, warmup_epochs=recipe.warmup_epochs)
    figures = []
    for epoch in range(run.epochs):
        order, sums = epoch_order(images[0], seed=seed, epoch=epoch), np.zeros(3)
        if recipe.original:
            order = np.resize(order, steps * run.batch)
        for step in range(steps):
            chosen = order[step * run.batch : (step + 1) * run.batch]
            if len(chosen) not in executors:
                changed = {name: (len(chosen), *shape[1:]) for name, shape in shapes.items()}
                executors[len(chosen)] = executor.reshape(**changed, label=(len(chosen), labels.shape[1], 5))
            of_step = executors[len(chosen)]
            read, found = kept.read(epoch, chosen)
            for name, array in read.items():
                of_step.arg_dict[name][:] = array
            of_step.arg_dict["label"][:] = found[:, :, :5]
            sums += of_step.forward(is_train=True)[2].asnumpy()
            of_step.backward()
            done = epoch * steps + step
            rate = plan.rate(epoch, step, steps)
            if recipe.cosine:
                rate = recipe.learning_rate * (1 + math.cos(math.pi * done / (steps * run.epochs))) / 2
            if recipe.momentum_climb:
                optimizer.momentum = MOMENTUM * min(1.0, (done + 1) / recipe.momentum_climb)
            optimizer.set_learning_rate(rate)
            for index, name in enumerate(names):
                gradient = of_step.grad_dict[name]
                if recipe.last_batch:
                    gradient *= len(chosen) / run.batch
                update(index, gradient, executor.arg_dict[name])
        score = scored(detections(detecting, executor, held_out, run.batch), run.classes)
        figures.append({**score, "cross_entropy": round(float(sums[0] / sums[2]), 4)})
    return figures, {**parameters, **{name: executor.arg_dict[name] for name in names}}


def detections(
    graph: mx.sym.Symbol, trained: mx.executor.Executor, held_out: Features, batch: int
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Detect on the held-out images; yield an image's detections and objects."""
    arguments = {name: array for name, array in trained.arg_dict.items() if name in graph.list_arguments()}
    # Bound anew for every epoch: MXNet keeps converted weights from the first forward pass on.
    bound = graph.bind(mx.cpu(), args=arguments, grad_req="null")
    for begin in range(0, held_out.images, batch):
        chosen = np.arange(begin, min(begin + batch, held_out.images))
        read, labels = held_out.read(0, chosen)
        for name, array in read.items():
            arguments[name][: len(chosen)] = array
        found = bound.forward(is_train=False)[0].asnumpy()
        for rows, objects in zip(found, labels, strict=False):
            yield rows[rows[:, 0] >= 0], objects[objects[:, 0] >= 0]


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("channels", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--recipe", nargs="+", choices=RECIPES, default=["defaults"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--views", type=int, default=8, help="compute those of so many epochs, where none are there")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--pretrained", type=Path, help="a folder with the one file of a detector to start from")
    parser.add_argument("--limit", type=int, help="train on the first so many images alone")
    parser.add_argument("--negatives", type=Path, help="another set's --work: its images as images without objects")
    options = parser.parse_args()
    files = [options.channels / name / f"{name}.rec" for name in ("train", "validation")]
    classes = len((options.channels / "classes.txt").read_text(encoding="utf-8").splitlines())
    run = Run(*files, classes, options.epochs, options.batch, 0, FROZEN, "float32")
    options.work.mkdir(parents=True, exist_ok=True)
    kept, held_out = features_of(run, options.work, options.views)
    count, empty = (
        min(kept.images, options.limit or kept.images),
        run.channel("train", options.work).images_without_objects,
    )
    of_training: Features | WithNegatives = kept
    differing = []
    if options.pretrained:
        differing.append(f"from {options.pretrained.name} {sha256(pretrained_file(options.pretrained))[:8]}")
    if options.limit:
        differing.append(f"{count} images")
    if options.negatives:
        others = Features(options.negatives / "train")
        of_training = WithNegatives(kept, count, others)
        count, empty = count + others.images, empty + others.images
        differing.append(f"{others.images} negatives of {options.negatives.resolve().name}")
    if options.batch != 8:
        differing.append(f"batches of {options.batch}")
    print(f"{count} images to train on, {empty} of them without objects, {held_out.images} held out")
    print(f"| recipe | seed | {' | '.join(str(epoch + 1) for epoch in range(options.epochs))} | cross entropy |")
    print("|---" * (3 + options.epochs) + "|")
    for recipe in options.recipe:
        name = ", ".join([recipe, *differing])
        for seed in options.seeds:
            result = options.work / f"{name}, {options.epochs} epochs, seed {seed}.json"
            if not result.exists():
                start = start_of(run, seed, options.pretrained)
                if RECIPES[recipe].original:
                    start = original_start(run, start, seed)
                if (share := RECIPES[recipe].background) is not None:
                    set_background(start, share, classes)
                figures, parameters = train(run, RECIPES[recipe], start, seed, of_training, held_out, (count, empty))
                save_arrays(result.with_suffix(".params"), named_parameters(parameters, {}))
                result.write_text(json.dumps(figures))
            found = json.loads(result.read_text())
            scores = " | ".join(f"{epoch['voc07']:.3f}" for epoch in found)
            print(f"| {name} | {seed} | {scores} | {found[-1]['cross_entropy']:.3f} |", flush=True)


if __name__ == "__main__":
    main()
