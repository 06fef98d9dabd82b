"""A TCP connection that carries messages, and the time by which a process that may have been paused judges one."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

from sagemaker_ssd.coordination.protocol import LONGEST_LINE, Message, decode

_CLOSED: Final = "the other side closed it"
_TOO_LONG: Final = "it sent a line that is too long"
_POLL_SECONDS: Final = 0.02
# A tick that comes later than that comes late because this process was not awake, not because others were silent.
_LONGEST_TICK: Final = 2


class Connection(asyncio.Protocol):
    """Hands each message to `received` as soon as its bytes are read, and its end, with the reason, once to `ended`.

    `silent_seconds` is for the caller to count: the seconds since bytes came, which set it to 0. `longest_line` is for
    the caller to raise: a longer one ends the connection.
    """

    def __init__(
        self,
        opened: Callable[["Connection"], None],
        received: Callable[["Connection", Message], None],
        ended: Callable[["Connection", str], None],
    ) -> None:
        self._opened, self.received, self.ended = opened, received, ended
        self.silent_seconds = 0.0
        self.longest_line = LONGEST_LINE
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; asyncio sets TCP_NODELAY by itself."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._opened(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        self.silent_seconds = 0.0
        self._buffer += data
        if b"\n" in data:
            *lines, rest = self._buffer.split(b"\n")
            self._buffer = bytearray(rest)
            for line in lines:
                self._receive_line(bytes(line))
        if len(self._buffer) > self.longest_line:
            self.abort(_TOO_LONG)

    def _receive_line(self, line: bytes) -> None:
        if self._over:
            return
        if len(line) > self.longest_line:
            self.abort(_TOO_LONG)
            return
        try:
            message = decode(line)
        except ValueError:
            self.abort("it sent something that is not a message of this program")
        else:
            self.received(self, message)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        reason = getattr(exc, "strerror", None) or (_CLOSED if exc is None else str(exc) or type(exc).__name__)
        self._end(reason)

    def send(self, line: bytes) -> None:
        """Send an encoded message; without effect when the connection has ended."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(line)

    def close(self) -> None:
        """Close this side when everything has been sent; `ended` follows."""
        if self._transport is not None:
            self._transport.close()

    def abort(self, reason: str) -> None:
        """End at once."""
        if self._transport is not None:
            self._transport.abort()
        self._end(reason)

    def _end(self, reason: str) -> None:
        if not self._over:
            self._over = True
            self._buffer.clear()
            self.ended(self, reason)

    @property
    def own_address(self) -> str:
        """The address of this side."""
        address = self._socket_address("sockname")
        return "unknown" if address is None else address[0]

    @property
    def peer(self) -> str:
        """Address and port of the other side, for the log."""
        address = self._socket_address("peername")
        return "unknown" if address is None else f"{address[0]}:{address[1]}"

    def _socket_address(self, which: str) -> tuple[str, int] | None:
        found = self._transport.get_extra_info(which) if self._transport is not None else None
        return (str(found[0]), found[1]) if found else None


async def ticks(interval: float) -> AsyncIterator[float]:
    """Tick about every `interval` seconds for ever, with the seconds since the last that this process was awake."""
    before = time.monotonic()
    while True:
        await asyncio.sleep(interval)
        # On waking, timers can run before the sockets are looked at: after two rounds of the loop, what came in
        # meanwhile (a verdict, heartbeats) has been read, and only then is anything judged.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        now = time.monotonic()
        yield min(now - before, _LONGEST_TICK * interval)
        before = now


async def wait_while(condition: Callable[[], bool], seconds: float) -> None:
    """Wait as long as a condition holds, for so many seconds at most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while condition():
                await asyncio.sleep(_POLL_SECONDS)
