"""What a trainer asks of whatever makes updates of gradients."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import mxnet as mx

from sagemaker_ssd.engine.optimizer import OptimizerState


@dataclass(frozen=True)
class Trained:
    """A trained parameter: its gradient and its value, one array a device each."""

    name: str
    gradients: Sequence[mx.nd.NDArray]
    values: Sequence[mx.nd.NDArray]


class Updates(Protocol):
    """What a trainer asks of either kind; shares: the devices whose mean gradient is one update."""

    shares: int

    def images_of_step(self, own: int, images: int | None) -> int:
        """Return how many images an update is made of, when `own` are this host's and `images` were told."""

    def begin(self) -> None:
        """Take note that the values have been loaded."""

    def apply(self, images: int, learning_rate: float) -> None:
        """Update the values of every device by its gradients, which are of `images` images of this host."""

    def settle(self) -> None:
        """Give every host the values that all updates so far have led to."""

    def state(self) -> OptimizerState:
        """Return what the optimizer remembers."""

    def array_names(self) -> list[tuple[str, str]]:
        """Name the arrays of a state, each with the parameter whose shape it has."""

    def restore(self, state: OptimizerState) -> None:
        """Go on from what an optimizer remembered."""
