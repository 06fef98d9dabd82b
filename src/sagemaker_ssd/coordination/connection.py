"""A TCP connection that carries messages."""

import asyncio
from collections.abc import Callable
from typing import Final

from sagemaker_ssd.coordination.protocol import LONGEST_LINE, Message, decode

CLOSED: Final = "the other side closed it"


class Connection(asyncio.Protocol):
    """Hands each message to `received` as soon as its bytes are read, and its end, with the reason, once to `ended`.

    `quiet` is for the caller to count: the seconds since bytes came, which set it to 0.
    """

    def __init__(
        self,
        opened: Callable[["Connection"], None],
        received: Callable[["Connection", Message], None],
        ended: Callable[["Connection", str], None],
    ) -> None:
        self._opened, self.received, self.ended = opened, received, ended
        self.quiet = 0.0
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
        self.quiet = 0.0
        self._buffer += data
        if b"\n" in data:
            *lines, rest = self._buffer.split(b"\n")
            self._buffer = bytearray(rest)
            for line in lines:
                self._take(bytes(line))
        if len(self._buffer) > LONGEST_LINE:
            self.give_up("it sent a line that is too long")

    def _take(self, line: bytes) -> None:
        if self._over:
            return
        if len(line) > LONGEST_LINE:
            self.give_up("it sent a line that is too long")
            return
        try:
            message = decode(line)
        except ValueError:
            self.give_up("it sent something that is not a message of this program")
        else:
            self.received(self, message)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        reason = getattr(exc, "strerror", None) or (CLOSED if exc is None else str(exc) or type(exc).__name__)
        self._end(reason)

    def send(self, line: bytes) -> None:
        """Send an encoded message; without effect when the connection has ended."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(line)

    def close(self) -> None:
        """Close this side when everything has been sent; `ended` follows."""
        if self._transport is not None:
            self._transport.close()

    def give_up(self, reason: str) -> None:
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
    def over(self) -> bool:
        """Whether it has ended."""
        return self._over

    @property
    def own_address(self) -> str:
        """The address of this side."""
        return self._address("sockname")

    @property
    def other_side(self) -> str:
        """Address and port of the other side, for the log."""
        return self._address("peername", with_port=True)

    def _address(self, which: str, with_port: bool = False) -> str:
        found = self._transport.get_extra_info(which) if self._transport is not None else None
        if not found:
            return "unknown"
        return f"{found[0]}:{found[1]}" if with_port else str(found[0])
