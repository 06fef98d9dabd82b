"""The processes that detect, and the queue of images before them."""

import asyncio
import contextlib
import json
import logging
import math
import os
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from sagemaker_ssd.contract.hosting import WORKERS_VARIABLE
from sagemaker_ssd.errors import JobError, in_words, reported_error, unexpected_error
from sagemaker_ssd.processes.child_process import reap_orphans
from sagemaker_ssd.processes.mxnet_environment import mxnet_environment
from sagemaker_ssd.processes.watchdog import resource_usage
from sagemaker_ssd.serving.detector_process import DetectorProcess

_log = logging.getLogger(__name__)
_POLL_SECONDS: Final = 0.25
_KILL_SECONDS: Final = 8.0
# A line from a detector; the detections of one image have up to a few MB.
_LONGEST_LINE: Final = 1 << 28
# A process that ends so many times in so many seconds, without an image detected between, will end again.
_DEATHS: Final = 3
_DEATH_SECONDS: Final = 600.0
# An image that has not begun when its process ends goes to another one, once: it may be what ended it.
_ATTEMPTS: Final = 2
# How much the newest image counts in the mean time of an image.
_NEWEST: Final = 0.2
# Before the first model is loaded; what is told as Retry-After.
_LOADING_SECONDS: Final = 10
# Images that are detected on at once on a GPU.
GPU_GROUP: Final = 8


