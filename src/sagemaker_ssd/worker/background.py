"""Work that is done behind the training."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Background:
    """Does one piece of work at a time in a thread; what it raises is raised again where somebody looks."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._work: Future[None] | None = None

    def begin(self, work: Callable[[], None]) -> None:
        """Begin a piece of work, when the one before has ended."""
        self.wait()
        self._work = self._pool.submit(work)

    def check(self) -> None:
        """Look, without waiting, whether the work has failed."""
        if self._work is not None and self._work.done():
            self.wait()

    def wait(self) -> None:
        """Wait for the work's end."""
        work, self._work = self._work, None
        if work is not None:
            work.result()
