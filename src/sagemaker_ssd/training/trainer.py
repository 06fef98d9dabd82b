"""A network in training on the devices of this host, alone or together with other hosts (data parallelism)."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.training.optimizer import OptimizerSettings
from sagemaker_ssd.training.schedule import ServerSchedule
from sagemaker_ssd.training.state import TrainingState
from sagemaker_ssd.training.updates import TrainedParameter, local_store, make_updates

Arrays = Mapping[str, mx.nd.NDArray]
_INPUTS: Final = ("data", "label")


class Replica:
    """A training graph bound to a device with its own parameters and gradients.

    Frozen arguments have no gradient, so the part of the backward pass that only they need does not exist.
    `executor` computes a whole device batch; `trained` are the names of the arguments that have a gradient.
    """

    def __init__(
        self,
        graph: mx.sym.Symbol,
        device: mx.Context,
        *,
        batch_size: int,
        image_shape: int,
        max_objects: int,
        frozen: Collection[str],
    ) -> None:
        without_gradient = {*_INPUTS, *frozen}
        requests = {name: "null" if name in without_gradient else "write" for name in graph.list_arguments()}
        self.device = device
        self.trained = [name for name, request in requests.items() if request != "null"]
        self.executor: mx.executor.Executor = graph.simple_bind(
            device,
            grad_req=requests,
            data=(batch_size, 3, image_shape, image_shape),
            label=(batch_size, max_objects, 5),
        )
        self._executors = {batch_size: self.executor}

    @property
    def arguments(self) -> dict[str, mx.nd.NDArray]:
        """The parameters on this device by name."""
        return {name: array for name, array in self.executor.arg_dict.items() if name not in _INPUTS}

    @property
    def states(self) -> dict[str, mx.nd.NDArray]:
        """BatchNorm's running mean and variance on this device by name."""
        return dict(self.executor.aux_dict)

    @property
    def gradients(self) -> dict[str, mx.nd.NDArray]:
        """The gradient of every trained argument by name."""
        return {name: self.executor.grad_dict[name] for name in self.trained}

    def load(self, arguments: Arrays, states: Arrays) -> None:
        """Copy parameters to this device; every one of the graph must be given."""
        for name, array in self.arguments.items():
            arguments[name].copyto(array)
        for name, array in self.states.items():
            states[name].copyto(array)

    def forward_backward(self, data: mx.nd.NDArray, label: mx.nd.NDArray) -> mx.nd.NDArray:
        """Compute the gradients of (n, 3, S, S) images with (n, objects, 5) labels; return a copy of loss_sums."""
        executor = self._executor_of(data.shape[0])
        data.copyto(executor.arg_dict["data"])
        label.copyto(executor.arg_dict["label"])
        executor.forward(is_train=True)
        executor.backward()
        # A copy, because the next batch writes into the same output before the caller has to read it.
        return executor.outputs[2].copy()

    def scale_gradients(self, factor: float) -> None:
        """Multiply every gradient."""
        for gradient in self.gradients.values():
            gradient *= factor

    def clear_gradients(self) -> None:
        """Set every gradient to zero, as it is without images."""
        for gradient in self.gradients.values():
            gradient[:] = 0

    def _executor_of(self, images: int) -> mx.executor.Executor:
        if images not in self._executors:
            # Shares parameters, gradients and memory with the full one: only an epoch's last batch is smaller.
            shapes = {name: (images, *self.executor.arg_dict[name].shape[1:]) for name in _INPUTS}
            self._executors[images] = self.executor.reshape(**shapes)
        return self._executors[images]


@dataclass(frozen=True)
class LossSums:
    """One step's summed losses and the number of anchors that count, still being computed."""

    _sums: Sequence[mx.nd.NDArray]

    def read(self) -> NDArray[np.float64]:
        """Wait for cross entropy, smooth L1 and anchors of this host's images, summed over its devices: (3,)."""
        total = np.zeros(3)
        for sums in self._sums:
            total += sums.asnumpy()
        return total


