"""check-gpu with one thing broken in its parts: `broken_check.py KIND` prints what it finds then, as JSON.

With BROKEN in the environment it is the part's process itself, and breaks the training's code before the part runs.
"""

import argparse
import os
import sys
from collections.abc import Callable

import mxnet as mx

from sagemaker_ssd.check_gpu import __main__ as check
from sagemaker_ssd.check_gpu import part
from sagemaker_ssd.check_gpu.findings import to_json
from sagemaker_ssd.check_gpu.plan import Plan
from sagemaker_ssd.scoring.detector import Detector
from sagemaker_ssd.training.trainer import Replica, Trainer
from sagemaker_ssd.training.updates import HostUpdates

BROKEN = mx.cpu(1)
TWO = ("cpu(0)", "cpu(1)")
MEMORY_BYTES = 8 << 30


def wrong_step() -> None:
    """One device computes other losses, another gradient and other states, and lets frozen layers move."""
    right = Replica.forward_backward

    def forward_backward(self: Replica, data: mx.nd.NDArray, label: mx.nd.NDArray) -> mx.nd.NDArray:
        sums = right(self, data, label)
        if self.device != BROKEN:
            return sums
        mx.nd.waitall()
        self.gradients["stage2_unit1_conv1_weight"][:] *= 1.01
        self.states["bn0_moving_mean"][:] += 0.1
        return sums * 1.01

    Replica.forward_backward = forward_backward
    build = Trainer.__init__
    Trainer.__init__ = lambda self, *given, frozen, **more: build(
        self, *given, frozen={name for name in frozen if name != "conv0_weight"}, **more
    )


def wrong_detections() -> None:
    right = Detector.__init__

    def bind(self: Detector, graph: mx.sym.Symbol, replicas: list, **more: int) -> None:
        if replicas[0].device == BROKEN:
            replicas[0].arguments["conv0_weight"][:] *= 1.05
        right(self, graph, replicas, **more)

    Detector.__init__ = bind


def lost_update() -> None:
    """One device forgets an update."""
    right, calls = HostUpdates.apply, {"all": 0}

    def apply(self: HostUpdates, images: int, learning_rate: float) -> None:
        calls["all"] += self._parameters[0].values[0].context == BROKEN
        if calls["all"] % 3 != 2:
            right(self, images, learning_rate)

    HostUpdates.apply = apply


def alone() -> None:
    """The devices do not add up their gradients, and each goes its own way."""

    def apply(self: HostUpdates, images: int, learning_rate: float) -> None:
        gradients = [parameter.gradients for parameter in self._parameters]
        self._optimizer.step(gradients, [parameter.values for parameter in self._parameters], learning_rate)

    HostUpdates.apply = apply


def other_gradients_of_a_host() -> None:
    right = HostUpdates.apply

    def apply(self: HostUpdates, images: int, learning_rate: float) -> None:
        for parameter in self._parameters:
            if parameter.values[0].context == BROKEN and len(parameter.values) == 1:
                parameter.gradients[0][:] *= 1.5
        right(self, images, learning_rate)

    HostUpdates.apply = apply


def dies() -> None:
    os.abort()


def fits() -> None:
    """There is room for the batch: it is a small one."""
    right = part._trainer
    part._trainer = lambda plan, images: right(plan, 1)
    part.drawn_batch = lambda network, images, seed, draw=part.drawn_batch: draw(network, 1, seed)
    part._LEFT_BYTES_ON_CPU = MEMORY_BYTES


def computes_something_else() -> None:
    right = mx.nd.dot
    mx.nd.dot = lambda one, other: right(one, other) + (one.context == BROKEN)


# Under each name what is broken, and the part of check-gpu that must notice.
KINDS: dict[str, tuple[Callable[[], None], Callable[[check.Checker], object]]] = {
    "step": (wrong_step, lambda checker: checker._part(Plan("network", TWO), "a step")),
    "detections": (wrong_detections, lambda checker: checker._part(Plan("network", TWO), "detections")),
    "updates": (lost_update, lambda checker: checker._part(Plan("optimizers", ("cpu(1)",)), "updates")),
    "together": (alone, lambda checker: checker._part(Plan("together", TWO), "together")),
    "processes": (other_gradients_of_a_host, lambda checker: checker._over_processes(Plan("host", TWO))),
    "a dead process": (dies, lambda checker: checker._over_processes(Plan("host", TWO))),
    "kill": (dies, lambda checker: checker._kill_in_a_step(Plan("endless", TWO))),
    "after the kill": (
        computes_something_else,
        lambda checker: checker._kill_in_a_step(Plan("endless", TWO)),
    ),
    "memory": (fits, lambda checker: checker._out_of_memory(Plan("exhaust", ("cpu(0)",), batches=(64,)))),
}


def main() -> None:
    if "BROKEN" in os.environ:
        plan = Plan.from_json(sys.argv[1])
        if plan.part != "probe" or os.environ["BROKEN"] == "after the kill":
            KINDS[os.environ["BROKEN"]][0]()
        part.main()
    kind = sys.argv[1]
    os.environ["BROKEN"] = kind
    check._PART = "check_gpu.broken_check"
    options = argparse.Namespace(minutes=4.0, memory_gib=MEMORY_BYTES / (1 << 30))
    checker = check.Checker(options, list(TWO))
    KINDS[kind][1](checker)
    print(to_json(checker.findings))


if __name__ == "__main__":
    main()
