"""Clients that send pictures to a server all at once, over connections that stay open, and how long each one waits."""

import http.client
import statistics
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Load:
    """What some clients did together; `answers`: the seconds of each request but the first one of every client."""

    clients: int
    seconds: float = 0.0
    answers: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.statuses.total() / self.seconds


def percentile_95(seconds: Sequence[float]) -> float:
    return statistics.quantiles(seconds, n=20, method="inclusive")[-1]


def send_load(port: int, bodies: Sequence[bytes], clients: int, requests: int) -> Load:
    """Send `requests` of the bodies in turn; raises what a client raised."""
    load = Load(clients)
    # One number a request; `next` is atomic.
    numbers = iter(range(requests))
    errors: list[BaseException] = []

    def run() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        try:
            for number in numbers:
                begin = time.perf_counter()
                connection.request("POST", "/invocations", bodies[number % len(bodies)])
                response = connection.getresponse()
                response.read()
                seconds = time.perf_counter() - begin
                load.statuses[response.status] += 1
                if number >= clients:
                    load.answers.append(seconds)
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(clients)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    load.seconds = time.perf_counter() - begin
    if errors:
        raise errors[0]
    return load
