"""What a training is at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass

import mxnet as mx

from sagemaker_ssd.engine.optimizer import OptimizerState


@dataclass(frozen=True)
class TrainingState:
    """All that the next step depends on: `arguments` are trained, `states` are BatchNorm's mean and variance."""

    arguments: dict[str, mx.nd.NDArray]
    states: dict[str, mx.nd.NDArray]
    optimizer: OptimizerState

    def copied(self, *, optimizer: bool) -> "TrainingState":
        """Return a copy in main memory, which later steps leave alone; optimizer: whether with its arrays."""
        arrays = _copied(self.optimizer.arrays) if optimizer else {}
        return TrainingState(
            _copied(self.arguments), _copied(self.states), OptimizerState(arrays, self.optimizer.updates)
        )


def _copied(arrays: Mapping[str, mx.nd.NDArray]) -> dict[str, mx.nd.NDArray]:
    return {name: array.copyto(mx.cpu()) for name, array in arrays.items()}
