"""The learning rate of every batch, and of every update on the servers of dist_async."""

from collections.abc import Sequence
from dataclasses import dataclass

# Not by way of the package, whose import has not ended when a server reads this.
from mxnet.lr_scheduler import LRScheduler


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

    def __call__(self, num_update: int) -> float:
        """Return the rate of an update; MXNet counts from 1."""
        epochs, update = divmod(num_update - 1, self._updates_per_epoch)
        return self._schedule.rate(self._first_epoch + epochs, update, self._updates_per_epoch)
