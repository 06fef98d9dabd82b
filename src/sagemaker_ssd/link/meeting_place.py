"""Where the first host waits for the others."""

import asyncio
import errno
import logging
import os
from collections.abc import Callable
from typing import Final

from sagemaker_ssd.link.addresses import free_port, is_address, own_address, ports_above
from sagemaker_ssd.link.deadlines import PORT_VARIABLE
from sagemaker_ssd.link.door import Door
from sagemaker_ssd.link.ending import Ending
from sagemaker_ssd.link.greeting import Greeting

_log = logging.getLogger(__name__)
_RETRY_SECONDS: Final = 1.0


class MeetingPlace:
    """This host's own address, where the door is opened.

    address: "" until then. problem: what is in the way, "" when nothing is. hopeless: whether it can never be opened;
    `fail` was told why.
    """

    def __init__(self, greeting: Greeting, port: int, door: Door, fail: Callable[[Ending], None]) -> None:
        self._here, self._others = greeting.host, greeting.hosts[1:]
        self._port, self._door, self._fail = port, door, fail
        self.address, self.problem, self.hopeless = "", "", False

    async def open(self) -> None:
        """Find the address and listen there, however long it takes."""
        while True:
            address = await own_address(self._here, self._others)
            if address is None:
                self.problem = (
                    f"{self._here}, this host, finds no address of its own, because its name does not resolve"
                )
            else:
                await self._listen(address)
            if self.address or self.hopeless:
                return
            await asyncio.sleep(_RETRY_SECONDS)

    async def _listen(self, address: str) -> None:
        try:
            await self._door.open(address, self._port)
        except OSError as error:
            # A name can be known before the machine has the address.
            if error.errno == errno.EADDRNOTAVAIL and not is_address(self._here):
                self.problem = f"the name of {self._here}, this host, resolves to {address}, which it does not have"
                return
            self.hopeless = True
            reason = os.strerror(error.errno) if error.errno else str(error)
            self._fail_here(
                f"cannot wait for the other hosts at {address}, port {self._port}: {reason}. If another program uses "
                f"the port, set the environment variable {PORT_VARIABLE} to another one, the same on all hosts"
            )
        else:
            self.problem, self.address = "", address
            _log.info("Waiting at %s:%d for %s", address, self._port, ", ".join(self._others))

    def find_scheduler_port(self) -> int | None:
        """Return a port that is free for ps-lite's scheduler; None without one, which `fail` is told."""
        ports = ports_above(self._port)
        port = free_port(self.address, ports)
        if port is None:
            tried = f"none of the ports {ports[0]} to {ports[-1]} is free" if ports else "there is none"
            self._fail_here(
                f"MXNet's parameter server needs a port above {self._port} at {self.address}, and {tried}. Set the "
                f"environment variable {PORT_VARIABLE} to another one, the same on all hosts"
            )
        return port

    def _fail_here(self, sentence: str) -> None:
        self._fail(Ending("failed", self._here, 1, sentence))
