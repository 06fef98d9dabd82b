"""Load on the real `serve`, then a soak of good and bad requests: what grows, stalls or is answered wrongly fails.

`python tests/soak/serving_soak.py [--minutes 20] [--clients 6]` serves a drawn resnet-50. First 1, 4, 16 and 32 clients
send pictures as fast as they are answered. Then, for the minutes, every client sends what it draws by lot: pictures of
all kinds, bodies that are none, requests that are refused, halves of requests, slow ones and such whose client leaves.
Every answer is compared with what it must be, those to pictures with what `predict` prints. A ping is sent four times a
second all the while. Exits with 1 where an answer was wrong, a ping took more than two seconds, the front or its child
process grew by more than the bounds below or was replaced, or the server did not end well.
"""

import argparse
import http.client
import json
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent.parent
sys.path[:0] = [str(TESTS)]

from PIL import Image  # noqa: E402

from cases.odd_pictures import exif, saved  # noqa: E402
from drawn_channels import noise  # noqa: E402
from model_server import ModelServer, write_drawn_model  # noqa: E402
from request_load import percentile_95, send_load  # noqa: E402

PING_SECONDS = 2.0
# What the memory may grow by between the first and the last tenth of the soak. Buffers of the largest pictures come and
# go, so that single figures differ by this much; what is lost with every request comes to more in twenty minutes.
GROWTH_MB = {"front": 8.0, "child": 20.0}
GROWTH_FILES = 12
LIMIT_MB = 8
SHOWN = 10
# Not a multiple of the requests' own times.
SAMPLE_SECONDS = 1.7


def pictures() -> dict[str, bytes]:
    """One of every kind, the largest of twelve megapixels."""
    smooth = Image.fromarray(noise(2, (40, 30)))
    return {
        "photo.jpg": saved("JPEG", smooth.resize((640, 480))),
        "turned.jpg": saved("JPEG", smooth.resize((500, 400)), exif=exif(6)),
        "phone.jpg": saved("JPEG", smooth.resize((4000, 3000)), quality=80),
        "grey.png": saved("PNG", Image.fromarray(noise(3, (300, 300))), mode="L"),
        "transparent.png": saved("PNG", mode="RGBA"),
        "cmyk.jpg": saved("JPEG", mode="CMYK"),
        "web.webp": saved("WEBP"),
        "one.png": saved("PNG", Image.fromarray(noise(4, (1, 1)))),
    }


@dataclass
class Soak:
    """What the clients share: the server, the pictures with their rows, and what came of it all."""

    server: ModelServer
    pictures: dict[str, bytes]
    rows: dict[str, list[list[float]]]
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    pings: list[float] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def wrong(self, what: str) -> None:
        self.faults.append(f"after {self.counts.total()} requests: {what}")

    def compare(self, name: str, status: int, body: bytes, expected: Any, headers: Any = None) -> None:
        """Count an answer, and note where it is another one than `expected`: (status, content or pattern)."""
        self.counts[name, str(status)] += 1
        try:
            content = json.loads(body)
        except ValueError:
            content = body
        wanted_status, wanted = expected
        right = status == wanted_status
        if isinstance(wanted, str):
            right = right and isinstance(content, dict) and content.keys() == {"error"}
            right = right and re.search(wanted, content["error"]) is not None
        else:
            right = right and content == wanted
        if not right:
            self.wrong(f"{name}: {status} {str(content)[:300]}, instead of {wanted_status} {str(wanted)[:300]}")


def picture(soak: Soak, draw: random.Random) -> None:
    name = draw.choice(list(soak.pictures))
    accept = draw.choice(["*/*", "application/json", "application/jsonlines"])
    body: Any = soak.pictures[name]
    if draw.random() < 0.3:
        size = draw.choice([1000, 65_536])
        body = (soak.pictures[name][begin : begin + size] for begin in range(0, len(soak.pictures[name]), size))
    answer = soak.server.invoke(body, Accept=accept)
    soak.compare(name, answer.status, answer.body, (200, {"prediction": soak.rows[name]}))


