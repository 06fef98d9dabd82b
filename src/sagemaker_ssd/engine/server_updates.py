"""Updates by the optimizer of dist_async's servers, from each host's gradients as they come."""

from collections.abc import Sequence

import mxnet as mx

from sagemaker_ssd.engine.optimizer import OptimizerSettings, OptimizerState, create_optimizer
from sagemaker_ssd.engine.server_schedule import ServerSchedule
from sagemaker_ssd.engine.updates import Trained
from sagemaker_ssd.errors import ProgramError


class ServerUpdates:
    """Sends gradients to the servers of dist_async, whose optimizer applies each host's alone, and fetches the values.

    What the optimizer remembers stays on the servers: a state is empty, and restoring one does nothing.
    """

    def __init__(
        self,
        settings: OptimizerSettings,
        graph: mx.sym.Symbol,
        parameters: Sequence[Trained],
        store: mx.kv.KVStore,
        schedule: ServerSchedule,
    ) -> None:
        self._parameters, self._store = parameters, store
        self.shares = len(parameters[0].values)
        names = {key: parameter.name for key, parameter in enumerate(parameters)}
        self._optimizer = create_optimizer(settings, graph, names, shares=self.shares, lr_scheduler=schedule)
        self._begun = False

    def images_of_step(self, own: int, images: int | None) -> int:
        """Return this host's: its updates are of its own images."""
        return own

    def begin(self) -> None:
        """Give the servers the optimizer and the values loaded here; all hosts must have loaded the same.

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

    def settle(self) -> None:
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
