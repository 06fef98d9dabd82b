"""How gradients become updates: summed in a KVStore for this host's optimizer, or sent to the servers of dist_async."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import mxnet as mx

from sagemaker_ssd.errors import ProgramError
from sagemaker_ssd.training.optimizer import Optimizer, OptimizerSettings, OptimizerState, create_optimizer
from sagemaker_ssd.training.schedule import ServerSchedule

DistributedKVStore = Literal["dist_sync", "dist_async"]
# The store of this process, which nothing gives up: MXNet waits for all other workers when the last reference to a
# store goes, and a worker that fails would never come to its end.
_joined: Final[list[mx.kv.KVStore]] = []


def connect(kind: DistributedKVStore, *, gpus: bool) -> mx.kv.KVStore:
    """Join the servers and the other hosts' workers that the DMLC_ variables name; once in a process.

    It waits for the scheduler, every server and every worker without an end of its own: the deadline is the
    supervisor's. From then on the process has to end by os._exit, since an interpreter that ends waits for all others;
    the scheduler and the servers do not see it leave and have to be killed.
    gpus: add up the devices' gradients on GPUs. Raises ProgramError the second time, which would wait for ever, and
    MXNetError when a variable is missing.
    """
    if _joined:
        raise ProgramError(f"{kind}: this process has a store already; join once and pass the store on")
    on_gpus = {"dist_sync": "dist_device_sync", "dist_async": "dist_async_device"}
    _joined.append(mx.kv.create(on_gpus[kind] if gpus else kind))
    return _joined[0]


def local_store(devices: Sequence[mx.Context]) -> mx.kv.KVStore | None:
    """Return the store of one host, None for one device."""
    if len(devices) == 1:
        return None
    return mx.kv.create("device" if devices[0].device_type == "gpu" else "local")


def is_asynchronous(store: mx.kv.KVStore | None) -> bool:
    """Say whether each host's updates count as they come, which makes the servers the place of the optimizer."""
    return store is not None and "async" in store.type


@dataclass(frozen=True)
class TrainedParameter:
    """A parameter that gets updates: its gradient and its value, one array a device each."""

    name: str
    gradients: Sequence[mx.nd.NDArray]
    values: Sequence[mx.nd.NDArray]


class Updates(Protocol):
    """What a trainer asks of either kind; world_size: the devices whose mean gradient is one update."""

    world_size: int

    def images_of_step(self, own: int, images: int | None) -> int:
        """Return how many images an update is made of, when `own` are this host's and `images` those of all hosts."""

    def begin(self, updates_before: int) -> None:
        """Take note that the values have been loaded, to which so many updates led that no state remembers."""

    def apply(self, images: int, learning_rate: float) -> None:
        """Update the values of every device by its gradients, which are of `images` images of this host."""

    def synchronize(self) -> None:
        """Give every host the values that all updates so far have led to."""

    def state(self) -> OptimizerState:
        """Return what the optimizer remembers."""

    def array_names(self) -> list[tuple[str, str]]:
        """Name the arrays of a state, each with the parameter whose shape it has."""

    def restore(self, state: OptimizerState) -> None:
        """Go on from what an optimizer remembered."""


def make_updates(
    settings: OptimizerSettings,
    graph: mx.sym.Symbol,
    parameters: Sequence[TrainedParameter],
    store: mx.kv.KVStore | None,
    schedule: ServerSchedule | None,
) -> Updates:
    """Return the updates that go with a store; raises ProgramError unless a schedule comes with dist_async alone."""
    if is_asynchronous(store) and schedule is not None:
        return ServerUpdates(settings, graph, parameters, store, schedule)
    if is_asynchronous(store) or schedule is not None:
        raise ProgramError("the servers' schedule goes with dist_async: give both or neither")
    return HostUpdates(settings, graph, parameters, store)