def annotations(soak: Soak, draw: random.Random) -> None:
    answer = soak.server.invoke(soak.pictures["turned.jpg"], Accept="application/json;annotation=1")
    scores = [row[1] for row in soak.rows["turned.jpg"]]
    soak.counts["annotations", str(answer.status)] += 1
    content = answer.json()
    # Stored as 500x400.
    right = content.get("image_size") == [{"width": 400, "height": 500, "depth": 3}]
    if not right or [note["score"] for note in content["annotations"]] != scores:
        soak.wrong(f"annotations: {answer.status} {str(content)[:300]}")


def refused(soak: Soak, draw: random.Random) -> None:
    photo = soak.pictures["photo.jpg"]
    name, body, headers, status, sentence = draw.choice(
        [
            ("no image", b"no image", {}, 400, "damaged or not an image"),
            ("empty", b"", {}, 400, "the request has no body"),
            ("cut off", soak.pictures["grey.png"][:-40], {}, 400, "damaged or cut off"),
            ("bytes by lot", draw.randbytes(200_000), {}, 400, "damaged or not an image"),
            ("json", b"[]", {"Content_Type": "application/json"}, 415, "Content-Type is 'application/json'"),
            ("numpy", b"\x93NUMPY\x01\x00" + photo, {}, 415, "an array of numpy"),
            ("accept", photo, {"Accept": "text/csv"}, 406, "Accept is 'text/csv'"),
            ("too large", bytes((LIMIT_MB << 20) + 1), {}, 413, f"more than {LIMIT_MB} MB"),
            ("too large in chunks", (bytes(65_536) for _ in range(LIMIT_MB * 20)), {}, 413, f"more than {LIMIT_MB} MB"),
        ]
    )
    answer = soak.server.invoke(body, **headers)
    soak.compare(name, answer.status, answer.body, (status, sentence))


