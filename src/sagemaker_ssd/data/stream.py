"""The bytes of a FIFO that the platform feeds, read once, with an end to every wait.

Source: Amazon SageMaker developer guide, `your-algorithms-training-algo-running-container.md`, "Pipe mode".
"""

import logging
import os
import select
from pathlib import Path
from types import TracebackType
from typing import Self

from sagemaker_ssd.data.findings import in_words
from sagemaker_ssd.errors import PlatformError, UserError

VARIABLE = "SAGEMAKER_SSD_PIPE_SECONDS"
# What a FIFO holds on Linux.
_CHUNK = 1 << 16
# Waits are counted in steps that passed without a byte, so that a process that was stopped meanwhile loses no time.
_STEP_SECONDS = 0.2
# From one log line about a wait to the next.
_REPORT_SECONDS = 30
_log = logging.getLogger(__name__)


class Stream:
    """The FIFO at `path` of the channel `name`, which may appear late; nothing for `patience` seconds ends the job.

    count: the bytes read so far. records: how many whole records they are, for the error, kept by whoever splits them.
    Raises PlatformError when the FIFO, its feeder or the next byte does not come in time.
    """

    def __init__(self, path: Path, *, name: str, patience: float) -> None:
        self.count = 0
        self.records = 0
        self._path, self._name, self._patience = path, name, patience
        self._ahead = bytearray()
        self._ended = False
        self._waited = 0.0
        self._file = self._open()
        self._waited = 0.0
        self._poll = select.poll()
        self._poll.register(self._file, select.POLLIN)

    def read(self, count: int, /) -> bytes:
        """Return the next `count` bytes, fewer only at the end."""
        self._fetch(count)
        data = bytes(self._ahead[:count])
        del self._ahead[:count]
        return data

    def peek(self, count: int) -> bytes:
        """Return the next `count` bytes without taking them, fewer only at the end."""
        self._fetch(count)
        return bytes(self._ahead[:count])

    def _open(self) -> int:
        while True:
            try:
                # Without O_NONBLOCK this would wait for a feeder, perhaps for ever.
                return os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                # The step of a poll that watches nothing.
                select.poll().poll(self._step() * 1000)
                self._count_step("did not appear within")
            except OSError as error:
                raise UserError(f"{self._path}: cannot be read: {error.strerror}") from error

    def _fetch(self, count: int) -> None:
        while len(self._ahead) < count and not self._ended:
            # Before the feeder has opened the FIFO, and while it writes nothing, there is no event; at its end POLLHUP.
            if not self._poll.poll(self._step() * 1000):
                self._count_step("gave nothing more for" if self.count else "gave nothing for")
                continue
            try:
                data = os.read(self._file, _CHUNK)
            except OSError as error:
                raise UserError(f"{self._path}: cannot be read: {error.strerror}") from error
            self._waited = 0.0
            self._ended = not data
            self.count += len(data)
            self._ahead += data

    def _step(self) -> float:
        return min(_STEP_SECONDS, self._patience)

    def _count_step(self, missing: str) -> None:
        reported = self._waited // _REPORT_SECONDS
        self._waited += self._step()
        if self._waited < self._patience:
            if self._waited // _REPORT_SECONDS > reported:
                _log.info("%s: the FIFO %s %s %.0f seconds", self._name, self._path, missing, self._waited)
            return
        records = in_words(self.records, "record", "records")
        raise PlatformError(
            f"channel {self._name}: the FIFO {self._path}, which the platform feeds in Pipe mode, {missing} "
            f"{self._patience:g} seconds, after {self.count:,} bytes and {records}. Start the job again, or use File "
            f"or FastFile mode; for a platform that is only slow set the environment variable {VARIABLE} to more "
            "seconds"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A feeder that still writes gets an error instead of waiting for a reader.
        os.close(self._file)
