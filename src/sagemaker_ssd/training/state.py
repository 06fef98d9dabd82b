"""What a checkpoint has to hold of a training: the state that its next step depends on, and the epochs so far."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import mxnet as mx
import numpy as np

from sagemaker_ssd.training.optimizer import OptimizerState


@dataclass(frozen=True)
class TrainingState:
    """All that the next step depends on: `arguments` are trained, `states` are BatchNorm's mean and variance."""

    arguments: dict[str, mx.nd.NDArray]
    states: dict[str, mx.nd.NDArray]
    optimizer: OptimizerState

    def copied(self, *, optimizer: bool) -> "TrainingState":
        """Return a copy in main memory, which later steps leave alone; optimizer: whether with its arrays."""

        def copied(arrays: Mapping[str, mx.nd.NDArray]) -> dict[str, mx.nd.NDArray]:
            return {name: array.copyto(mx.cpu()) for name, array in arrays.items()}

        arrays = copied(self.optimizer.arrays) if optimizer else {}
        state = TrainingState(
            copied(self.arguments), copied(self.states), OptimizerState(arrays, self.optimizer.updates)
        )
        # The next step would wait for the copies of the arguments, but not for those of BatchNorm's states, which it
        # writes too; see `Trainer.parameters`.
        mx.nd.waitall()
        return state


def not_finite(*groups: Mapping[str, mx.nd.NDArray]) -> list[str]:
    """Name the arrays that hold a value which is not a finite number."""
    return [name for arrays in groups for name, array in arrays.items() if not np.isfinite(array.asnumpy()).all()]


@dataclass
class History:
    """Every epoch's figures and validation mAP, the lowest loss of a best epoch, and which epoch is the best one.

    validation_since: the first epoch that was scored on the validation data of now, 0 where they never changed.
    """

    epochs: list[dict[str, Any]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    lowest_loss: float = float("inf")
    best_epoch: int = 0
    validation_since: int = 0

    @property
    def best_score(self) -> float:
        """The validation mAP of the best epoch, of which the model is; there must be an epoch."""
        return self.scores[self.best_epoch]

    def add(self, figures: dict[str, Any], score: float, loss: float) -> bool:
        """Add an epoch and say whether it is the best so far: by mAP, and by loss while nothing is detected yet."""
        # Not the highest of all: the model of that epoch may be lost.
        kept = self.best_score if self.scores else 0.0
        best = score > kept or (score == kept == 0 and loss <= self.lowest_loss)
        if best:
            self.lowest_loss, self.best_epoch = loss, len(self.epochs)
        self.epochs.append(figures)
        self.scores.append(score)
        return best

    def patience_scores(self) -> tuple[list[float], int]:
        """Return every epoch's mAP as far as it counts for early stopping, and the epoch since which patience does.

        An mAP above the best model's is that of a model that was lost: no later epoch has to reach it.
        """
        if not self.scores or max(self.scores) <= self.best_score:
            return self.scores, self.validation_since
        since = max(self.validation_since, self.best_epoch + 1)
        return [min(score, self.best_score) for score in self.scores], since

    def rescore(self, figures: dict[str, Any], score: float) -> None:
        """Take the best model's figures and mAP on other validation data, which later epochs are compared with.

        The mAP of the other epochs is of the data before, compares with nothing, and becomes 0.
        """
        best = self.best_epoch
        self.epochs[best] = {**self.epochs[best], "validation": figures}
        self.scores = [score if epoch == best else 0.0 for epoch in range(len(self.scores))]
        self.validation_since = len(self.scores)
