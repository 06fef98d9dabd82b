"""The child process: loads models, decodes and detects as the front says until it is ended."""

import argparse
import contextlib
import gc
import logging
import os
import queue
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from PIL import Image

from sagemaker_ssd import logs
from sagemaker_ssd.contract.environment import BEST_CLASS
from sagemaker_ssd.contract.hosting import WORKERS_VARIABLE, read_hosting_settings
from sagemaker_ssd.errors import (
    JobError,
    PlatformError,
    ProgramError,
    UserError,
    exhausted_memory,
    unexpected_error,
)
from sagemaker_ssd.gpu import unseen
from sagemaker_ssd.hosting.front_socket import FrontSocket
from sagemaker_ssd.memory import trim_malloc
from sagemaker_ssd.processes.child_end import end_with_supervisor, leave
from sagemaker_ssd.scoring.command import prepare_detection

if TYPE_CHECKING:
    from sagemaker_ssd.hosting.images import PreparedImage
    from sagemaker_ssd.hosting.model import Detectors

_log = logging.getLogger(__name__)
_DECODERS_OF_A_GPU: Final = 4


@dataclass(frozen=True)
class Order:
    """A model to be loaded from a folder, or to be unloaded where there is none.

    several: whether other models are to stay loaded beside it. done: set once it was done, or could not be.
    """

    model: int
    folder: Path | None
    several: bool
    done: threading.Event


@dataclass(frozen=True)
class RefusedModel:
    """A model that could not be loaded: what its images are answered."""

    status: int
    sentence: str


@dataclass(frozen=True)
class DecodedImage:
    """An image of a request, for a model."""

    request: int
    model: int
    image: "PreparedImage"


class Requests:
    """Threads that receive what the front sends and decode the next images while others are detected on.

    models: those that are there, by the front's numbers; the main thread changes it. most: how many images are decoded
    ahead.
    """

    def __init__(
        self, front: FrontSocket, models: "Mapping[int, Detectors | RefusedModel]", most: int, threads: int
    ) -> None:
        self._front, self._models, self._most = front, models, most
        self._receiving = threading.Lock()
        self._waiting: queue.Queue[Order | DecodedImage] = queue.Queue(maxsize=most)
        self._first: Order | DecodedImage | None = None
        for _ in range(threads):
            threading.Thread(target=self._receive_all, daemon=True).start()

    def next(self) -> Order | list[DecodedImage]:
        """Wait for an order, or for an image; take what other images of its model are there already, up to `most`."""
        first, self._first = self._first or self._waiting.get(), None
        if isinstance(first, Order):
            return first
        images = [first]
        with contextlib.suppress(queue.Empty):
            while len(images) < self._most:
                other = self._waiting.get_nowait()
                if isinstance(other, Order) or other.model != first.model:
                    self._first = other
                    break
                images.append(other)
        return images

    def _receive_all(self) -> None:
        while True:
            with self._receiving:
                message, body = self._front.receive()
                if "detect" not in message:
                    self._wait_for(message)
                    continue
            # In a function of its own, whose end lets go of the model: it may be unloaded next.
            self._decode(message["detect"], message["model"], body)

    def _decode(self, request: int, number: int, body: bytes) -> None:
        from sagemaker_ssd.hosting.images import RefusedImageError, prepare

        try:
            model = self._models[number]
            if isinstance(model, RefusedModel):
                raise RefusedImageError(model.status, model.sentence)
            # What a crash while it is decoded is counted against.
            self._front.send({"decoding": request})
            image = prepare(body, model.model.network)
        except RefusedImageError as refused:
            self._front.send({"refused": request, "status": refused.status, "sentence": refused.sentence})
        except Exception as error:
            failure = explained(error, "an image")
            if isinstance(failure, ProgramError):
                _log.exception("decoding failed")
            self._front.send({"refused": request, "status": 500, "sentence": failure.sentence})
        else:
            self._front.send({"decoded": request})
            self._waiting.put(DecodedImage(request, number, image))

    def _wait_for(self, message: Mapping[str, Any]) -> None:
        """Have the main thread follow an order: what comes behind it may need the model."""
        loads = "load" in message
        number = message["load" if loads else "unload"]
        folder = Path(message["folder"]) if loads else None
        order = Order(number, folder, bool(message.get("several")), threading.Event())
        self._waiting.put(order)
        order.done.wait()


def explained(error: BaseException, work: str, *, several: bool = False) -> JobError:
    """Return the failure that an exception stands for.

    work: what was being done, such as "the model in /opt/ml/model". several: whether other models could be unloaded.
    """
    if isinstance(error, JobError):
        return error
    exhausted = exhausted_memory(error)
    if exhausted is not None:
        others = "unload other models, " if several else ""
        # Each GPU has one process, whatever the variable says.
        fewer = "" if exhausted == "GPU" else f", or fewer processes in {WORKERS_VARIABLE}"
        kind = "GPU " if exhausted == "GPU" else ""
        return UserError(
            f"the {exhausted} ran out of memory with {work}: {others}choose an instance type with more {kind}memory"
            f"{fewer}"
        )
    if isinstance(error, OSError):
        return PlatformError(f"a file could not be read or written with {work}: {error}")
    return unexpected_error(error)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="sagemaker_ssd.hosting", description="Started by the front.")
    parser.add_argument("--gpu", type=int, help="the number of the GPU; the CPU without it")
    parser.add_argument("--group", type=int, default=1, help="the most images that are detected on at once")
    parser.add_argument("--channel", type=int, required=True, help="file descriptor of the socket to the front")
    parser.add_argument("--supervisor", type=int, required=True, help="process id of the front")
    return parser.parse_args()


