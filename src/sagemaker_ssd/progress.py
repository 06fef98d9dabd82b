"""Lines that say what a program does and how far it is, so that none is silent for a minute."""

import datetime
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

_log = logging.getLogger(__name__)
# Less than a minute by what a busy machine may be late.
SECONDS_BETWEEN_LINES: Final = 50.0
# A phase of two processes: of the supervisor, and of the worker, which reads them again.
READING_FILES: Final = "The job's files are being read"


class _Silence(logging.Handler):
    """Since when nothing has been logged."""

    def __init__(self) -> None:
        super().__init__()
        self.since = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Note that something is logged."""
        self.since = time.monotonic()


@dataclass(frozen=True)
class _UnderWay:
    """What a block does: gives its line, from the seconds since it began."""

    describe: Callable[[float], str]
    begin: float

    def log(self) -> None:
        _log.info("%s", self.describe(time.monotonic() - self.begin))


# The innermost last.
_under_way: list[_UnderWay] = []


@contextmanager
def progress_lines(
    describe: Callable[[float], str], *, every: float = SECONDS_BETWEEN_LINES, first: float | None = None
) -> Iterator[None]:
    """Log a line whenever nothing else has been logged for so many seconds, until the block ends.

    describe: gives the line, from the seconds since the block began; it is called in a thread of its own, so that
    lines come whatever the program waits for. first: the seconds until the first line, where that is to come sooner. Of
    blocks within one another the innermost tells, and the outermost's `every` and `first` count, since silence can
    begin in one block and go on in the next.
    """
    block = _UnderWay(describe, time.monotonic())
    _under_way.append(block)
    try:
        if len(_under_way) == 1:
            with _logged_silence(every, every if first is None else first):
                yield
        else:
            yield
    finally:
        _under_way.remove(block)


@contextmanager
def _logged_silence(every: float, first: float) -> Iterator[None]:
    silence, ended = _Silence(), threading.Event()

    def log_when_due() -> None:
        # Counted here too, since no handler sees the line where the log's level is above it.
        last, allowed = silence.since, first
        while not ended.wait(max(last + allowed - time.monotonic(), 0)):
            last = max(last, silence.since)
            # The end of a block in the other thread leaves the one around it.
            blocks = _under_way[-1:]
            if blocks and time.monotonic() - last >= allowed:
                blocks[0].log()
                last, allowed = time.monotonic(), every

    logging.getLogger().addHandler(silence)
    thread = threading.Thread(target=log_when_due, name="progress lines", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        logging.getLogger().removeHandler(silence)


@contextmanager
def phase(name: str, *, every: float = SECONDS_BETWEEN_LINES, first: float | None = None) -> Iterator[None]:
    """Log `progress_lines` that say how long something takes; name: `The channel train is being checked`."""
    with progress_lines(lambda seconds: f"{name}, for {duration(seconds)} so far", every=every, first=first):
        yield


def duration(seconds: float) -> str:
    """Write seconds as hours, minutes and seconds: 0:12:30."""
    return str(datetime.timedelta(seconds=round(seconds)))


def images_line(activity: str, done: int, images: int, seconds: float) -> str:
    """Return how far something is that takes image by image: `Detection: 8 of 48 images in 0:00:10, ...`."""
    line = f"{activity}: {done:,} of {images:,} images in {duration(seconds)}"
    if not done:
        return line
    return f"{line}, {done / seconds:.1f} images/s; about {duration(seconds / done * (images - done))} left"
