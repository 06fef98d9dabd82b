"""The processes that detect, the models that they hold, and the queue of images before them."""

import asyncio
import contextlib
import itertools
import json
import logging
import math
import os
import signal
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from sagemaker_ssd.contract.hosting import ANSWER_VARIABLE, MAX_PIXELS, WORKERS_VARIABLE
from sagemaker_ssd.data_formats import OPENCV_PIXELS_VARIABLE
from sagemaker_ssd.errors import JobError, in_words, reported_error, shown, unexpected_error
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
# An image that may be what ended its process, but need not be, goes to another one, once.
_ATTEMPTS: Final = 2
# How much the newest image counts in the mean time of an image.
_NEWEST: Final = 0.2
# Before a process is ready; what is told as Retry-After.
LOADING_SECONDS: Final = 10
# Insufficient Storage: what multi-model endpoints say of memory, whereupon the platform unloads other models.
_NO_MEMORY: Final = 507
# Images that are detected on at once on a GPU.
GPU_GROUP: Final = 8


class RefusedError(Exception):
    """A request that is answered with an HTTP status and a sentence; retry_after: seconds, where to try again helps."""

    def __init__(self, status: int, sentence: str, retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.retry_after = status, sentence, retry_after


@dataclass(frozen=True)
class Detections:
    """Rows (class_id, score, xmin, ymin, xmax, ymax) as fractions of an image, and its size in pixels as shown.

    warnings: what is odd about the image.
    """

    rows: list[list[float]]
    width: int
    height: int
    warnings: Sequence[str] = ()


@dataclass(eq=False)
class Model:
    """A model in a folder; number: what the processes know it by. seconds: the mean time of an image.

    lost: whether it could not be loaded again into a new process, and is no model of this server any more.
    """

    name: str
    folder: Path
    seconds: float = 1.0
    lost: bool = False
    number: int = field(default_factory=itertools.count(1).__next__)


@dataclass(eq=False)
class _Order:
    """A model that a process is to load or to unload; `done` is set with None, or with why it could not."""

    model: Model
    done: asyncio.Future[RefusedError | None] = field(default_factory=asyncio.Future)
    begun: float | None = None

    def settle(self, refusal: RefusedError | None = None) -> None:
        if not self.done.done():
            self.done.set_result(refusal)


@dataclass(eq=False)
class QueuedImage:
    """An image in the queue or with a process; `result` is set with Detections, or with RefusedError.

    stage: how far the process that has it has said it is.
    """

    id: int
    model: Model
    body: bytes
    result: asyncio.Future[Detections]
    attempts: int = 0
    sent: float = 0.0
    stage: Literal["sent", "decoding", "decoded", "detecting"] = "sent"


@dataclass
class _Slot:
    """The place of one process, which is started again in it whenever it ends.

    models: the numbers of those that the process has been told to load. images: those it has, by their ids.
    """

    gpu: int | None
    process: DetectorProcess | None = None
    writer: asyncio.StreamWriter | None = None
    models: set[int] = field(default_factory=set)
    loading: dict[int, _Order] = field(default_factory=dict)
    unloading: dict[int, _Order] = field(default_factory=dict)
    images: dict[int, QueuedImage] = field(default_factory=dict)
    ready: bool = False
    last_answer: float = 0.0
    deaths: list[float] = field(default_factory=list)

    @property
    def busy(self) -> bool:
        return bool(self.images or self.loading or self.unloading)

    def send(self, message: Mapping[str, Any], activity: str, body: bytes = b"") -> None:
        """Give the process something to do, `activity` as the watchdog's sentence has it; then note it as such."""
        assert self.writer is not None
        assert self.process is not None
        if not self.busy:
            self.process.expect(activity)
        self.writer.write(json.dumps(message).encode() + b"\n")
        if body:
            self.writer.write(body)


@dataclass(frozen=True)
class Devices:
    """Where to detect: the GPU of each process, None for the CPU; how many threads each has.

    environment: variables that each process gets besides.
    """

    gpus: Sequence[int | None]
    threads: int
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def group(self) -> int:
        """The most images that a process detects on at once; on a CPU that gains nothing."""
        return 1 if self.gpus[0] is None else GPU_GROUP


class Detection:
    """Starts the processes, hands images to them in the order they come, and replaces those that end.

    answer_seconds: after which nobody waits for an answer any more. model: the one that every process loads at its
    start, without which it is of no use; None where models come and go by `load` and `unload`, as in a multi-model
    endpoint. `failed` is set when there is no hope left, and `failure` says why.
    """

    def __init__(self, answer_seconds: float, model: Model | None) -> None:
        self._answer_seconds, self._only = answer_seconds, model
        self._devices = Devices([None], 1)
        self._slots: list[_Slot] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._waiting: deque[QueuedImage] = deque()
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
        refusal = RefusedError(500, failure.sentence)
        images = self._images()
        self._waiting.clear()
        for image in images:
            _refuse(image, refusal)
        for slot in self._slots:
            for order in (*slot.loading.values(), *slot.unloading.values()):
                order.settle(refusal)
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

    def check(self, model: Model | None = None) -> None:
        """Raise RefusedError where nothing can be done now, or a further image of the model not in time."""
        state = self.state
        if self.failure is not None:
            raise RefusedError(500, self.failure.sentence)
        if state == "stopping":
            raise stopping_refusal()
        if state == "loading":
            what = "MXNet" if self._only is None else "the model"
            raise RefusedError(503, f"{what} is being loaded: try again", LOADING_SECONDS)
        if state == "replacing":
            raise _replacing_refusal()
        if model is None:
            return
        ready = sum(slot.ready for slot in self._slots)
        ahead = self._images()
        # A process that has nothing to do takes it, however long images took before: or nothing would show that they
        # do not any more.
        if len(ahead) < ready:
            return
        expected = (sum(image.model.seconds for image in ahead) + model.seconds) / ready
        if expected > self._answer_seconds:
            raise RefusedError(
                503,
                f"too many requests: {in_words(len(ahead), 'image is', 'images are')} ahead, so that an answer would "
                f"take about {expected:.0f} seconds, and nobody waits longer than {self._answer_seconds:.0f} "
                f"({ANSWER_VARIABLE} sets that); try again later, or add instances",
                math.ceil(expected - self._answer_seconds) + 1,
            )

    async def load(self, model: Model) -> None:
        """Load a model into every process that is ready; the others load it with the first image of it they are given.

        Raises RefusedError where a process cannot: with 507 for want of memory, whereupon none of them holds it.
        """
        self.check()
        for slot in self._slots:
            # One after the other: each looks whether there is memory for it, and the others detect meanwhile.
            refusal = await self._load(slot, model).done if slot.ready else None
            if refusal is not None:
                await self.unload(model)
                raise refusal

    async def unload(self, model: Model) -> None:
        """Answer the images of a model that are there already, and free its memory in every process."""
        images = [image.result for image in self._images() if image.model is model]
        if images:
            await asyncio.wait(images)
        orders = []
        for slot in self._slots:
            if slot.ready and model.number in slot.models:
                slot.send({"unload": model.number}, "a model was to be unloaded")
                slot.models.discard(model.number)
                slot.unloading[model.number] = _Order(model)
                orders.append(slot.unloading[model.number].done)
        await asyncio.gather(*orders)

    def submit(self, model: Model, body: bytes) -> QueuedImage:
        """Put an image into the queue; raises RefusedError as `check` does."""
        self.check(model)
        self._next_id += 1
        image = QueuedImage(self._next_id, model, body, asyncio.get_running_loop().create_future())
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
            image = self._waiting.popleft()
            # Not into another one before those that hold its model are busy.
            slot = min(free, key=lambda slot: (image.model.number not in slot.models, len(slot.images)))
            if image.model.number not in slot.models:
                self._load(slot, image.model)
            image.attempts += 1
            image.sent, image.stage = time.monotonic(), "sent"
            message = {"detect": image.id, "model": image.model.number, "bytes": len(image.body)}
            slot.send(message, "an image was sent to it", image.body)
            slot.images[image.id] = image

    def _load(self, slot: _Slot, model: Model) -> _Order:
        """Have a process load a model; what is sent to it afterwards may need it."""
        several = self._only is None
        slot.send({"load": model.number, "folder": str(model.folder), "several": several}, "a model was to be loaded")
        slot.models.add(model.number)
        order = slot.loading[model.number] = _Order(model)
        return order

    def _images(self) -> list[QueuedImage]:
        """Return the images that are with a process or wait for one."""
        return [*self._waiting, *(image for slot in self._slots for image in slot.images.values())]

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
        failure = process.failure(self._memory_remedy(slot, was_ready=was_ready))
        loaded = self._give_back(slot, failure)
        if not was_ready and process.report is not None:
            return failure
        # Who has asked for a model that ends the process is told so, and the others are served on.
        if loaded is not None:
            _log.error("%s, when it loaded the model %s; it is started again", failure.sentence, shown(loaded.name))
            return None
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
        if "started" in message:
            if self._only is not None:
                self._load(slot, self._only)
            else:
                slot.ready = self._was_ready = True
                _log.info("Ready after %.1f s: models can be loaded", time.monotonic() - begin)
        elif "loading" in message:
            order = slot.loading[message["loading"]]
            order.begun = time.monotonic()
            if order.model is not self._only:
                _log.info("Loading the model %s from %s", shown(order.model.name), order.model.folder)
        elif "loaded" in message:
            self._loaded(slot, message, begin)
        elif "not_loaded" in message:
            self._not_loaded(slot, message)
        elif "unloaded" in message:
            slot.last_answer = time.monotonic()
            slot.unloading.pop(message["unloaded"]).settle()
        elif "decoding" in message:
            slot.images[message["decoding"]].stage = "decoding"
        elif "decoded" in message:
            slot.images[message["decoded"]].stage = "decoded"
        elif "begun" in message:
            for number in message["begun"]:
                slot.images[number].stage = "detecting"
        elif "detected" in message:
            answers = message["detected"]
            images = [slot.images.pop(answer["id"]) for answer in answers]
            self._measure(slot, images)
            for image, answer in zip(images, answers, strict=True):
                if not image.result.done():
                    found = Detections(answer["rows"], answer["width"], answer["height"], answer["warnings"])
                    image.result.set_result(found)
            slot.deaths.clear()
        elif "refused" in message:
            _refuse(slot.images.pop(message["refused"]), RefusedError(message["status"], message["sentence"]))
        elif "report" in message:
            process.report = message["report"]
        if slot.ready:
            process.expect("an answer") if slot.busy else process.expect_nothing()
        self._dispatch()

    def _loaded(self, slot: _Slot, message: Mapping[str, Any], begin: float) -> None:
        order = slot.loading.pop(message["loaded"])
        model = order.model
        measured, slot.last_answer = float(message["seconds"]), time.monotonic()
        model.seconds = min(measured, self._answer_seconds)
        described = f"{message['described']}, {measured:.3f} s an image"
        if model is self._only:
            slot.ready = self._was_ready = True
            _log.info("Ready after %.1f s: %s", slot.last_answer - begin, described)
        else:
            assert order.begun is not None
            seconds = slot.last_answer - order.begun
            _log.info("Loaded the model %s in %.1f s: %s", shown(model.name), seconds, described)
        order.settle()

    def _not_loaded(self, slot: _Slot, message: Mapping[str, Any]) -> None:
        order = slot.loading.pop(message["not_loaded"])
        slot.last_answer = time.monotonic()
        model, status, sentence = order.model, message["status"], message["sentence"]
        slot.models.discard(model.number)
        if model is self._only:
            self.fail(reported_error(message["exit_code"], sentence))
            return
        _log.error("The model %s is not loaded: %s", shown(model.name), sentence)
        refusal = RefusedError(status, sentence)
        self._refuse_waiting(model, refusal)
        order.settle(refusal)

    def _refuse_waiting(self, model: Model, refusal: RefusedError) -> None:
        """Refuse the images that wait for a model which could not be loaded.

        It is lost, unless it was for want of memory: then the next image of it has it loaded, when others are not.
        """
        model.lost = refusal.status != _NO_MEMORY
        for image in [image for image in self._waiting if image.model is model]:
            self._waiting.remove(image)
            _refuse(image, refusal)

    def _measure(self, slot: _Slot, images: Sequence[QueuedImage]) -> None:
        """Learn how long an image takes while the next one waits.

        What took longer than anybody waits, as on a machine that was paused, counts as just so long: fewer images then
        show that it has passed.
        """
        now = time.monotonic()
        seconds = (now - max(slot.last_answer, min(image.sent for image in images))) / len(images)
        slot.last_answer = now
        model = images[0].model
        model.seconds += _NEWEST * (min(seconds, self._answer_seconds) - model.seconds)

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

    def _give_back(self, slot: _Slot, failure: JobError) -> Model | None:
        """Refuse what ended a process, as far as can be told; its other images go back into the queue.

        That is what it detected on; else the image that it decoded, where it decoded only one; else an image that was
        with a process in such a place before. Return the model that was being loaded, if one of several was.
        """
        assert slot.process is not None
        killed = slot.process.expired is None and slot.process.returncode == -signal.SIGKILL
        begun = [order.model for order in slot.loading.values() if order.begun is not None]
        loading = begun[0] if begun and begun[0] is not self._only else None
        # What ends a process by this signal is the system that is short of memory.
        refusal = RefusedError(_NO_MEMORY if killed and loading is not None else 500, failure.sentence)
        if loading is not None:
            self._refuse_waiting(loading, refusal)
        for order in slot.loading.values():
            order.settle(_replacing_refusal() if order.begun is None else refusal)
        for order in slot.unloading.values():
            order.settle()
        images = list(slot.images.values())
        slot.images, slot.loading, slot.unloading, slot.models = {}, {}, {}, set()
        # Images whose clients have left included.
        detecting = [image for image in images if image.stage == "detecting"]
        decoding = [image for image in images if image.stage == "decoding"]
        refused = detecting or (decoding if len(decoding) == 1 else [])
        suspects = detecting + decoding
        for image in reversed(images):
            if image.result.done():
                continue
            if self._stopping:
                _refuse(image, stopping_refusal())
                continue
            if image not in suspects and (suspects or loading is not None):
                # It was only near.
                image.attempts -= 1
            if image in refused or image.attempts >= _ATTEMPTS or image.model is loading:
                _refuse(image, refusal)
            else:
                self._waiting.appendleft(image)
        return loading

    def _arguments(self, slot: _Slot) -> list[str]:
        arguments = ["--group", str(self._devices.group)]
        return arguments if slot.gpu is None else [*arguments, "--gpu", str(slot.gpu)]

    def _environment(self) -> dict[str, str]:
        return {
            **mxnet_environment(os.environ, self._devices.threads),
            OPENCV_PIXELS_VARIABLE: str(MAX_PIXELS),
            **self._devices.environment,
        }

    def _memory_remedy(self, slot: _Slot, *, was_ready: bool) -> str:
        """Say what to do where a process found too little memory; was_ready: after it had loaded what it must."""
        workers = len(self._devices.gpus)
        # Each GPU has one process, whatever the variable says.
        if workers > 1 and slot.gpu is None:
            return f"lower {WORKERS_VARIABLE} (now {workers})"
        if not was_ready:
            # No image was there yet, and no model that another one could make room for.
            if slot.gpu is not None:
                return "use a model of a smaller image_shape"
            return "raise MemorySizeInMB of a serverless endpoint, or what `docker run --memory` allows"
        return "send smaller images" if self._only is not None else "load fewer models at a time"


def stopping_refusal() -> RefusedError:
    """Return the refusal of what comes after SIGTERM."""
    return RefusedError(503, "this server is being stopped: send the request again", 1)


def _replacing_refusal() -> RefusedError:
    sentence = "the detection process ended and is being replaced: try again"
    return RefusedError(503, sentence, LOADING_SECONDS)


def _refuse(image: QueuedImage, refusal: RefusedError) -> None:
    if not image.result.done():
        image.result.set_exception(refusal)
