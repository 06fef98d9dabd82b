"""What the epochs of a job have brought so far."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class History:
    """Every epoch's figures and validation mAP, the lowest loss of a best epoch, and which epoch is the best one."""

    epochs: list[dict[str, Any]] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    lowest_loss: float = float("inf")
    best_epoch: int = 0

    def add(self, figures: dict[str, Any], score: float, loss: float) -> bool:
        """Add an epoch and say whether it is the best so far: by mAP, and by loss while nothing is detected yet."""
        # Not the highest of all: the model of that epoch may be lost.
        kept = self.scores[self.best_epoch] if self.scores else 0.0
        best = score > kept or (score == kept == 0 and loss <= self.lowest_loss)
        if best:
            self.lowest_loss, self.best_epoch = loss, len(self.epochs)
        self.epochs.append(figures)
        self.scores.append(score)
        return best