class HostUpdates:
    """All-reduces gradients over devices and hosts, and updates by an optimizer of this host, as every host does alike.

    store: dist_sync, the store of one host, or None for one device. All hosts have the same number of devices.
    """

    def __init__(
        self,
        settings: OptimizerSettings,
        graph: mx.sym.Symbol,
        parameters: Sequence[TrainedParameter],
        store: mx.kv.KVStore | None,
    ) -> None:
        devices = len(parameters[0].values)
        self._parameters, self._store = parameters, store
        self._hosts = 1 if store is None else store.num_workers
        self.world_size = devices * self._hosts
        names = [parameter.name for parameter in parameters]
        self._optimizer = Optimizer(settings, graph, names, devices, world_size=self.world_size)
        if store is not None:
            zeros = [parameter.gradients[0].zeros_like() for parameter in parameters]
            store.init(list(range(len(zeros))), zeros)

    def images_of_step(self, own: int, images: int | None) -> int:
        """Return those of all hosts; raises ProgramError when they are not given, or are fewer than this host's."""
        if images is None and self._hosts == 1:
            return own
        if images is None or images < own:
            raise ProgramError(
                f"a step of {own} images of this host is said to have {images} over {self._hosts} hosts; give the "
                "sum over all hosts"
            )
        return images

    def begin(self, updates_before: int) -> None:
        """Begin with an optimizer that remembers nothing; the values are never in the store."""
        self._optimizer.begin(updates_before)

    def apply(self, images: int, learning_rate: float) -> None:
        """Exchange the gradients with all hosts, those of no images too, and update."""
        if self._store is not None:
            for key, parameter in enumerate(self._parameters):
                # Always the same arrays: a push keeps them, and the next pull of the key writes into them.
                self._store.push(key, parameter.gradients, priority=-key)
                self._store.pull(key, out=parameter.gradients, priority=-key)
        gradients = [parameter.gradients for parameter in self._parameters]
        self._optimizer.step(gradients, [parameter.values for parameter in self._parameters], learning_rate)

    def synchronize(self) -> None:
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


class ServerUpdates:
    """Sends gradients to the servers of dist_async, whose optimizer applies each host's alone, and fetches the values.

    What the optimizer remembers stays on the servers: a state is empty, and restoring one does nothing.
    """

    def __init__(
        self,
        settings: OptimizerSettings,
        graph: mx.sym.Symbol,
        parameters: Sequence[TrainedParameter],
        store: mx.kv.KVStore,
        schedule: ServerSchedule,
    ) -> None:
        self._parameters, self._store = parameters, store
        # The devices of this host alone: an update is one host's.
        self.world_size = len(parameters[0].values)
        names = {key: parameter.name for key, parameter in enumerate(parameters)}
        self._optimizer = create_optimizer(settings, graph, names, world_size=self.world_size, lr_scheduler=schedule)
        self._begun = False

    def images_of_step(self, own: int, images: int | None) -> int:
        """Return this host's: its updates are of its own images."""
        return own

    def begin(self, updates_before: int) -> None:
        """Give the servers the optimizer and the values loaded here; all hosts must have loaded the same.

        The optimizer's schedule has the updates before, counted as the servers count.
        Raises ProgramError the second time: the servers would take new values for gradients.
        """
        if self._begun:
            raise ProgramError("dist_async: weights were loaded twice; the servers take them once, so load them once")
        self._begun = True
        if self._store.rank == 0:
            self._store.set_optimizer(self._optimizer)
        # Copies, since a push may keep its array and a pull may write into it. All hosts meet inside.
        values = [parameter.values[0].copy() for parameter in self._parameters]
        self._store.init(list(range(len(values))), values)

    def apply(self, images: int, learning_rate: float) -> None:
        """Push the gradients and pull the values; the servers have a learning rate of their own.

        Without images nothing is pushed: an update by nothing would count, and weights would decay. Raises
        ProgramError when no weights were loaded.
        """
        if not self._begun:
            raise ProgramError("dist_async: a step came before any weights; load or restore them first")
        if images == 0:
            return
        for key, parameter in enumerate(self._parameters):
            self._store.push(key, parameter.gradients, priority=-key)
            self._store.pull(key, out=parameter.values, priority=-key)

    def synchronize(self) -> None:
        """Wait for all hosts' updates so far and fetch the values; every host has to call it."""
        mx.nd.waitall()
        self._store._barrier()
        for key, parameter in enumerate(self._parameters):
            self._store.pull(key, out=parameter.values, priority=-key)
        mx.nd.waitall()
        # Nobody goes on to the next update before everybody has fetched the values.
        self._store._barrier()

    def state(self) -> OptimizerState:
        """Return an empty state."""
        return OptimizerState({}, 0)

    def array_names(self) -> list[tuple[str, str]]:
        """Name the arrays of a state: none."""
        return []

    def restore(self, state: OptimizerState) -> None:
        """Nothing: the servers' optimizer starts anew."""
