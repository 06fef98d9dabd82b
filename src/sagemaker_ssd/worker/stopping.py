"""How the worker ends before its work is done, when it is asked to stop."""

import signal
import threading
import time

from sagemaker_ssd.contract.environment import StopBudget


class SigtermListener:
    """Ends the process at SIGTERM: never while `saving` is held, and not before a first model, if one is near.

    Python's signal handlers do not run while the main thread waits inside MXNet, so a thread of its own waits for the
    signal. There is nothing to clean up: the best model is on disk and the supervisor owns the temporary files.

    budget: after its time for saving the process ends in any case.
    """

    def __init__(self, budget: StopBudget) -> None:
        self.saving = threading.Lock()
        # Whether the job is to stop, and this process waits for a model.
        self.model_is_wanted = False
        self._budget = budget
        self._awaits_first_model = False
        self._may_end = threading.Event()
        self._may_end.set()

    def start(self) -> None:
        """Begin to listen; call before MXNet starts threads, since they inherit which signals are blocked."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=self._wait, daemon=True).start()

    def await_first_model(self) -> None:
        """Wait for `release` from now on, where there is time: who calls this looks at `model_is_wanted`."""
        if self._budget.first_model:
            self._awaits_first_model = True
            self.hold()

    def hold(self) -> None:
        """Wait for `release` from now on, because something is about to be saved."""
        self._may_end.clear()

    def release(self) -> None:
        """End without a further wait at SIGTERM, also at one that has come."""
        self._awaits_first_model = False
        self._may_end.set()

    def _wait(self) -> None:
        signal.sigwait({signal.SIGTERM})
        deadline = time.monotonic() + self._budget.saving
        self.model_is_wanted = self._awaits_first_model
        self._may_end.wait(self._budget.saving)
        self.saving.acquire(timeout=max(0.0, deadline - time.monotonic()))
        # The listener's lock ends with the process.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
