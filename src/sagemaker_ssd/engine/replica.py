"""One device's copy of the network that trains."""

from collections.abc import Collection, Mapping

import mxnet as mx

Arrays = Mapping[str, mx.nd.NDArray]


class Replica:
    """A training graph bound to a device with its own parameters and gradients.

    Frozen arguments have no gradient, so the part of the backward pass that only they need does not exist.
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
        still = {"data", "label", *frozen}
        requests = {name: "null" if name in still else "write" for name in graph.list_arguments()}
        executor = graph.simple_bind(
            device,
            grad_req=requests,
            data=(batch_size, 3, image_shape, image_shape),
            label=(batch_size, max_objects, 5),
        )
        self.device = device
        self.trained = [name for name, request in requests.items() if request != "null"]
        self._full = executor
        self._executors = {batch_size: executor}

    @property
    def arguments(self) -> dict[str, mx.nd.NDArray]:
        """The parameters on this device by name."""
        inputs = ("data", "label")
        return {name: array for name, array in self._full.arg_dict.items() if name not in inputs}

    @property
    def states(self) -> dict[str, mx.nd.NDArray]:
        """BatchNorm's running mean and variance on this device by name."""
        return dict(self._full.aux_dict)

    @property
    def executor(self) -> mx.executor.Executor:
        """What computes a whole share of a batch."""
        return self._full

    @property
    def gradients(self) -> dict[str, mx.nd.NDArray]:
        """The gradient of every trained argument by name."""
        return {name: self._full.grad_dict[name] for name in self.trained}

    def load(self, arguments: Arrays, states: Arrays) -> None:
        """Copy parameters to this device; every one of the graph must be given."""
        for name, array in self.arguments.items():
            arguments[name].copyto(array)
        for name, array in self.states.items():
            states[name].copyto(array)

    def forward_backward(self, data: mx.nd.NDArray, label: mx.nd.NDArray) -> mx.nd.NDArray:
        """Compute the gradients of (n, 3, S, S) images with (n, objects, 5) labels; return a copy of loss_sums."""
        executor = self._executor(data.shape[0])
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

    def _executor(self, images: int) -> mx.executor.Executor:
        if images not in self._executors:
            # Shares parameters, gradients and memory with the full one: only an epoch's last batch is smaller.
            shapes = {name: (images, *self._full.arg_dict[name].shape[1:]) for name in ("data", "label")}
            self._executors[images] = self._full.reshape(**shapes)
        return self._executors[images]
