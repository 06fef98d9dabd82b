"""When training ends before its last epoch."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class EarlyStopping:
    """Ends training when the mAP has not improved for `patience` epochs, but not before `min_epochs` epochs.

    An epoch improves when its mAP is above that of the last epoch that improved, and the gain, as a fraction of that
    mAP, is not smaller than `tolerance` (the hyperparameter's definition in the specification).
    """

    min_epochs: int
    patience: int
    tolerance: float

    def ends(self, scores: Sequence[float]) -> bool:
        """Decide from the mAP of every epoch so far, the first one first."""
        if not scores or len(scores) < self.min_epochs:
            return False
        best, waited = scores[0], 0
        for score in scores[1:]:
            gain = score - best
            if gain > 0 and (best <= 0 or gain / best >= self.tolerance):
                best, waited = score, 0
            else:
                waited += 1
        return waited >= self.patience
