"""The four optimizers of the specification, as MXNet has them, and their state under the parameters' names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import mxnet as mx

from sagemaker_ssd.training.schedule import FreshLayersSGD, ServerSchedule

# What MXNet's optimizer of that name keeps for each parameter, in its order.
_SLOTS: Final = {
    "sgd": ("momentum",),
    "adam": ("mean", "variance"),
    "rmsprop": ("mean_square",),
    "adadelta": ("mean_square_gradient", "mean_square_update"),
}


@dataclass(frozen=True)
class OptimizerSettings:
    """name: sgd, adam, rmsprop or adadelta; momentum is sgd's, weight_decay sgd's and rmsprop's alone.

    fresh: the parameters that start anew beside trained ones, which learn faster with sgd (`FreshLayersSGD`). The other
    optimizers divide by the gradients' sizes anyway.
    """

    name: str
    learning_rate: float
    momentum: float
    weight_decay: float
    clip_gradient: float | None = None
    fresh: frozenset[str] = frozenset()

    def mxnet_arguments(self) -> dict[str, float]:
        """Return what MXNet's optimizer of that name takes."""
        taken = {"wd": self.weight_decay if self.name in ("sgd", "rmsprop") else 0.0}
        if self.name != "adadelta":
            taken["learning_rate"] = self.learning_rate
        if self.name == "sgd":
            taken["momentum"] = self.momentum
        if self.clip_gradient is not None:
            taken["clip_gradient"] = self.clip_gradient
        return taken

    def slots(self) -> tuple[str, ...]:
        """Name what is kept for each parameter from step to step."""
        return () if self.name == "sgd" and self.momentum == 0 else _SLOTS[self.name]


@dataclass(frozen=True)
class OptimizerState:
    """What an optimizer remembers: the number of `updates`, and its arrays by "<slot>:<parameter>"."""

    arrays: dict[str, mx.nd.NDArray]
    updates: int


def create_optimizer(
    settings: OptimizerSettings,
    graph: mx.sym.Symbol,
    names: Mapping[int, str],
    *,
    world_size: int,
    lr_scheduler: ServerSchedule | None = None,
    begin_num_update: int = 0,
) -> mx.optimizer.Optimizer:
    """Make MXNet's optimizer for gradients that are sums over `world_size` devices; `names` are those of its indices.

    The graph's __lr_mult__ and __wd_mult__ hold, and fresh parameters have a larger rate besides.
    """
    arguments = {
        "sym": graph,
        "param_idx2name": dict(names),
        # The losses are normalised in the graph already, so only the sum over devices is divided out.
        "rescale_grad": 1.0 / world_size,
        "lr_scheduler": lr_scheduler,
        "begin_num_update": begin_num_update,
        **settings.mxnet_arguments(),
    }
    if settings.name == "sgd" and settings.fresh:
        # On servers all counts begin at 1 when a job is resumed, and the schedule knows what was before.
        before = 0 if lr_scheduler is None else lr_scheduler.updates_before
        return FreshLayersSGD(fresh=settings.fresh, updates_before=before, **arguments)
    return mx.optimizer.create(settings.name, **arguments)


class Optimizer:
    """Updates the parameters of every device of this host.

    world_size: the devices whose gradients were added up, those of this host unless given.
    """

    def __init__(
        self,
        settings: OptimizerSettings,
        graph: mx.sym.Symbol,
        names: Sequence[str],
        devices: int,
        *,
        world_size: int | None = None,
    ) -> None:
        self._settings, self._graph, self._names, self._devices = settings, graph, list(names), devices
        self._world_size = devices if world_size is None else world_size
        self._create(updates=0)

    def _create(self, updates: int) -> None:
        devices = self._devices
        indices = {k * devices + device: name for k, name in enumerate(self._names) for device in range(devices)}
        self._optimizer = create_optimizer(
            self._settings, self._graph, indices, world_size=self._world_size, begin_num_update=updates
        )
        self._update = mx.optimizer.get_updater(self._optimizer)

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

    def state(self) -> OptimizerState:
        """Return the first device's state, which is every device's; its arrays change with the next step."""
        arrays = {}
        for k, name in enumerate(self._names):
            kept = self._update.states.get(k * self._devices)
            # sgd keeps an array, or None without momentum, the others a tuple.
            of_parameter = () if kept is None else kept if isinstance(kept, tuple) else (kept,)
            for slot, array in zip(self._settings.slots(), of_parameter, strict=bool(of_parameter)):
                arrays[f"{slot}:{name}"] = array
        return OptimizerState(arrays, self._optimizer.num_update)

    def array_names(self) -> list[tuple[str, str]]:
        """Name the arrays of a state, each with the parameter whose shape it has."""
        return [(f"{slot}:{name}", name) for name in self._names for slot in self._settings.slots()]

    def begin(self, updates_before: int) -> None:
        """Begin with nothing remembered; updates_before: those that led to the parameters, as on servers.

        sgd counts on from them, as fresh parameters' rates climb by the count. adam's count is of what its moments are
        made of, which begin anew.
        """
        self._create(updates=updates_before if self._settings.name == "sgd" else 0)

    def restore(self, state: OptimizerState) -> None:
        """Go on from a state of the same settings and parameters, on any number of devices."""
        self._create(state.updates)
        for k, name in enumerate(self._names):
            for index in range(k * self._devices, (k + 1) * self._devices):
                kept = tuple(state.arrays[f"{slot}:{name}"].copy() for slot in self._settings.slots())
                if self._settings.name == "sgd":
                    self._update.states[index] = kept[0] if kept else None
                else:
                    self._update.states[index] = kept
                # So that the first update moves the copy to its parameter's device.
                self._update.states_synced[index] = False
