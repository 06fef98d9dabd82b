"""Updates by an optimizer of this host, from the gradients of all devices and hosts."""

from collections.abc import Sequence

import mxnet as mx

from sagemaker_ssd.engine.optimizer import Optimizer, OptimizerSettings, OptimizerState
from sagemaker_ssd.engine.updates import Trained
from sagemaker_ssd.errors import ProgramError


class HostUpdates:
    """Adds up gradients over devices and hosts, and updates by an optimizer of this host, as every host does alike.

    store: dist_sync, the store of one host, or None for one device. All hosts have the same number of devices.
    """

    def __init__(
        self,
        settings: OptimizerSettings,
        graph: mx.sym.Symbol,
        parameters: Sequence[Trained],
        store: mx.kv.KVStore | None,
    ) -> None:
        devices = len(parameters[0].values)
        self._parameters, self._store = parameters, store
        self._hosts = 1 if store is None else store.num_workers
        self.shares = devices * self._hosts
        names = [parameter.name for parameter in parameters]
        self._optimizer = Optimizer(settings, graph, names, devices, shares=self.shares)
        if store is not None:
            zeros = [parameter.gradients[0].zeros_like() for parameter in parameters]
            store.init(list(range(len(zeros))), zeros)

    def images_of_step(self, own: int, images: int | None) -> int:
        """Return those of all hosts; raises ProgramError when they were not told, or are fewer than this host's."""
        if images is None and self._hosts == 1:
            return own
        if images is None or images < own:
            raise ProgramError(
                f"a step of {own} images of this host is said to have {images} over {self._hosts} hosts; give the "
                "sum over all hosts"
            )
        return images

    def begin(self) -> None:
        """Nothing: the values are never in the store."""

    def apply(self, images: int, learning_rate: float) -> None:
        """Exchange the gradients with all hosts, those of no images too, and update."""
        if self._store is not None:
            for key, parameter in enumerate(self._parameters):
                # Always the same arrays: a push keeps them, and the next pull of the key writes into them.
                self._store.push(key, parameter.gradients, priority=-key)
                self._store.pull(key, out=parameter.gradients, priority=-key)
        gradients = [parameter.gradients for parameter in self._parameters]
        self._optimizer.step(gradients, [parameter.values for parameter in self._parameters], learning_rate)

    def settle(self) -> None:
        """Nothing: every host has made every update."""

    def state(self) -> OptimizerState:
        """Return the optimizer's state, which is every host's; its arrays change with the next update."""
        return self._optimizer.state()

    def array_names(self) -> list[tuple[str, str]]:
        """Name the arrays of a state, each with the parameter whose shape it has."""
        return self._optimizer.array_names()

    def restore(self, state: OptimizerState) -> None:
        """Go on from a state of the same settings and parameters, from any number of devices and hosts."""
        self._optimizer.restore(state)