class Trainer:
    """Splits each batch over the devices and updates every device's parameters alike.

    batch_size: of this host. store: what `connect` gave, for several hosts with the same number of devices each; None
    for one host. All hosts have to load the same parameters.
    schedule: the servers' learning rates, for dist_async alone, where the optimizer is on the servers.
    Raises ProgramError when one of the two lacks the other.
    """

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
        store: mx.kv.KVStore | None = None,
        schedule: ServerSchedule | None = None,
    ) -> None:
        device_batch_size = -(-batch_size // len(devices))
        self.replicas = [
            Replica(
                graph,
                device,
                batch_size=device_batch_size,
                image_shape=image_shape,
                max_objects=max_objects,
                frozen=frozen,
            )
            for device in devices
        ]
        arguments = [replica.arguments for replica in self.replicas]
        gradients = [replica.gradients for replica in self.replicas]
        # By size, because a store spreads small arrays over its servers in turn: weights and biases would part. Then by
        # name, because the hosts' graphs may differ in the order of their arguments.
        names = sorted(self.replicas[0].trained, key=lambda name: (-arguments[0][name].size, name))
        parameters = [
            TrainedParameter(name, [of[name] for of in gradients], [of[name] for of in arguments]) for name in names
        ]
        store = local_store(devices) if store is None else store
        self._updates = make_updates(settings, graph, parameters, store, schedule)

    def load(self, arguments: Arrays, states: Arrays, *, updates_before: int = 0) -> None:
        """Copy parameters to every device, and with dist_async to the servers, which take them once.

        updates_before: those that led to the parameters, where the optimizer's state is lost. With dist_async it is the
        schedule that has them.
        """
        for replica in self.replicas:
            replica.load(arguments, states)
        self._updates.begin(updates_before)

    def step(
        self,
        data: mx.nd.NDArray | None,
        label: NDArray[np.float32] | None,
        learning_rate: float,
        images: int | None = None,
    ) -> LossSums:
        """Train on (n, 3, S, S) images with (n, objects, 5) labels; returns before the computation is done.

        images: in this step over all hosts, each of which makes it, also without images (None, None); None: n. With
        dist_async a step is of this host's images alone, and the rate is the schedule's.
        Each image counts the same, wherever it is: a device with m of all the step's images weighs m / images.
        """
        own = 0 if label is None else len(label)
        images = self._updates.images_of_step(own, images)
        bounds = np.linspace(0, own, len(self.replicas) + 1).round().astype(int).tolist()
        sums = []
        for replica, begin, end in zip(self.replicas, bounds[:-1], bounds[1:], strict=True):
            if data is None or label is None or begin == end:
                replica.clear_gradients()
                continue
            sums.append(replica.forward_backward(data[begin:end], mx.nd.array(label[begin:end])))
            # The update divides the sum by the world size, which is right where every device has as many images.
            if (end - begin) * self._updates.world_size != images:
                replica.scale_gradients((end - begin) * self._updates.world_size / images)
        self._updates.apply(own, learning_rate)
        return LossSums(sums)

    def synchronize(self) -> None:
        """Give every host the same parameters, of all steps so far; every host has to call it after an epoch.

        With dist_async it waits for all hosts; otherwise there is nothing to do.
        """
        self._updates.synchronize()

    def digest(self) -> str:
        """Return the SHA-256 of the arguments, which is the same on every host after `synchronize`."""
        return digest(self.replicas[0].arguments)

    def parameters(self) -> tuple[dict[str, mx.nd.NDArray], dict[str, mx.nd.NDArray]]:
        """Wait for all steps; return arguments and states of the first device (the others' arguments are the same)."""
        # MXNet 1.9.1 does not know that BatchNorm's backward pass writes the states, so that reading one does not wait
        # for it: apache/mxnet issue 18610.
        mx.nd.waitall()
        first = self.replicas[0]
        return first.arguments, first.states

    def broadcast_states(self) -> None:
        """Give every device the first one's BatchNorm states, so that what is evaluated is what is saved."""
        _, states = self.parameters()
        for replica in self.replicas[1:]:
            for name, array in states.items():
                array.copyto(replica.states[name])

    def state(self) -> TrainingState:
        """Return what a later `restore` goes on from; its arrays change with the next step.

        With dist_async the optimizer's are not in it: they are on the servers.
        """
        arguments, states = self.parameters()
        return TrainingState(arguments, states, self._updates.state())

    def fits(self, state: TrainingState, *, optimizer: bool = True) -> bool:
        """Say whether a state has all that this network and its optimizer need, in the same shapes.

        optimizer: whether what the optimizer remembers is asked for.
        """
        arguments, states = self.parameters()
        shapes = {name: array.shape for name, array in arguments.items()}
        pairs = [(state.arguments.get(name), shape) for name, shape in shapes.items()]
        pairs += [(state.states.get(name), array.shape) for name, array in states.items()]
        if optimizer:
            pairs += [(state.optimizer.arrays.get(name), shapes[of]) for name, of in self._updates.array_names()]
        return all(array is not None and array.shape == shape for array, shape in pairs)

    def restore(self, state: TrainingState) -> None:
        """Go on from a state that fits, whatever number of devices and hosts it was taken with.

        With dist_async only the weights: the servers' optimizer starts anew.
        """
        self.load(state.arguments, state.states)
        self._updates.restore(state.optimizer)


def digest(arrays: Arrays) -> str:
    """Return the SHA-256 of the arrays' names, shapes and bytes, in the order of their names, in hexadecimal.

    By it hosts can tell whether their weights are the same.
    """
    found = hashlib.sha256()
    for name in sorted(arrays):
        found.update(f"{name} {arrays[name].shape}\n".encode())
        found.update(arrays[name].asnumpy())
    return found.hexdigest()
