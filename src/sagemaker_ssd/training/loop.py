"""An epoch: one pass of training over a channel, its losses, the error when they diverge; and early stopping."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.errors import ProgramError
from sagemaker_ssd.training.trainer import LossSums, Trainer

Batch = tuple[mx.nd.NDArray, NDArray[np.float32]]


class DivergedError(FloatingPointError):
    """A batch's loss is not a finite number; epoch and batch count from 0, `learning_rate` is that of its step."""

    def __init__(self, epoch: int, batch: int, learning_rate: float) -> None:
        super().__init__(f"the loss is not a finite number in epoch {epoch}, batch {batch}")
        self.learning_rate = learning_rate


@dataclass(frozen=True)
class EpochProgress:
    """How far an epoch has come: its steps, this host's images, and the seconds since its start.

    The losses are means as in `EpochLosses`, over the batches before the last one; None where no anchor of them counts.
    """

    batches: int
    images: int
    seconds: float
    cross_entropy: float | None = None
    smooth_l1: float | None = None


@dataclass(frozen=True)
class EpochLosses:
    """An epoch's mean losses of an anchor that counts (mxnet-ssd's metrics), its size and the seconds it took.

    Losses and images are this host's own; batches are the epoch's steps, which all hosts make together. anchors: how
    many the means are over. waiting: the seconds, of all, in which no batch was ready.
    """

    cross_entropy: float
    smooth_l1: float
    batches: int
    images: int
    seconds: float
    anchors: int
    waiting: float = 0.0

    def plain(self) -> dict[str, float]:
        """Return the figures by name, as JSON has them."""
        return asdict(self)


def combined(hosts: Sequence[EpochLosses]) -> EpochLosses:
    """Return the figures of an epoch over all hosts: means over all anchors, all images, the longest time."""
    anchors = max(sum(host.anchors for host in hosts), 1)
    return EpochLosses(
        cross_entropy=sum(host.cross_entropy * host.anchors for host in hosts) / anchors,
        smooth_l1=sum(host.smooth_l1 * host.anchors for host in hosts) / anchors,
        batches=max(host.batches for host in hosts),
        images=sum(host.images for host in hosts),
        seconds=max(host.seconds for host in hosts),
        anchors=sum(host.anchors for host in hosts),
        waiting=max(host.waiting for host in hosts),
    )


def train_epoch(
    trainer: Trainer,
    batches: Iterable[Batch],
    *,
    epoch: int,
    rate: Callable[[int], float],
    observe: Callable[[EpochProgress], None],
    totals: Sequence[int] | None = None,
) -> EpochLosses:
    """Train on every batch once; `rate` gives a batch number's learning rate, `observe` is called after each.

    totals: how many images each of the epoch's steps has over all hosts; in the last ones, for which this host has no
    batch left, it takes part with nothing. None: every batch is a step of this host's images alone.
    Raises DivergedError when a loss is not finite.
    """
    start = time.monotonic()
    sums, images, count = np.zeros(3), 0, 0
    unread: LossSums | None = None
    timed = _TimedBatches(batches)
    for batch, total in _steps(timed, totals):
        data, label = batch or (None, None)
        latest = trainer.step(data, label, rate(count), total)
        # The previous batch's losses are read while this one is computed, so that the device never waits for us.
        if unread is not None:
            sums += _finite(unread, epoch, count - 1, rate(count - 1))
        unread, count, images = latest, count + 1, images + (0 if label is None else len(label))
        if batch is None:
            # No loss makes it wait for the other hosts: all steps left would be queued at once, and look like one.
            mx.nd.waitall()
        so_far = (float(total / sums[2]) for total in sums[:2]) if sums[2] > 0 else (None, None)
        observe(EpochProgress(count, images, time.monotonic() - start, *so_far))
    if unread is not None:
        sums += _finite(unread, epoch, count - 1, rate(count - 1))
    # On a host without images no anchor counts.
    entropy, smooth_l1, anchors = sums.tolist()
    seconds = time.monotonic() - start
    return EpochLosses(
        cross_entropy=entropy / max(anchors, 1),
        smooth_l1=smooth_l1 / max(anchors, 1),
        batches=count,
        images=images,
        seconds=seconds,
        anchors=int(anchors),
        waiting=timed.seconds,
    )


class _TimedBatches:
    """Batches, and the seconds in which they were waited for."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._batches, self.seconds = batches, 0.0

    def __iter__(self) -> Iterator[Batch]:
        begin = time.monotonic()
        for batch in self._batches:
            self.seconds += time.monotonic() - begin
            yield batch
            begin = time.monotonic()


def _steps(batches: Iterable[Batch], totals: Sequence[int] | None) -> Iterator[tuple[Batch | None, int | None]]:
    """Give each step's batch, None where this host has none left, and the step's images over all hosts."""
    if totals is None:
        for batch in batches:
            yield batch, None
        return
    left = iter(batches)
    for total in totals:
        yield next(left, None), total
    if next(left, None) is not None:
        raise ProgramError(f"an epoch of {len(totals)} steps has more batches on this host; deal out no more")


def _finite(losses: LossSums, epoch: int, batch: int, learning_rate: float) -> NDArray[np.float64]:
    values = losses.read()
    if np.isfinite(values).all():
        return values
    raise DivergedError(epoch, batch, learning_rate)


@dataclass(frozen=True)
class EarlyStopping:
    """Ends training when the mAP has not improved for `patience` epochs, but not before `min_epochs` epochs.

    An epoch improves when its mAP is above that of the last epoch that improved, and the gain, as a fraction of that
    mAP, is not smaller than `tolerance` (the hyperparameter's definition in the specification).
    """

    min_epochs: int
    patience: int
    tolerance: float

    def ends(self, scores: Sequence[float], *, since: int = 0) -> bool:
        """Decide from the mAP of every epoch so far, the first one first.

        since: the first epoch on the validation data of now. Of those before, the best one alone has an mAP on them;
        patience begins anew there.
        """
        if not scores or len(scores) < self.min_epochs:
            return False
        compared = max(since, 1)
        best, waited = max(scores[:compared]), 0
        for score in scores[compared:]:
            gain = score - best
            if gain > 0 and (best <= 0 or gain / best >= self.tolerance):
                best, waited = score, 0
            else:
                waited += 1
        return waited >= self.patience
