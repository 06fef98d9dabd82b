"""Real checkpoints of a network of three arrays, written into a folder."""

from pathlib import Path

import mxnet as mx
import numpy as np

from sagemaker_ssd.checkpoints.format import (
    CheckpointArrays,
    Manifest,
    file_facts,
    parameters_name,
    write_manifest,
    write_parameters,
)


def arrays(epoch: int) -> CheckpointArrays:
    """Three arrays that tell which epoch they are of."""
    return CheckpointArrays(
        arguments={"conv_weight": mx.nd.full((20, 30), epoch), "conv_bias": mx.nd.array([1.5, -2.25])},
        states={"bn_moving_mean": mx.nd.full((7,), epoch + 0.5)},
        optimizer={"momentum:conv_weight": mx.nd.full((20, 30), -epoch)},
    )


def manifest(folder: Path, epoch: int, best: int) -> Manifest:
    """The manifest of arrays that are in the folder already."""
    names = (parameters_name(epoch), parameters_name(best))
    return Manifest(
        program="0.1.0",
        epoch=epoch,
        hyperparameters={"epochs": "9", "learning_rate": "0.001"},
        start={"from": "scratch", "seed": 0},
        data={"train": {"images": 5}},
        training_images=5,
        updates=3 * (epoch + 1),
        scores=[0.1 * number for number in range(epoch + 1)],
        lowest_loss=1 / 3,
        best_epoch=best,
        parameters=names[0],
        best_parameters=names[1],
        files={name: file_facts(folder / name) for name in names},
        epochs=[{"epoch": number, "train": {"cross_entropy": np.float64(0.1) + number}} for number in range(epoch + 1)],
    )


def write(folder: Path, epoch: int, best: int | None = None) -> Manifest:
    """Write a whole checkpoint, its own epoch the best one unless said otherwise."""
    write_parameters(folder, epoch, arrays(epoch))
    written = manifest(folder, epoch, epoch if best is None else best)
    write_manifest(folder, written)
    return written


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def marked(folder: Path, marker: str, *files: str) -> None:
    """Put SageMaker's marker next to files."""
    for name in files:
        (folder / f"{name}.sagemaker-{marker}").touch()