class RefusedError(Exception):
    """A request that is answered with an HTTP status and a sentence; retry_after: seconds, where to try again helps."""

    def __init__(self, status: int, sentence: str, retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.retry_after = status, sentence, retry_after


@dataclass(frozen=True)
class Detections:
    """Rows (class_id, score, xmin, ymin, xmax, ymax) as fractions of an image, and its size in pixels as shown."""

    rows: list[list[float]]
    width: int
    height: int


@dataclass(eq=False)
class QueuedImage:
    """An image in the queue or with a process; `result` is set with Detections, or with RefusedError."""

    id: int
    body: bytes
    result: asyncio.Future[Detections]
    attempts: int = 0
    sent: float = 0.0
    begun: bool = False


@dataclass
class _Slot:
    """The place of one process, which is started again in it whenever it ends."""

    gpu: int | None
    process: DetectorProcess | None = None
    writer: asyncio.StreamWriter | None = None
    images: dict[int, QueuedImage] = field(default_factory=dict)
    ready: bool = False
    last_answer: float = 0.0
    deaths: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Devices:
    """Where to detect: the GPU of each process, None for the CPU; how many threads each has."""

    gpus: Sequence[int | None]
    threads: int

    @property
    def group(self) -> int:
        """The most images that a process detects on at once; on a CPU that gains nothing."""
        return 1 if self.gpus[0] is None else GPU_GROUP


class Detection:
    """Starts the processes, hands images to them in the order they come, and replaces those that end.

    model: the folder of the model. answer_seconds: after which nobody waits for an answer any more. `failed` is set
    when there is no hope left, and `failure` says why.
    """

    def __init__(self, model: Path, answer_seconds: float) -> None:
        self._model, self._answer_seconds = model, answer_seconds
        self._devices = Devices([None], 1)
        self._slots: list[_Slot] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._waiting: deque[QueuedImage] = deque()
        self._seconds = 1.0
        self._next_id = 0
        self._was_ready = self._stopping = False
        self.failure: JobError | None = None
        self.failed = asyncio.Event()

    @property
    def state(self) -> Literal["loading", "ready", "replacing", "failed", "stopping"]:
        """What the processes are at, together; ready where at least one of them is."""
        if self.failure is not None:
            return "failed"
        if self._stopping:
            return "stopping"
        if any(slot.ready for slot in self._slots):
            return "ready"
        return "replacing" if self._was_ready else "loading"

    @property
    def ahead(self) -> int:
        """How many images are with a process or wait for one."""
        return len(self._waiting) + sum(len(slot.images) for slot in self._slots)

    @property
    def at_once(self) -> int:
        """How many images keep all processes busy, with the next one of each decoded meanwhile."""
        return 2 * self._devices.group * len(self._devices.gpus)

    def start(self, devices: Devices) -> None:
        """Start the processes; call in the main thread's loop, since they end with the thread that starts them."""
        if self._stopping or self.failure is not None:
            return
        self._devices = devices
        self._slots = [_Slot(gpu) for gpu in devices.gpus]
        self._tasks = [asyncio.create_task(self._run(slot)) for slot in self._slots]

    def fail(self, failure: JobError) -> None:
        """Give up: what waits and what comes is refused with the failure's sentence, and the processes end."""
        if self.failure is not None:
            return
        self.failure = failure
        _log.error("%s", failure.sentence)
        images = [*self._waiting, *(image for slot in self._slots for image in slot.images.values())]
        self._waiting.clear()
        for image in images:
            _refuse(image, RefusedError(500, failure.sentence))
        self.failed.set()

    def stop(self) -> None:
        """Refuse what waits and what comes from now on; what is with a process is still answered."""
        self._stopping = True
        for image in self._waiting:
            _refuse(image, stopping_refusal())
        self._waiting.clear()

    async def close(self) -> None:
        """End the processes."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        processes = [slot.process for slot in self._slots if slot.process is not None]
        await asyncio.gather(*(asyncio.to_thread(process.kill) for process in processes))

    def check(self, images: int = 1) -> None:
        """Raise RefusedError where so many further images could not be answered now, or not in time."""
        state = self.state
        if self.failure is not None:
            raise RefusedError(500, self.failure.sentence)
        if state == "stopping":
            raise stopping_refusal()
        if state == "loading":
            raise RefusedError(503, "the model is being loaded: try again", _LOADING_SECONDS)
        if state == "replacing":
            raise RefusedError(503, "the detection process ended and is being replaced: try again", _LOADING_SECONDS)
        ready = sum(slot.ready for slot in self._slots)
        expected = (self.ahead + images) * self._seconds / ready
        if expected > self._answer_seconds:
            raise RefusedError(
                503,
                f"too many requests: {in_words(self.ahead, 'image is', 'images are')} ahead, so that an answer would "
                f"take about {expected:.0f} seconds, and nobody waits longer than {self._answer_seconds:.0f}; try "
                "again later, or add instances",
                math.ceil(expected - self._answer_seconds) + 1,
            )

    def submit(self, body: bytes) -> QueuedImage:
        """Put an image into the queue; raises RefusedError as `check` does."""
        self.check()
        self._next_id += 1
        image = QueuedImage(self._next_id, body, asyncio.get_running_loop().create_future())
        self._waiting.append(image)
        self._dispatch()
        return image

    def withdraw(self, image: QueuedImage) -> bool:
        """Give up an image whose client has left; return whether no process has it, so that it is dropped."""
        image.result.cancel()
        if image not in self._waiting:
            return False
        self._waiting.remove(image)
        return True

    def _dispatch(self) -> None:
        """Send waiting images to the processes that have room for them, the idlest first."""
        most = 2 * self._devices.group
        while self._waiting:
            free = [slot for slot in self._slots if slot.ready and len(slot.images) < most]
            if not free:
                return
            slot = min(free, key=lambda slot: len(slot.images))
            image = self._waiting.popleft()
            image.attempts += 1
            image.sent, image.begun = time.monotonic(), False
            assert slot.writer is not None
            assert slot.process is not None
            if not slot.images:
                slot.process.expect("an image was sent to it")
            slot.images[image.id] = image
            slot.writer.write(json.dumps({"detect": image.id, "bytes": len(image.body)}).encode() + b"\n")
            slot.writer.write(image.body)

    async def _run(self, slot: _Slot) -> None:
        """Keep a process running in its place until it is hopeless."""
        try:
            while self.failure is None and not self._stopping:
                failure = await self._run_once(slot)
                if failure is not None:
                    self.fail(failure)
        except Exception as error:
            _log.exception("unexpected error")
            self.fail(unexpected_error(error))

    async def _run_once(self, slot: _Slot) -> JobError | None:
        """Run a process to its end; return the failure where another one would fail as well."""
        begin = time.monotonic()
        process = slot.process = DetectorProcess(self._arguments(slot), self._environment())
        reader, writer = await asyncio.open_connection(sock=process.channel, limit=_LONGEST_LINE)
        slot.writer = writer
        watching = asyncio.create_task(self._watch(process))
        try:
            while line := await reader.readline():
                # A process that is killed can leave half a line.
                with contextlib.suppress(json.JSONDecodeError):
                    self._receive(slot, json.loads(line), begin)
        except ConnectionError:
            pass
        finally:
            was_ready, slot.ready, slot.writer = slot.ready, False, None
            watching.cancel()
            writer.close()
        if not await asyncio.to_thread(process.wait, _KILL_SECONDS):
            await asyncio.to_thread(process.kill)
        failure = process.failure(self._memory_remedy())
        self._give_back(slot, failure)
        if not was_ready and process.report is not None:
            return failure
        now = time.monotonic()
        slot.deaths = [*(death for death in slot.deaths if now - death < _DEATH_SECONDS), now]
        if len(slot.deaths) >= _DEATHS:
            return reported_error(
                failure.exit_code,
                f"{failure.sentence}. It ended {_DEATHS} times without having detected on an image between",
            )
        if not self._stopping:
            _log.error("%s; it is started again", failure.sentence)
        self._dispatch()
        return None

    def _receive(self, slot: _Slot, message: Mapping[str, Any], begin: float) -> None:
        process = slot.process
        assert process is not None
        if "ready" in message:
            facts = message["ready"]
            slot.ready = self._was_ready = True
            self._seconds = float(facts["seconds"])
            process.expect_nothing()
            _log.info(
                "Ready after %.1f s: %s, %.3f s an image",
                time.monotonic() - begin,
                facts["model"],
                self._seconds,
            )
        elif "begun" in message:
            for number in message["begun"]:
                slot.images[number].begun = True
        elif "detected" in message:
            answers = message["detected"]
            images = [slot.images.pop(answer["id"]) for answer in answers]
            self._measure(slot, images)
            for image, answer in zip(images, answers, strict=True):
                if not image.result.done():
                    image.result.set_result(Detections(answer["rows"], answer["width"], answer["height"]))
            slot.deaths.clear()
        elif "refused" in message:
            _refuse(slot.images.pop(message["refused"]), RefusedError(message["status"], message["sentence"]))
        elif "report" in message:
            process.report = message["report"]
        if slot.ready:
            process.expect("an answer") if slot.images else process.expect_nothing()
        self._dispatch()

    def _measure(self, slot: _Slot, images: Sequence[QueuedImage]) -> None:
        """Learn how long an image takes while the next one waits."""
        now = time.monotonic()
        seconds = (now - max(slot.last_answer, min(image.sent for image in images))) / len(images)
        slot.last_answer = now
        self._seconds += _NEWEST * (seconds - self._seconds)

    async def _watch(self, process: DetectorProcess) -> None:
        """Kill a process that hangs."""
        before = time.monotonic()
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            reap_orphans([slot.process.pid for slot in self._slots if slot.process is not None])
            now = time.monotonic()
            process.expired = process.watchdog.check(now - before, resource_usage(process.pid))
            before = now
            if process.expired is not None:
                await asyncio.to_thread(process.kill)
                return

    def _give_back(self, slot: _Slot, failure: JobError) -> None:
        """Refuse the images that a process had begun when it ended; those that it had not go back into the queue."""
        images, slot.images = list(slot.images.values()), {}
        for image in reversed(images):
            if image.result.done():
                continue
            if self._stopping:
                _refuse(image, stopping_refusal())
            elif image.begun or image.attempts >= _ATTEMPTS:
                _refuse(image, RefusedError(500, failure.sentence))
            else:
                self._waiting.appendleft(image)

    def _arguments(self, slot: _Slot) -> list[str]:
        arguments = ["--model", str(self._model), "--group", str(self._devices.group)]
        return arguments if slot.gpu is None else [*arguments, "--gpu", str(slot.gpu)]

    def _environment(self) -> dict[str, str]:
        return mxnet_environment(os.environ, self._devices.threads)

    def _memory_remedy(self) -> str:
        workers = len(self._devices.gpus)
        return f"lower {WORKERS_VARIABLE} (now {workers})" if workers > 1 else "send smaller images"


def stopping_refusal() -> RefusedError:
    """Return the refusal of what comes after SIGTERM."""
    return RefusedError(503, "this server is being stopped: send the request again", 1)


def _refuse(image: QueuedImage, refusal: RefusedError) -> None:
    if not image.result.done():
        image.result.set_exception(refusal)
