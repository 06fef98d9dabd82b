"""The learning rate of every batch, of every update on the servers of dist_async, and of layers that start anew."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

# Not by way of the package, whose import has not ended when a server reads this.
from mxnet.lr_scheduler import LRScheduler
from mxnet.optimizer import SGD

# The rate of layers that start anew beside trained ones, in rates of the trained ones, and the updates until then. The
# losses are divided by positive and negative anchors: a quarter of the SSD paper's rate, which is by positive ones.
# From the first update on it was too much for images with few objects. docs/accuracy.md has the figures.
RATE_OF_FRESH_LAYERS: Final = 4.0
UPDATES_TO_THAT_RATE: Final = 75


@dataclass(frozen=True)
class Schedule:
    """A rate that is multiplied by `factor` after each epoch number in `steps`, after a linear warm-up.

    Epochs are true epochs, whatever number of batches each has: a step of 10 takes effect after the tenth epoch.
    """

    learning_rate: float
    factor: float = 0.1
    steps: Sequence[int] = ()
    warmup_epochs: int = 0

    def rate(self, epoch: int, batch: int, batches: int) -> float:
        """Return the rate of a batch; epoch and batch count from 0, the epoch has `batches` of them."""
        if epoch < self.warmup_epochs:
            done = epoch * batches + batch + 1
            return self.learning_rate * done / (self.warmup_epochs * batches)
        passed = sum(step <= epoch for step in self.steps)
        return float(self.learning_rate * self.factor**passed)


class ServerSchedule(LRScheduler):  # type: ignore[misc]
    """A schedule counted in a parameter's updates by all hosts, the only count that a server of dist_async has.

    It is pickled on its way to the servers.

    updates_per_epoch: of all hosts together, 1 or more. first_epoch: the one that the first update belongs to.
    Raises ValueError for anything else.
    """

    def __init__(self, schedule: Schedule, *, updates_per_epoch: int, first_epoch: int = 0) -> None:
        if updates_per_epoch < 1 or first_epoch < 0:
            raise ValueError(
                f"updates_per_epoch is {updates_per_epoch} and first_epoch {first_epoch}, but they have to be 1 or "
                "more, and 0 or more"
            )
        super().__init__(base_lr=schedule.learning_rate)
        self._schedule, self._updates_per_epoch, self._first_epoch = schedule, updates_per_epoch, first_epoch

    @property
    def updates_before(self) -> int:
        """How many updates the epochs before the first one had, which another process made."""
        return self._first_epoch * self._updates_per_epoch

    def __call__(self, num_update: int) -> float:
        """Return the rate of an update; MXNet counts from 1."""
        epochs, update = divmod(num_update - 1, self._updates_per_epoch)
        return self._schedule.rate(self._first_epoch + epochs, update, self._updates_per_epoch)


class FreshLayersSGD(SGD):  # type: ignore[misc]
    """MXNet's sgd, with a rate for the parameters in `fresh` that climbs to a multiple of the others'.

    It is pickled on its way to the servers.
    updates_before: made by others before this optimizer's first one, and not counted by it.
    """

    def __init__(self, *, fresh: Collection[str], updates_before: int = 0, **settings: Any) -> None:
        super().__init__(**settings)
        self._fresh, self._updates_before = frozenset(fresh), updates_before

    def _get_lrs(self, indices: Sequence[int]) -> list[float]:
        # The method by which MXNet's optimizers apply __lr_mult__; a parameter's update is counted before it is asked.
        return [rate * self._times(index) for rate, index in zip(super()._get_lrs(indices), indices, strict=True)]

    def _times(self, index: int) -> float:
        if self.idx2name.get(index) not in self._fresh:
            return 1.0
        updates: int = self._updates_before + self._index_update_count[index]
        climbed = min(1.0, updates / UPDATES_TO_THAT_RATE)
        return 1.0 + (RATE_OF_FRESH_LAYERS - 1.0) * climbed
