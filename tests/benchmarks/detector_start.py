"""What a detector to start from is worth beside a classifier, and how its heads for new classes should start.

`python tests/benchmarks/detector_start.py --bccd FOLDER --cards FOLDER --work FOLDER [--heads]`. FOLDER of a data set
holds VOC's images/, annotations/, train.txt and test.txt. vgg-16 is trained on bccd, from the installed classifier; its
model is then the channel `pretrained` of jobs on cards, beside jobs that start from the classifier: mAP after 1, 2, 4
and 8 epochs, for two seeds. --heads instead: jobs on 64 of the cards that start from that model with class heads made
in several ways, and their losses epoch after epoch, of eight steps each. Jobs that are done already stay done.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mxnet as mx
import numpy as np

ROOT = Path(__file__).parent.parent.parent
CLASSES = {"bccd": 3, "cards": 6}
AFTER = (1, 2, 4, 8)
# The class heads of A anchors have A x (classes + 1) outputs, of which the background is each anchor's first.
CLASS_HEAD = re.compile(r"arg:(.+)_cls_pred_conv_(weight|bias)")
DEVIATION = 0.001


def convert(data: Path, channels: Path, *, few: bool = False) -> None:
    """Write a data set's two channels; few: 64 images to train on and 16 to validate on."""
    if channels.exists():
        return
    lists = {"train": data / "train.txt", "validation": data / "test.txt"}
    if few:
        for (name, path), count in zip(list(lists.items()), (64, 16), strict=True):
            lists[name] = channels.with_name(f"{channels.name}-{name}.txt")
            lists[name].write_text("\n".join(path.read_text().split()[:count]) + "\n")
    command = [sys.executable, "-m", "sagemaker_ssd.convert", "voc", "--as", "recordio", "--output", str(channels)]
    command += ["--images", str(data / "images"), "--annotations", str(data / "annotations")]
    subprocess.run([*command, "--train", lists["train"], "--validation", lists["validation"]], check=True)


def train(job: Path, channels: Path, name: str, seed: int, epochs: int, pretrained: Path | None) -> list[dict]:
    """Run one job, unless it has run; return the epochs of its metrics.json."""
    metrics = job / "output" / "data" / "metrics.json"
    if not metrics.exists():
        config, data = job / "input" / "config", job / "input" / "data"
        config.mkdir(parents=True, exist_ok=True)
        data.mkdir(exist_ok=True)
        entries = {channel: {"ContentType": "application/x-recordio"} for channel in ("train", "validation")}
        for channel in entries:
            if not (data / channel).exists():
                (data / channel).symlink_to(channels / channel)
        if pretrained is not None:
            entries["pretrained"] = {}
            (data / "pretrained").mkdir(exist_ok=True)
            if not (data / "pretrained" / pretrained.name).exists():
                (data / "pretrained" / pretrained.name).symlink_to(pretrained)
        chosen = {"num_classes": CLASSES[name], "num_training_samples": 1, "base_network": "vgg-16", "seed": seed}
        chosen |= {"epochs": epochs, "mini_batch_size": 8, "freeze_layer_pattern": "^(conv1_|conv2_).*"}
        (config / "hyperparameters.json").write_text(json.dumps({key: str(value) for key, value in chosen.items()}))
        (config / "inputdataconfig.json").write_text(json.dumps(entries))
        print(f"{job.name} ...", file=sys.stderr, flush=True)
        with (job / "log").open("w") as log:
            environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(job)}
            subprocess.run([ROOT / "train"], env=environment, stdout=log, stderr=log, check=True)
    return json.loads(metrics.read_text())["epochs"]


def detector(options: argparse.Namespace) -> Path:
    """Train on bccd, and return the model's parameters."""
    job = options.work / "bccd"
    train(job, options.work / "channels-bccd", "bccd", 0, options.bccd_epochs, None)
    return job / "model" / "model_algo_1-0000.params"