def other_paths(soak: Soak, draw: random.Random) -> None:
    method, path, expected = draw.choice(
        [
            ("GET", "/nothing", (404, "the path does not exist")),
            ("GET", "/invocations", (405, "the path does not take this method")),
            (
                "GET",
                "/execution-parameters",
                (200, {"MaxConcurrentTransforms": 2, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": LIMIT_MB}),
            ),
        ]
    )
    answer = soak.server.request(method, path)
    soak.compare(f"{method} {path}", answer.status, answer.body, expected)


def one_connection(soak: Soak, draw: random.Random) -> None:
    """Several requests over one connection, some refused before their body was read."""
    connection = http.client.HTTPConnection("127.0.0.1", soak.server.port, timeout=120)
    too_large = bytes((LIMIT_MB << 20) + 1)
    try:
        for body, expected in (
            (soak.pictures["photo.jpg"], (200, {"prediction": soak.rows["photo.jpg"]})),
            (too_large, (413, "has more than")),
            (b"x", (400, "damaged or not an image")),
            (soak.pictures["photo.jpg"], (200, {"prediction": soak.rows["photo.jpg"]})),
        ):
            connection.request("POST", "/invocations", body)
            response = connection.getresponse()
            soak.compare("one connection", response.status, response.read(), expected)
    finally:
        connection.close()


def leaves(soak: Soak, draw: random.Random) -> None:
    """Send all of a request, or a part of it, and be gone before the answer."""
    photo = soak.pictures["photo.jpg"]
    whole = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(photo) + photo
    sent = draw.choice([len(whole), len(whole), len(whole) // 2, 70, 20, 0])
    with socket.create_connection(("127.0.0.1", soak.server.port), timeout=120) as connection:
        connection.sendall(whole[:sent])
        time.sleep(draw.choice([0, 0, 0.05, 0.5]))
    soak.counts["leaves", "-"] += 1


def slow(soak: Soak, draw: random.Random) -> None:
    """A body that comes in pieces over two seconds."""

    def pieces() -> Iterator[bytes]:
        photo = soak.pictures["photo.jpg"]
        size = len(photo) // 20 + 1
        for begin in range(0, len(photo), size):
            time.sleep(0.1)
            yield photo[begin : begin + size]

    answer = soak.server.invoke(pieces())
    soak.compare("slow", answer.status, answer.body, (200, {"prediction": soak.rows["photo.jpg"]}))


WEIGHTS: dict[Callable[[Soak, random.Random], None], int] = {
    picture: 8,
    annotations: 2,
    refused: 8,
    other_paths: 2,
    one_connection: 2,
    leaves: 3,
    slow: 1,
}


def client(soak: Soak, seed: int) -> None:
    draw = random.Random(seed)
    while not soak.stopping.is_set():
        (request,) = draw.choices(list(WEIGHTS), list(WEIGHTS.values()))
        try:
            request(soak, draw)
        except Exception as error:
            soak.wrong(f"{request.__name__}: {type(error).__name__}: {error}")
            # A server that is gone refuses thousands a second.
            time.sleep(0.5)


def ping(soak: Soak) -> None:
    while not soak.stopping.is_set():
        try:
            answer = soak.server.ping()
        except Exception as error:
            soak.wrong(f"ping: {type(error).__name__}: {error}")
        else:
            soak.pings.append(answer.seconds)
            soak.compare("ping", answer.status, answer.body, (200, b""))
        time.sleep(0.25)


@dataclass(frozen=True)
class Sample:
    """Of a process: resident memory in MB, open files."""

    megabytes: float
    files: int


def sample(process: int) -> Sample:
    status = Path(f"/proc/{process}/status").read_text()
    resident = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert resident
    return Sample(int(resident[1]) / 1024, len(list(Path(f"/proc/{process}/fd").iterdir())))


def bear_load(soak: Soak) -> None:
    """Let more and more clients send one picture each after the other; print what they got."""
    print("| clients | images/s | median s | 95 % s | slowest ping, ms |\n|---|---|---|---|---|")
    for clients in (1, 4, 16, 32):
        before = len(soak.pings)
        load = send_load(soak.server.port, [soak.pictures["photo.jpg"]], clients, max(10, 2 * clients))
        for status, count in load.statuses.items():
            soak.counts["load", str(status)] += count
        if set(load.statuses) != {200}:
            soak.wrong(f"{clients} clients: {dict(load.statuses)}")
        slowest = max(soak.pings[before:], default=0) * 1000
        median, late = statistics.median(load.answers), percentile_95(load.answers)
        print(f"| {clients} | {load.rate:.2f} | {median:.3f} | {late:.3f} | {slowest:.0f} |", flush=True)


def watch(soak: Soak, processes: dict[str, int], seconds: float) -> dict[str, list[Sample]]:
    """Take samples for the time of the soak; ends with it, or when a process has."""
    samples: dict[str, list[Sample]] = {name: [] for name in processes}
    begin, told = time.monotonic(), 0
    while (passed := time.monotonic() - begin) < seconds:
        for name, process in processes.items():
            try:
                samples[name].append(sample(process))
            except OSError:
                soak.wrong(f"the {name} has ended")
                return samples
        if passed // 60 > told:
            told = int(passed // 60)
            now = ", ".join(f"{name} {taken[-1].megabytes:.0f} MB" for name, taken in samples.items())
            print(f"minute {told}: {soak.counts.total()} requests, {now}, {len(soak.faults)} faults", flush=True)
        time.sleep(SAMPLE_SECONDS)
    return samples


def judge_growth(soak: Soak, samples: dict[str, list[Sample]]) -> None:
    """Compare the last tenth of the samples with the first one after the warm-up, and print both."""
    print(
        "| process | MB at the begin | at the end | most | open files at the begin | at the end |\n" + "|---" * 6 + "|"
    )
    for name, taken in samples.items():
        # By the end of its first tenth each process has met every kind of request.
        tenth = len(taken) // 10
        if tenth < 3:
            soak.wrong("too few samples: the soak ended early, or was given too little time")
            return
        first, last = taken[tenth : 2 * tenth], taken[-tenth:]
        begin, end = (statistics.median(one.megabytes for one in some) for some in (first, last))
        files = [statistics.median(one.files for one in some) for some in (first, last)]
        most = max(one.megabytes for one in taken)
        print(f"| {name} | {begin:.1f} | {end:.1f} | {most:.1f} | {files[0]:.0f} | {files[1]:.0f} |")
        if end - begin > GROWTH_MB[name]:
            soak.wrong(f"the {name} grew by {end - begin:.1f} MB, more than {GROWTH_MB[name]:.0f}")
        if files[1] - files[0] > GROWTH_FILES:
            soak.wrong(f"the {name} has {files[1] - files[0]:.0f} more open files, more than {GROWTH_FILES}")


def predicted(base: Path, sent: dict[str, bytes]) -> dict[str, list[list[float]]]:
    """Return what `predict` prints of the pictures."""
    for name, content in sent.items():
        (base / name).write_bytes(content)
    command = [sys.executable, "-P", "-m", "sagemaker_ssd.predict", base / "model", *(base / name for name in sent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {Path(answer["file"]).name: answer["prediction"] for answer in map(json.loads, done.stdout.splitlines())}


def main() -> int:
    """Run both parts, and print and judge what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--clients", type=int, default=6)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="serving-soak-") as folder:
        base = Path(folder)
        write_drawn_model(base / "model")
        sent = pictures()
        rows = predicted(base, sent)
        with ModelServer(base, {"SAGEMAKER_MAX_PAYLOAD_IN_MB": str(LIMIT_MB)}) as server:
            server.wait_until_ready()
            soak = Soak(server, sent, rows)
            (child,) = server.children()
            threads = [threading.Thread(target=ping, args=[soak])]
            threads[0].start()
            try:
                bear_load(soak)
                threads += [threading.Thread(target=client, args=[soak, seed]) for seed in range(options.clients)]
                for thread in threads[1:]:
                    thread.start()
                samples = watch(soak, {"front": server.process.pid, "child": child}, options.minutes * 60)
            finally:
                soak.stopping.set()
                for thread in threads:
                    if thread.ident is not None:
                        thread.join()
            print("\n| request | answers by status |\n|---|---|")
            for name in sorted({name for name, _ in soak.counts}):
                told = ", ".join(f"{count} x {status}" for (of, status), count in soak.counts.items() if of == name)
                print(f"| {name} | {told} |")
            judge_growth(soak, samples)
            slowest = max(soak.pings)
            print(f"slowest of {len(soak.pings)} pings: {slowest * 1000:.0f} ms")
            if slowest > PING_SECONDS:
                soak.wrong(f"a ping took {slowest:.1f} s, more than {PING_SECONDS:g}")
            if server.children() != [child]:
                soak.wrong("the child process was replaced")
            server.send_signal(signal.SIGTERM)
            if (code := server.wait()) != 0:
                soak.wrong(f"the server ended with exit code {code}")
            if "Traceback" in server.log:
                soak.wrong("the log has a traceback: " + server.log[server.log.index("Traceback") :][:2000])
    # The last ones are those of the whole soak.
    left_out = max(0, len(soak.faults) - 2 * SHOWN)
    for number, fault in enumerate(soak.faults):
        if not SHOWN <= number < SHOWN + left_out:
            print("WRONG:", fault)
    print(f"{soak.counts.total()} requests, {len(soak.faults)} faults")
    return 1 if soak.faults else 0


if __name__ == "__main__":
    sys.exit(main())
