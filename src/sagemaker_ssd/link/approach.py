"""How every other host reaches the first one."""

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Final

from sagemaker_ssd.link.addresses import is_address, resolve
from sagemaker_ssd.link.connection import Connection
from sagemaker_ssd.link.door import GREETING_SECONDS
from sagemaker_ssd.link.ending import Ending
from sagemaker_ssd.link.greeting import Greeting, encode_greeting
from sagemaker_ssd.link.messages import Message, decode_ending, encode

_log = logging.getLogger(__name__)
_CONNECT_SECONDS: Final = 5.0


class Approach:
    """Hands the connection to `admitted` when the first host has let this one in, a refusal to `refused`."""

    def __init__(
        self,
        greeting: Greeting,
        port: int,
        admitted: Callable[[Connection], None],
        refused: Callable[[Ending], None],
    ) -> None:
        self._greeting, self._port = greeting, port
        self._first, self._here = greeting.hosts[0], greeting.host
        self._admitted, self._refused = admitted, refused

    async def attempt(self) -> str:
        """Try once; return what stood in the way, "" when this host was let in."""
        address = await resolve(self._first)
        if address is None:
            return f"{self._first} is not reached, because its name does not resolve"
        place = f"{address}:{self._port}" + ("" if is_address(self._first) else f", the address of {self._first}")
        # Why there was no answer; "" when this host was let in.
        answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        connection = Connection(
            lambda connection: connection.send(encode_greeting(self._greeting)),
            lambda connection, message: self._take(connection, message, answered),
            lambda connection, reason: None if answered.done() else answered.set_result(reason),
        )
        admitted = False
        try:
            reason = await self._connect(connection, address)
            if reason:
                return f"nothing answers at {place} ({reason})"
            reason = await self._answer(answered)
            admitted = not reason
            return f"what answers at {place} does not let this host in ({reason})" if reason else ""
        finally:
            if not admitted:
                connection.give_up("not let in")

    async def _connect(self, connection: Connection, address: str) -> str:
        """Connect; return what stood in the way, "" when nothing did."""
        # A host that is known by its address must come from there.
        own = (self._here, 0) if is_address(self._here) else None
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                loop = asyncio.get_running_loop()
                await loop.create_connection(lambda: connection, address, self._port, local_addr=own)
        except TimeoutError:
            return f"no answer in {_CONNECT_SECONDS:g} seconds"
        except OSError as error:
            return os.strerror(error.errno) if error.errno else str(error)
        return ""

    async def _answer(self, answered: asyncio.Future[str]) -> str:
        # Not by asyncio.timeout, which would cancel what is waited for.
        await asyncio.wait({answered}, timeout=GREETING_SECONDS)
        return answered.result() if answered.done() else f"no word in {GREETING_SECONDS:g} seconds"

    def _take(self, connection: Connection, message: Message, answered: asyncio.Future[str]) -> None:
        if answered.done():
            return
        if message["kind"] == "welcome":
            answered.set_result("")
            connection.send(encode("here"))
            _log.info("Connected to %s at %s", self._first, connection.other_side)
            self._admitted(connection)
        elif message["kind"] == "refusal":
            refusal = decode_ending(message)
            answered.set_result(refusal.sentence)
            self._refused(refusal)
        else:
            answered.set_result("it is not this program")
