"""One host's part of a training by a plan: `python exchange_program.py PLAN HOST RESULT`, as a worker of MXNet's store.

Also called in a test's own process, for one host with as many devices.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import mxnet as mx
import numpy as np

from sagemaker_ssd.errors import ProgramError
from sagemaker_ssd.ssd.graphs import saved_graph, training_graph
from sagemaker_ssd.ssd.initial_values import initial_parameters
from sagemaker_ssd.ssd.network import Network
from sagemaker_ssd.training.loop import train_epoch
from sagemaker_ssd.training.optimizer import OptimizerSettings, OptimizerState
from sagemaker_ssd.training.schedule import Schedule, ServerSchedule
from sagemaker_ssd.training.state import TrainingState
from sagemaker_ssd.training.trainer import Trainer
from sagemaker_ssd.training.updates import connect
from training.small_network import FROZEN, IMAGE_SHAPE, POSITIONS, small_graph, small_images, small_values


@dataclass(frozen=True)
class Plan:
    """epochs: [epoch][step][host], the numbers of the images; network: small, vgg-16 or resnet-50.

    A host can have no images in its last steps. resumes: the epochs after the first are done a second time, from the
    state after it. begins_with_state: by a state that another kind of exchange has left; what must be refused is tried
    before and after. slow: the last host's updates come late, and it is slow to synchronize. fails: the
    last host does, in the middle of the first epoch.
    """

    epochs: list[list[list[list[int]]]]
    network: str = "small"
    kind: str = "dist_sync"
    devices: int = 1
    frozen: str | None = "^conv1_"
    settings: dict = field(default_factory=lambda: {"momentum": 0.9, "weight_decay": 0.02})
    rate: float = 0.1
    factor: float = 0.2
    rate_steps: tuple[int, ...] = (1,)
    resumes: bool = False
    begins_with_state: bool = False
    slow: bool = False
    fails: bool = False

    @property
    def schedule(self) -> Schedule:
        return Schedule(self.rate, self.factor, self.rate_steps)

    @property
    def batch_size(self) -> int:
        return max(len(share) for epoch in self.epochs for step in epoch for share in step)

    @property
    def updates_per_epoch(self) -> int:
        return sum(bool(share) for step in self.epochs[0] for share in step)

    def of_one_host(self) -> "Plan":
        """Return the same steps, with the hosts' images in a row as one host's, which has a device for each of them."""
        hosts = len(self.epochs[0][0])
        epochs = [[[[image for share in step for image in share]] for step in epoch] for epoch in self.epochs]
        return Plan(**{**asdict(self), "epochs": epochs, "devices": self.devices * hosts})


def make_trainer(plan: Plan, store: mx.kv.KVStore | None) -> tuple[Trainer, dict, dict]:
    """Return a trainer and the parameters to load."""
    batch_size = plan.batch_size
    if plan.network == "small":
        graph, frozen, size, objects = small_graph(), set(FROZEN) if plan.frozen else set(), IMAGE_SHAPE, POSITIONS
        arguments, states = {name: mx.nd.array(value) for name, value in small_values().items()}, {}
    else:
        network = Network(plan.network, 300, num_classes=3)
        freezing = network.freeze(plan.frozen)
        frozen, size, objects = freezing.arguments, 300, 1
        graph = training_graph(network, empty_images=False, frozen=freezing)
        drawn = initial_parameters(saved_graph(network), 300, seed=5)
        arguments, states = drawn.arguments, drawn.states
    schedule = None
    if plan.kind == "dist_async":
        schedule = ServerSchedule(plan.schedule, updates_per_epoch=plan.updates_per_epoch)
    made = Trainer(
        graph,
        [mx.cpu(number) for number in range(plan.devices)],
        OptimizerSettings("sgd", plan.rate, **plan.settings),
        batch_size=batch_size,
        image_shape=size,
        max_objects=objects,
        frozen=frozen,
        store=store,
        schedule=schedule,
    )
    return made, arguments, states


def images(plan: Plan, numbers: list[int]) -> tuple[mx.nd.NDArray, np.ndarray]:
    if plan.network == "small":
        data, label = small_images(numbers)
        return mx.nd.array(data), label
    chances = [np.random.RandomState(number) for number in numbers]
    data = np.array([chance.uniform(-128, 128, (3, 300, 300)) for chance in chances])
    corners = [chance.uniform(0, 0.5, 2) for chance in chances]
    label = [[[number % 3, *corner, *(corner + 0.4)]] for number, corner in zip(numbers, corners, strict=True)]
    return mx.nd.array(data), np.array(label, np.float32)


class SlowStore:
    """A store that gets gradients late, and that takes its time for the pulls after a barrier."""

    def __init__(self, store: mx.kv.KVStore) -> None:
        self._store, self._met = store, False
        self._work = mx.nd.ones((1500, 1500))

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    def _barrier(self) -> None:
        self._store._barrier()
        self._met = True

    def push(self, key: int, gradients: list[mx.nd.NDArray], **how) -> None:
        self._met = False
        if key == 0:
            # Nothing is added, but only after a while, and nobody waits for it here.
            gradients[0] += mx.nd.dot(self._work, self._work)[0, 0].reshape((1,) * gradients[0].ndim) * 0
        self._store.push(key, gradients, **how)

    def pull(self, key: int, **how) -> None:
        time.sleep(0.03 * self._met)
        self._store.pull(key, **how)


class Host:
    """A trainer that follows a plan and notes the weights after every step."""

    def __init__(self, plan: Plan, host: int, store: mx.kv.KVStore | None) -> None:
        self._plan, self._host = plan, host
        self.weights: dict[str, dict[str, np.ndarray]] = {}
        self.facts: dict = {"digests": [], "images": [], "anchors": [], "steps": [], "refused": []}
        self.trainer, *parameters = make_trainer(plan, store)
        if plan.begins_with_state:
            self._begin_with_state(*parameters)
        else:
            self.trainer.load(*parameters)

    def _begin_with_state(self, arguments: dict, states: dict) -> None:
        momentum = {f"momentum:{name}": mx.nd.ones(array.shape) for name, array in arguments.items()}
        state = TrainingState(arguments, states, OptimizerState(momentum, 5))
        self.refuses(lambda: self.trainer.step(*images(self._plan, [0]), 0.1))
        assert self.trainer.fits(state)
        self.trainer.restore(state)
        self.refuses(lambda: self.trainer.restore(state))

    def refuses(self, wrong) -> None:
        try:
            wrong()
        except ProgramError as error:
            self.facts["refused"].append(error.sentence)

    def _note(self, key: str) -> None:
        self.weights[key] = {name: array.asnumpy() for name, array in self.trainer.parameters()[0].items()}

    def _batches(self, epoch: int) -> Iterator[tuple[mx.nd.NDArray, np.ndarray]]:
        for number, step in enumerate(self._plan.epochs[epoch]):
            if self._plan.fails and number == 1 and self._host == len(step) - 1:
                raise ValueError("this host fails")
            if step[self._host]:
                yield images(self._plan, step[self._host])

    def epoch(self, epoch: int, key: str = "") -> None:
        plan, steps = self._plan, self._plan.epochs[epoch]
        # To note the weights is to wait for them.
        every_step = plan.network == "small" and not plan.slow
        losses = train_epoch(
            self.trainer,
            self._batches(epoch),
            totals=[sum(map(len, step)) for step in steps],
            epoch=epoch,
            rate=lambda step: plan.schedule.rate(epoch, step, len(steps)),
            observe=lambda progress: self._note(f"{key}{epoch}.{progress.batches - 1}") if every_step else None,
        )
        self.trainer.synchronize()
        self._note(f"{key}{epoch}")
        told = (self.trainer.digest(), losses.images, losses.anchors, losses.batches)
        for name, value in zip(("digests", "images", "anchors", "steps"), told, strict=True):
            self.facts[name].append(value)

    def follow(self) -> None:
        for epoch in range(len(self._plan.epochs)):
            self.epoch(epoch)
            if epoch == 0:
                kept = self.trainer.state().copied(optimizer=True)
        if self._plan.resumes:
            assert self.trainer.fits(kept)
            self.trainer.restore(kept)
            for epoch in range(1, len(self._plan.epochs)):
                self.epoch(epoch, "again ")


def alone(plan: Plan) -> Host:
    """Follow a plan's steps in this process, with a device for each host's share."""
    host = Host(plan.of_one_host(), 0, None)
    host.follow()
    return host


def main() -> None:
    plan, number, result = Plan(**json.loads(Path(sys.argv[1]).read_text())), int(sys.argv[2]), sys.argv[3]
    store = connect(plan.kind, gpus=False)
    host = Host(plan, number, SlowStore(store) if plan.slow and number == len(plan.epochs[0][0]) - 1 else store)
    if plan.begins_with_state:
        host.refuses(lambda: connect(plan.kind, gpus=False))
    host.follow()
    noted = {f"{moment}/{name}": array for moment, of in host.weights.items() for name, array in of.items()}
    np.savez(result, facts=json.dumps(host.facts), **noted)


if __name__ == "__main__":
    code = 0
    try:
        main()
    except BaseException:
        traceback.print_exc()
        code = 1
    # Nothing but the engine holds the store here.
    sys.stderr.flush()
    os._exit(code)
