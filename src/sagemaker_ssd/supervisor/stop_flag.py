"""Whether this host was asked to stop, as a signal's handler can note it at any moment."""

import signal
from types import FrameType
from typing import Final

from sagemaker_ssd.errors import PlatformError

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class StopFlag:
    """A plain value: a threading.Event has a lock, which a second signal's handler would wait for, for ever."""

    def __init__(self) -> None:
        self._is_set = False

    def is_set(self) -> bool:
        """Say whether this host was asked to stop."""
        return self._is_set

    def set(self) -> None:
        """Note that this host was asked to stop."""
        self._is_set = True

    def answer_signals(self) -> None:
        """Answer SIGTERM and SIGINT from now on; call in the main thread."""
        for number in STOP_SIGNALS:
            signal.signal(number, self._answer)

    def _answer(self, number: int, frame: FrameType | None) -> None:
        self._is_set = True


class StoppedEarlyError(PlatformError):
    """This host was asked to stop before the training began."""

    def __init__(self) -> None:
        super().__init__("stopped on request before the training began, so there is no new model")