class Hosting:
    """Loads, unloads and detects as the front says, until the process is ended; MXNet is called in one thread."""

    def __init__(self, front: FrontSocket, gpu: int | None, group: int) -> None:
        self._precision = prepare_detection()
        # Imports MXNet, which takes seconds and can fail: where a failure gets its sentence.
        import mxnet as mx

        from sagemaker_ssd.hosting import model

        self._library = model
        if gpu is not None and gpu >= (seen := mx.context.num_gpus()):
            raise UserError(unseen(f"a GPU {gpu}", seen))
        # PIL has a limit of its own, at which it warns or refuses.
        Image.MAX_IMAGE_PIXELS = None
        self._front, self._gpu, self._group = front, gpu, group
        settings = read_hosting_settings(os.environ)
        self._class_names, self._detections = settings.class_names, settings.detections
        self._models: dict[int, Detectors | RefusedModel] = {}

    def run(self) -> None:
        """Do what the front says, one thing after the other; raises what went wrong."""
        threads = 1 if self._gpu is None else _DECODERS_OF_A_GPU
        requests = Requests(self._front, self._models, self._group, threads)
        self._front.send({"started": True})
        while True:
            work = requests.next()
            if isinstance(work, list):
                self._detect(work)
                continue
            if work.folder is None:
                self._unload(work.model)
            else:
                self._front.send({"loading": work.model})
                self._front.send(self._load(work.model, work.folder, work.several))
            work.done.set()

    def _load(self, number: int, folder: Path, several: bool) -> dict[str, Any]:
        """Load a model and return what is said of it to the front."""
        library = self._library
        try:
            if several:
                library.check_room(folder)
            detectors = library.load_detectors(
                folder, self._gpu, self._group, self._class_names, self._precision, self._detections
            )
            detectors.warm_up()
        except Exception as error:
            exit_code, refused = self._refusal(error, folder, several)
        else:
            self._models[number] = detectors
            network = detectors.model.network
            described = f"{network.base_network} at {network.image_shape} px, {network.num_classes} classes"
            if self._detections != BEST_CLASS:
                described += f", detections of {self._detections}"
            return {"loaded": number, "described": described, "seconds": detectors.seconds}
        self._models[number] = refused
        # Here, where no error holds on to what was loaded any more.
        _give_memory_back()
        return {
            "not_loaded": number,
            "exit_code": exit_code,
            "status": refused.status,
            "sentence": refused.sentence,
        }

    def _refusal(self, error: Exception, folder: Path, several: bool) -> tuple[int, RefusedModel]:
        """Return the exit code for a model that could not be loaded, and what its images are answered."""
        failure = explained(error, f"the model in {folder}", several=several)
        if failure is not error or isinstance(failure, ProgramError):
            _log.exception("loading failed")
        if isinstance(error, self._library.NoRoomError) or exhausted_memory(error) is not None:
            status = 507
        else:
            status = 400 if isinstance(failure, UserError) else 500
        return failure.exit_code, RefusedModel(status, failure.sentence)

    def _unload(self, number: int) -> None:
        del self._models[number]
        _give_memory_back()
        self._front.send({"unloaded": number})

    def _detect(self, images: Sequence[DecodedImage]) -> None:
        # What a crash from here on is counted against.
        self._front.send({"begun": [image.request for image in images]})
        detectors = self._models[images[0].model]
        assert not isinstance(detectors, RefusedModel)
        try:
            found = detectors.detect([image.image.input for image in images])
        except UserError as error:
            for image in images:
                self._front.send({"refused": image.request, "status": 500, "sentence": error.sentence})
            return
        answers = [
            {
                "id": image.request,
                "rows": rows,
                "width": image.image.width,
                "height": image.image.height,
                "warnings": image.image.warnings,
            }
            for image, rows in zip(images, found, strict=True)
        ]
        self._front.send({"detected": answers})


def _give_memory_back() -> None:
    gc.collect()
    trim_malloc()


def main() -> None:
    """Detect until the front ends; report the exit code and the sentence where that fails."""
    arguments = _arguments()
    end_with_supervisor(arguments.supervisor)
    logs.configure()
    front = FrontSocket(arguments.channel)
    try:
        Hosting(front, arguments.gpu, arguments.group).run()
    except BaseException as error:
        failure = explained(error, "detecting")
        if failure is not error or isinstance(failure, ProgramError):
            _log.exception("detection failed")
        front.send({"report": {"exit_code": failure.exit_code, "sentence": failure.sentence}})
        leave(failure.exit_code)


if __name__ == "__main__":
    main()
