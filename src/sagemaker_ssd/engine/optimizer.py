"""The four optimizers of the specification, as MXNet has them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mxnet as mx

Update = Callable[[int, mx.nd.NDArray, mx.nd.NDArray], None]


@dataclass(frozen=True)
class OptimizerSettings:
    """name: sgd, adam, rmsprop or adadelta; momentum is sgd's, weight_decay sgd's and rmsprop's alone."""

    name: str
    learning_rate: float
    momentum: float
    weight_decay: float
    clip_gradient: float | None = None

    def arguments(self) -> dict[str, Any]:
        """Return what MXNet's optimizer of that name takes."""
        taken: dict[str, Any] = {"wd": self.weight_decay if self.name in ("sgd", "rmsprop") else 0.0}
        if self.name != "adadelta":
            taken["learning_rate"] = self.learning_rate
        if self.name == "sgd":
            taken["momentum"] = self.momentum
        if self.clip_gradient is not None:
            taken["clip_gradient"] = self.clip_gradient
        return taken


class Optimizer:
    """Updates the parameters of every device; the graph's __lr_mult__ and __wd_mult__ hold."""

    def __init__(self, settings: OptimizerSettings, graph: mx.sym.Symbol, names: Sequence[str], devices: int) -> None:
        # The losses are normalised in the graph already, so only the sum over devices is divided out.
        self._optimizer = mx.optimizer.create(
            settings.name,
            sym=graph,
            param_idx2name={k * devices + device: name for k, name in enumerate(names) for device in range(devices)},
            rescale_grad=1.0 / devices,
            **settings.arguments(),
        )
        self._devices = devices
        self._update: Update = mx.optimizer.get_updater(self._optimizer)

    def step(
        self,
        gradients: Sequence[Sequence[mx.nd.NDArray]],
        arguments: Sequence[Sequence[mx.nd.NDArray]],
        learning_rate: float,
    ) -> None:
        """Apply gradients to arguments, both one list a parameter with one array a device."""
        self._optimizer.set_learning_rate(learning_rate)
        for k, (of_gradient, of_argument) in enumerate(zip(gradients, arguments, strict=True)):
            for device, (gradient, argument) in enumerate(zip(of_gradient, of_argument, strict=True)):
                self._update(k * self._devices + device, gradient, argument)
