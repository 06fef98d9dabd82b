"""One pass of training over a channel."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.engine.divergence import diverged
from sagemaker_ssd.engine.trainer import LossSums, Trainer


@dataclass(frozen=True)
class Progress:
    """How far an epoch has come; seconds since its start."""

    batches: int
    images: int
    seconds: float


@dataclass(frozen=True)
class EpochLosses:
    """An epoch's mean losses per counted anchor (mxnet-ssd's metrics), its size and the seconds it took."""

    cross_entropy: float
    smooth_l1: float
    batches: int
    images: int
    seconds: float


def train_epoch(
    trainer: Trainer,
    batches: Iterable[tuple[mx.nd.NDArray, NDArray[np.float32]]],
    *,
    epoch: int,
    rate: Callable[[int], float],
    observe: Callable[[Progress], None],
) -> EpochLosses:
    """Train on every batch once; `rate` gives a batch number's learning rate, `observe` is called after each.

    Raises UserError naming epoch and batch when a loss is not finite.
    """
    start = time.monotonic()
    sums, images, count = np.zeros(3), 0, 0
    waiting: LossSums | None = None
    for data, label in batches:
        latest = trainer.step(data, label, rate(count))
        # The previous batch's losses are read while this one is computed, so that the device never waits for us.
        if waiting is not None:
            sums += _finite(waiting, epoch, count - 1, rate(count - 1))
        waiting, count, images = latest, count + 1, images + len(label)
        observe(Progress(count, images, time.monotonic() - start))
    if waiting is not None:
        sums += _finite(waiting, epoch, count - 1, rate(count - 1))
    # A batch whose every image lost its boxes to the crops counts no anchor.
    anchors = max(sums[2], 1.0)
    return EpochLosses(sums[0] / anchors, sums[1] / anchors, count, images, time.monotonic() - start)


def _finite(losses: LossSums, epoch: int, batch: int, learning_rate: float) -> NDArray[np.float64]:
    values = losses.read()
    if np.isfinite(values).all():
        return values
    raise diverged(f"the loss is not a finite number in epoch {epoch}, batch {batch}", learning_rate)
