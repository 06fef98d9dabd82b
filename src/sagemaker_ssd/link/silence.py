"""Time as a process counts it that may have been stopped or paused."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Final

# A tick that comes later than that comes late because this process was not awake, not because others were silent.
_LONGEST: Final = 2


async def ticks(interval: float) -> AsyncIterator[float]:
    """Tick about every `interval` seconds for ever, with the seconds since the last that this process was awake."""
    before = time.monotonic()
    while True:
        await asyncio.sleep(interval)
        # On waking, timers can run before the sockets are looked at: after two rounds of the loop, what came in
        # meanwhile (a verdict, signs of life) has been read, and only then is anything judged.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        now = time.monotonic()
        yield min(now - before, _LONGEST * interval)
        before = now
