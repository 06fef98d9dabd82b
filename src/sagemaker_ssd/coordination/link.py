"""The link between the supervisors of a job's hosts.

The first host listens, every other one has a connection to it. Over them the hosts meet, gather small values from one
another, watch one another, and agree how the job ends; MXNet's parameter server waits for ever for a process that died.
"""

import asyncio
import contextlib
import json
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from sagemaker_ssd.contract.environment import Deadlines
from sagemaker_ssd.coordination.coordinator import Coordinator
from sagemaker_ssd.coordination.participant import Participant
from sagemaker_ssd.coordination.protocol import LONGEST_VALUE, Handshake, Outcome
from sagemaker_ssd.coordination.state import LinkState, Rendezvous
from sagemaker_ssd.errors import internal_error

GatherCallback = Callable[[list[object]], None]
_log = logging.getLogger(__name__)
_LAST_SECONDS: Final = 5.0


class Link:
    """This host's end of the link; its methods are for other threads than its own.

    deadlines: in seconds. port: where the first host listens, the same on all hosts.
    """

    def __init__(self, handshake: Handshake, deadlines: Deadlines, port: int) -> None:
        self._here, self._deadlines = handshake.host, deadlines
        self._state = LinkState()
        side = Coordinator if handshake.host == handshake.hosts[0] else Participant
        self._side: Coordinator | Participant = side(handshake, deadlines, port, self._state, self._deliver_values)
        # By name the calls of `all_gather` on this host that wait for the values of all hosts.
        self._gathers: dict[str, deque[GatherCallback]] = {}
        self._loop = asyncio.new_event_loop()
        self._leave = asyncio.Event()
        self._leave_seconds = 0.0
        self._stop_was_requested, self._outcome_was_reported, self._closing = False, False, False
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)

    def start(self) -> None:
        """Open it in a thread of its own; returns at once."""
        self._thread.start()

    def wait(self, seconds: float) -> None:
        """Wait until rendezvous, stopping or verdict may have changed, at most so long."""
        self._state.changed.wait(seconds)
        self._state.changed.clear()

    @property
    def rendezvous(self) -> Rendezvous | None:
        """What is known once all hosts have met."""
        return self._state.rendezvous

    @property
    def stopping(self) -> bool:
        """Whether a host was asked to stop."""
        return self._state.stopping

    @property
    def verdict(self) -> Outcome | None:
        """How the job ends, None until that is settled; it never changes."""
        return self._state.verdict

    def request_stop(self) -> None:
        """Tell all hosts that this one was asked to stop."""
        if not self._stop_was_requested:
            self._stop_was_requested = True
            self._call(self._side.request_stop)

    def report_outcome(self, outcome: Outcome) -> None:
        """Tell how this host's part ended; only the first time counts."""
        if not self._outcome_was_reported:
            self._outcome_was_reported = True
            self._call(self._side.report_outcome, outcome)

    def all_gather(self, name: str, value: object, callback: GatherCallback) -> None:
        """Give this host's JSON value for `name`; `callback` gets all hosts' in their order, in the link's thread.

        Raises TypeError or ValueError for a value that is not JSON, or that is longer than 1 MiB.
        """
        text = json.dumps(value)
        if len(text) > LONGEST_VALUE:
            raise ValueError(f"the value of {name} takes {len(text)} characters; at most {LONGEST_VALUE} are allowed")
        # All hosts, this one too, get values as JSON gives them back.
        self._call(self._give_value, name, json.loads(text), callback)

    def _give_value(self, name: str, value: object, callback: GatherCallback) -> None:
        self._gathers.setdefault(name, deque()).append(callback)
        self._side.all_gather(name, value)

    def _deliver_values(self, name: str, values: list[object]) -> None:
        """Hand the values of all hosts to the call that has waited longest for `name`."""
        waiting = self._gathers[name]
        callback = waiting.popleft()
        if not waiting:
            del self._gathers[name]
        # By way of the loop, so that what the callback raises is the link's failure and not the connection's.
        self._loop.call_soon(callback, values)

    def leave(self, seconds: float = 5) -> None:
        """Begin to leave: once the verdict is with the others, or after so long; without a verdict at once.

        Where the job failed before all hosts had met, the first host first waits up to `late` seconds for the others,
        unless it is asked to stop meanwhile.
        """
        self._leave_seconds = seconds
        self._call(self._leave.set)

    def left(self, seconds: float) -> bool:
        """Wait up to `seconds` until it has left, and say whether it has."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def close(self, seconds: float = 5) -> None:
        """Leave, and wait for it."""
        self.leave(seconds)
        self.left(self._deadlines.late + seconds + _LAST_SECONDS)

    def _call(self, method: Any, *arguments: object) -> None:
        # Nobody listens any more after close.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(method, *arguments)

    def _run(self) -> None:
        try:
            self._loop.set_exception_handler(self._handle_exception)
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._main())
        except Exception as error:
            self._break(error)

    async def _main(self) -> None:
        work = asyncio.create_task(self._side.run())
        work.add_done_callback(self._work_ended)
        await self._leave.wait()
        await self._side.leave(self._leave_seconds)
        self._closing = True
        work.cancel()

    def _work_ended(self, work: asyncio.Task[None]) -> None:
        error: BaseException | None
        if work.cancelled():
            error = None if self._closing else RuntimeError("its work was cancelled")
        else:
            error = work.exception()
        if error is not None:
            self._break(error)

    def _handle_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception") or RuntimeError(str(context["message"]))
        if str(context["message"]).startswith("socket.accept() out of system resource"):
            # asyncio tries again in a second.
            _log.warning("Cannot take a connection for now: %s", error)
        elif not self._closing:
            self._break(error)

    def _break(self, error: BaseException) -> None:
        _log.error("unexpected error in the link between the hosts", exc_info=error)
        bug = internal_error(f"the link of host {self._here} to the others broke: {type(error).__name__}: {error}")
        ending = Outcome("failed", "", bug.exit_code, bug.sentence)
        try:
            self._side.fail(ending)
        finally:
            self._state.set_verdict(ending)
