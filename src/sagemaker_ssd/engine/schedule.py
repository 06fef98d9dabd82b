"""The learning rate of every batch."""

from collections.abc import Sequence
from dataclasses import dataclass


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
