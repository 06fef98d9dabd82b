"""A process that was stopped reads before it judges, and does not count the time that it slept through."""

import asyncio
import socket
import time

from sagemaker_ssd.coordination.connection import ticks


def test_what_came_in_is_read_before_a_tick():
    async def first_tick() -> list[bytes]:
        loop, seen = asyncio.get_running_loop(), list[bytes]()
        here, there = socket.socketpair()
        with here, there:
            loop.add_reader(here, lambda: seen.append(here.recv(10)))
            # The process sleeps; when it wakes the tick is due, and bytes come in the same round of the loop.
            loop.call_later(0.15, time.sleep, 0.1)
            loop.call_later(0.21, there.send, b"beat")
            async for _ in ticks(0.2):
                break
            loop.remove_reader(here)
        return seen

    assert asyncio.run(first_tick()) == [b"beat"]


def test_sleep_counts_for_two_ticks_at_most():
    async def two_ticks() -> list[float]:
        asyncio.get_running_loop().call_later(0.05, time.sleep, 1)
        found: list[float] = []
        async for seconds in ticks(0.1):
            found.append(seconds)
            if len(found) == 2:
                break
        return found

    slept, awake = asyncio.run(two_ticks())
    assert slept == 0.2
    assert 0.09 < awake <= 0.2
