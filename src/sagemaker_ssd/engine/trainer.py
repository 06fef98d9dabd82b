"""A network in training on the devices of this host."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.engine.optimizer import Optimizer, OptimizerSettings, OptimizerState
from sagemaker_ssd.engine.replica import Arrays, Replica


@dataclass(frozen=True)
class LossSums:
    """One batch's summed losses and the number of anchors that count, still being computed."""

    _sums: Sequence[mx.nd.NDArray]

    def read(self) -> NDArray[np.float64]:
        """Wait for cross entropy, smooth L1 and anchors of the batch, summed over the devices: (3,)."""
        total: NDArray[np.float64] = np.sum([sums.asnumpy().astype(np.float64) for sums in self._sums], axis=0)
        return total


@dataclass(frozen=True)
class TrainingState:
    """All that the next step depends on: `arguments` are trained, `states` are BatchNorm's mean and variance."""

    arguments: dict[str, mx.nd.NDArray]
    states: dict[str, mx.nd.NDArray]
    optimizer: OptimizerState


class Trainer:
    """Splits each batch over the devices, adds up their gradients and updates every device's parameters alike."""

    def __init__(
        self,
        graph: mx.sym.Symbol,
        devices: Sequence[mx.Context],
        settings: OptimizerSettings,
        *,
        batch_size: int,
        image_shape: int,
        max_objects: int,
        frozen: Collection[str],
    ) -> None:
        share = -(-batch_size // len(devices))
        self.replicas = [
            Replica(
                graph,
                device,
                batch_size=share,
                image_shape=image_shape,
                max_objects=max_objects,
                frozen=frozen,
            )
            for device in devices
        ]
        names = self.replicas[0].trained
        self._arguments = [[replica.arguments[name] for replica in self.replicas] for name in names]
        self._gradients = [[replica.gradients[name] for replica in self.replicas] for name in names]
        self._optimizer = Optimizer(settings, graph, names, len(devices))
        self._store = self._make_store(names) if len(devices) > 1 else None

    def _make_store(self, names: Sequence[str]) -> mx.kv.KVStore:
        store = mx.kv.create("device" if self.replicas[0].device.device_type == "gpu" else "local")
        store.init(list(names), [gradients[0].zeros_like() for gradients in self._gradients])
        self._names = list(names)
        return store

    def load(self, arguments: Arrays, states: Arrays) -> None:
        """Copy parameters to every device."""
        for replica in self.replicas:
            replica.load(arguments, states)

    def step(self, data: mx.nd.NDArray, label: NDArray[np.float32], learning_rate: float) -> LossSums:
        """Train on (n, 3, S, S) images with (n, objects, 5) labels; returns before the computation is done."""
        bounds = np.linspace(0, len(label), len(self.replicas) + 1).round().astype(int)
        sums = []
        for replica, begin, end in zip(self.replicas, bounds[:-1], bounds[1:], strict=True):
            if begin == end:
                for gradient in replica.gradients.values():
                    gradient[:] = 0
                continue
            part = mx.nd.array(label[begin:end])
            sums.append(replica.forward_backward(data[int(begin) : int(end)], part))
        if self._store is not None:
            for k, name in enumerate(self._names):
                self._store.push(name, self._gradients[k], priority=-k)
                self._store.pull(name, out=self._gradients[k], priority=-k)
        self._optimizer.step(self._gradients, self._arguments, learning_rate)
        return LossSums(sums)

    def parameters(self) -> tuple[dict[str, mx.nd.NDArray], dict[str, mx.nd.NDArray]]:
        """Return arguments and states of the first device (the others' arguments are the same)."""
        first = self.replicas[0]
        return first.arguments, first.states

    def align_states(self) -> None:
        """Give every device the first one's BatchNorm states, so that what is evaluated is what is saved."""
        first, *others = self.replicas
        for replica in others:
            for name, array in first.states.items():
                array.copyto(replica.states[name])

    def state(self) -> TrainingState:
        """Return what a later `restore` goes on from; its arrays change with the next step."""
        arguments, states = self.parameters()
        return TrainingState(arguments, states, self._optimizer.state())

    def fits(self, state: TrainingState) -> bool:
        """Say whether a state has all that this network and its optimizer need, in the same shapes."""
        arguments, states = self.parameters()
        shapes = {name: array.shape for name, array in arguments.items()}
        pairs = [(state.arguments.get(name), shape) for name, shape in shapes.items()]
        pairs += [(state.states.get(name), array.shape) for name, array in states.items()]
        pairs += [(state.optimizer.arrays.get(name), shapes[of]) for name, of in self._optimizer.array_names()]
        return all(array is not None and array.shape == shape for array, shape in pairs)

    def restore(self, state: TrainingState) -> None:
        """Go on from a state that fits, whatever number of devices it was taken with."""
        self.load(state.arguments, state.states)
        self._optimizer.restore(state.optimizer)