def compare_starts(options: argparse.Namespace) -> None:
    """Print the mAP of both starts after some epochs."""
    model = detector(options)
    print("| start | seed | " + " | ".join(f"mAP after {count}" for count in AFTER) + " |")
    print("|---" * (2 + len(AFTER)) + "|")
    for seed in range(options.seeds):
        for start, pretrained in (("classifier", None), ("detector of bccd", model)):
            job = options.work / f"cards-{start.split()[0]}-{seed}"
            epochs = train(job, options.work / "channels-cards", "cards", seed, max(AFTER), pretrained)
            scores = " | ".join(f"{epochs[count - 1]['validation']['mAP']:.3f}" for count in AFTER)
            print(f"| {start} | {seed} | {scores} |", flush=True)


def fresh(given: np.ndarray, shape: tuple[int, ...], draw: np.random.Generator) -> np.ndarray:
    """Start as the program does: small random weights, biases of 0."""
    return draw.normal(0, DEVIATION, shape) if given.ndim > 2 else np.zeros(shape)


def with_prior(share: float) -> Callable[[np.ndarray, tuple[int, ...], np.random.Generator], np.ndarray]:
    """Start so, with a bias for which the background's probability is `share`."""

    def start(given: np.ndarray, shape: tuple[int, ...], draw: np.random.Generator) -> np.ndarray:
        values = fresh(given, shape, draw)
        if given.ndim == 2:
            values[:, 0] = np.log(share / (1 - share) * (shape[1] - 1))
        return values

    return start


def any_object(given: np.ndarray, shape: tuple[int, ...], draw: np.random.Generator) -> np.ndarray:
    """Keep the background; every new class is the mean of the detector's, with as much probability in sum."""
    values = np.empty(shape)
    values[:, 0] = given[:, 0]
    values[:, 1:] = given[:, 1:].mean(axis=1, keepdims=True)
    if given.ndim == 2:
        values[:, 1:] += np.log((given.shape[1] - 1) / (shape[1] - 1))
    else:
        values[:, 1:] += draw.normal(0, DEVIATION, values[:, 1:].shape)
    return values


STARTS = {
    "small values, as now": fresh,
    "small values, background 0.75": with_prior(0.75),
    "small values, background 0.99": with_prior(0.99),
    "any object": any_object,
}


def with_heads(model: Path, name: str, seed: int, folder: Path) -> Path:
    """Write the model's parameters with class heads for the cards that start in one of the ways."""
    draw, arrays = np.random.default_rng(seed), mx.nd.load(str(model))
    for key, array in list(arrays.items()):
        if CLASS_HEAD.fullmatch(key):
            values = array.asnumpy()
            given = values.reshape((-1, CLASSES["bccd"] + 1, *values.shape[1:]))
            made = STARTS[name](given, (given.shape[0], CLASSES["cards"] + 1, *values.shape[1:]), draw)
            arrays[key] = mx.nd.array(made.reshape((-1, *values.shape[1:])), dtype="float32")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name.replace(' ', '-').replace(',', '')}-{seed}.params"
    mx.nd.save(str(path), arrays)
    return path


def compare_heads(options: argparse.Namespace) -> None:
    """Print the losses of the first steps for every way in which class heads can start."""
    model = detector(options)
    print("| class heads | seed | cross entropy of each 8 steps | smooth L1 |\n|---|---|---|---|")
    for seed in range(options.seeds):
        for name in STARTS:
            heads = with_heads(model, name, seed, options.work / "heads")
            channels = options.work / "channels-few-cards"
            epochs = train(options.work / f"heads-{heads.stem}", channels, "cards", seed, options.head_epochs, heads)
            losses = [
                ", ".join(f"{epoch['train'][loss]:.3f}" for epoch in epochs) for loss in ("cross_entropy", "smooth_l1")
            ]
            print(f"| {name} | {seed} | {losses[0]} | {losses[1]} |", flush=True)


def main() -> None:
    """Make the channels and run the jobs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bccd", type=Path, required=True)
    parser.add_argument("--cards", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="folder for channels and jobs")
    parser.add_argument("--heads", action="store_true")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--bccd-epochs", type=int, default=8)
    parser.add_argument("--head-epochs", type=int, default=6)
    options = parser.parse_args()
    options.work = options.work.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    convert(options.bccd, options.work / "channels-bccd")
    convert(options.cards, options.work / "channels-cards")
    convert(options.cards, options.work / "channels-few-cards", few=True)
    (compare_heads if options.heads else compare_starts)(options)


if __name__ == "__main__":
    main()
