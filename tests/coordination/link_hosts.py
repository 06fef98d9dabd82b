"""Hosts of a job on 127.0.0.1, 127.0.0.2, ...: links in this process, and links in processes that can be killed."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sagemaker_ssd.contract.environment import Deadlines
from sagemaker_ssd.coordination.link import Link
from sagemaker_ssd.coordination.protocol import Handshake, Outcome

SHORT = Deadlines(hosts=20, silence=1, stop=0.6, late=0.5)
# No name of DNS, so that it is refused without a question to a server, which may take seconds.
NAMELESS = "algo..1"


def until(condition: Callable[[], Any], seconds: float = 8) -> Any:
    """Wait for a condition and return its value; fails when it stays false."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    return value


def names(count: int) -> tuple[str, ...]:
    return tuple(f"127.0.0.{number}" for number in range(1, count + 1))


def handshake(host: str, hosts: tuple[str, ...]) -> Handshake:
    return Handshake("job", hosts, host, "1.0", "digest")


def failed(host: str, sentence: str = "no GPU", exit_code: int = 1) -> Outcome:
    return Outcome("failed", host, exit_code, sentence)


def port_that_is_free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        # Below the range of ports that the system hands out, so that no connection takes it meanwhile.
        base = 11_000 + (probe.getsockname()[1] * 7 + os.getpid()) % 20_000
    for port in range(base, base + 500):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


class Job:
    """Links of this process by host."""

    def __init__(self, count: int, deadlines: Deadlines = SHORT) -> None:
        self.hosts, self.deadlines, self.port = names(count), deadlines, port_that_is_free()
        self.links: dict[str, Link] = {}
        self.children: list[Child] = []

    def start(self, host: str, /, *, port: int | None = None, **changes: Any) -> Link:
        deadlines = changes.pop("deadlines", self.deadlines)
        link = Link(replace(handshake(host, self.hosts), **changes), deadlines, port or self.port)
        self.links[host] = link
        link.start()
        return link

    def start_all(self) -> list[Link]:
        links = [self.start(host) for host in self.hosts]
        self.meet()
        return links

    def meet(self) -> None:
        for link in self.links.values():
            until(lambda link=link: link.rendezvous or link.verdict)
            assert link.rendezvous, link.verdict

    def child(self, host: str, deadlines: Deadlines | None = None) -> "Child":
        child = Child(handshake(host, self.hosts), deadlines or self.deadlines, self.port)
        self.children.append(child)
        return child

    def verdicts(self, seconds: float = 8) -> list[Outcome]:
        return [until(lambda link=link: link.verdict, seconds) for link in self.links.values()]

    def close(self) -> None:
        for child in self.children:
            child.end()
        closing = [threading.Thread(target=link.close, args=(0.2,)) for link in self.links.values()]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()


@contextlib.contextmanager
def job(count: int, deadlines: Deadlines = SHORT) -> Iterator[Job]:
    made = Job(count, deadlines)
    try:
        yield made
    finally:
        made.close()


class Child:
    """A link in a process of its own, which says what it sees and takes one command a line."""

    def __init__(self, handshake: Handshake, deadlines: Deadlines, port: int) -> None:
        arguments = json.dumps({"handshake": asdict(handshake), "deadlines": asdict(deadlines), "port": port})
        self.process = subprocess.Popen(
            [sys.executable, __file__, arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self._seen: dict[str, Any] = {}
        self._rest = b""

    def tell(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command.encode() + b"\n")

    def saw(self, what: str, seconds: float = 10) -> Any:
        """Wait until it has said `what`."""
        assert self.process.stdout is not None
        end = time.monotonic() + seconds
        while what not in self._seen:
            left = end - time.monotonic()
            assert left > 0, f"no {what}, only {self._seen}"
            if select.select([self.process.stdout], [], [], left)[0]:
                data = os.read(self.process.stdout.fileno(), 65_536)
                assert data, f"ended without {what}"
                *lines, self._rest = (self._rest + data).split(b"\n")
                for line in lines:
                    self._seen |= json.loads(line)
        return self._seen[what]

    def verdict(self, seconds: float = 10) -> Outcome:
        return Outcome(**self.saw("verdict", seconds))

    def send_signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        if number == signal.SIGSTOP:
            # On a busy machine its threads run on for a while.
            until(lambda: all(state == "T" for state in self._states()))

    def _states(self) -> list[str]:
        stats = Path(f"/proc/{self.process.pid}/task").glob("*/stat")
        return [stat.read_text().rpartition(") ")[2].split()[0] for stat in stats]

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


def run(arguments: str) -> None:
    given = json.loads(arguments)
    who = given["handshake"]
    link = Link(Handshake(**who | {"hosts": tuple(who["hosts"])}), Deadlines(**given["deadlines"]), given["port"])
    link.start()
    threading.Thread(target=obey, args=(link, who["host"]), daemon=True).start()
    said: set[str] = set()
    while True:
        link.wait(0.05)
        rendezvous, verdict = link.rendezvous, link.verdict
        seen = {
            "rendezvous": rendezvous and asdict(rendezvous),
            "stopping": link.stopping,
            "verdict": verdict and asdict(verdict),
        }
        for what, value in seen.items():
            if value and what not in said:
                said.add(what)
                print(json.dumps({what: value}), flush=True)


def obey(link: Link, host: str) -> None:
    for line in sys.stdin:
        command = line.strip()
        if command == "stop":
            link.request_stop()
        elif command == "close":
            link.close()
            print(json.dumps({"closed": True}), flush=True)
        elif command == "exit":
            os._exit(0)
        elif command == "failed":
            link.report_outcome(failed(host))
        else:
            link.report_outcome(Outcome(command, host))


if __name__ == "__main__":
    run(sys.argv[1])
