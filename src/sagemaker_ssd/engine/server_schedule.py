"""The learning rate of every update on the servers."""

# Not by way of the package, whose import has not ended when a server reads this.
from mxnet.lr_scheduler import LRScheduler

from sagemaker_ssd.engine.schedule import Schedule


class ServerSchedule(LRScheduler):  # type: ignore[misc]
    """A schedule counted in a parameter's updates by all hosts, the only count that a server of dist_async has.

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
