"""A network that detects, with the parameters that a training or a saved model has on its devices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.errors import UserError

Arrays = Mapping[str, mx.nd.NDArray]


class NetworkReplica(Protocol):
    """One device's copy of a network's parameters."""

    @property
    def device(self) -> mx.Context:
        """The device."""

    @property
    def arguments(self) -> Arrays:
        """The parameters by name."""

    @property
    def states(self) -> Arrays:
        """BatchNorm's running mean and variance by name."""

    @property
    def executor(self) -> mx.executor.Executor | None:
        """What computes on them, whose memory a detector may use while it does not; None for memory of its own."""


@dataclass(frozen=True)
class Weights:
    """The replica of a network that is not trained any more."""

    device: mx.Context
    arguments: Arrays
    states: Arrays
    executor: None = None


class Detector:
    """A detection graph bound to the parameters that the replicas have now; make a new one when they have changed.

    On a CPU MXNet folds BatchNorm into the convolutions and converts their weights at the first forward pass, and
    keeps the result: a detector that is used on after an update goes on detecting with the old weights.
    `finite` says whether every prediction so far was a finite number, or since `check_finite`.
    """

    def __init__(
        self, graph: mx.sym.Symbol, replicas: Sequence[NetworkReplica], *, batch_size: int, image_shape: int
    ) -> None:
        share = -(-batch_size // len(replicas))
        self._executors = []
        self.finite = True
        wanted = set(graph.list_arguments())
        for replica in replicas:
            arguments = {name: array for name, array in replica.arguments.items() if name in wanted}
            arguments["data"] = mx.nd.zeros((share, 3, image_shape, image_shape), ctx=replica.device)
            bound = graph.bind(
                replica.device,
                args=arguments,
                aux_states=dict(replica.states),
                grad_req="null",
                shared_exec=replica.executor,
            )
            self._executors.append(bound)

    def detect(self, data: mx.nd.NDArray) -> list[NDArray[np.float32]]:
        """Return for each of (n, 3, S, S) images its (D, 6) detections: class_id, score, xmin, ymin, xmax, ymax."""
        outputs, images, begin = [], [], 0
        for executor in self._executors:
            inputs = executor.arg_dict["data"]
            end = min(begin + inputs.shape[0], data.shape[0])
            if begin == end:
                break
            # The last batch may be smaller: what an earlier one left in the rest is computed and not looked at.
            inputs[: end - begin] = data[begin:end]
            outputs.append(executor.forward(is_train=False))
            images.append(end - begin)
            begin = end
        self.finite &= all(np.isfinite(total.asnumpy()).all() for _, total in outputs)
        rows = [row for (output, _), count in zip(outputs, images, strict=True) for row in output.asnumpy()[:count]]
        return [row[row[:, 0] >= 0] for row in rows]

    def check_finite(self) -> None:
        """Raise UserError where a prediction since the last call was not a finite number."""
        finite, self.finite = self.finite, True
        if not finite:
            raise UserError(
                "the model's predictions are not finite numbers: its training has diverged, or its .params file is "
                "damaged; train again, or use another model"
            )
