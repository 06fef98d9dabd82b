"""The child process: loads the model, then decodes and detects what the front sends until it is ended."""

import argparse
import contextlib
import logging
import os
import queue
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image

from sagemaker_ssd import logs
from sagemaker_ssd.contract.environment import BEST_CLASS
from sagemaker_ssd.contract.hosting import read_hosting_settings
from sagemaker_ssd.errors import (
    JobError,
    PlatformError,
    ProgramError,
    UserError,
    exhausted_memory,
    unexpected_error,
)
from sagemaker_ssd.hosting.front_socket import FrontSocket
from sagemaker_ssd.processes.parent_death import end_with_supervisor
from sagemaker_ssd.scoring.command import prepare_detection

if TYPE_CHECKING:
    from sagemaker_ssd.hosting.images import PreparedImage
    from sagemaker_ssd.hosting.model import Detectors

_log = logging.getLogger(__name__)
_DECODERS_OF_A_GPU: Final = 4


class Decoding:
    """Threads that receive and decode the next images while others are detected on, a bounded number ahead."""

    def __init__(self, front: FrontSocket, detectors: "Detectors", threads: int) -> None:
        self._front, self._network = front, detectors.model.network
        self._receiving = threading.Lock()
        self._decoded: queue.Queue[tuple[int, PreparedImage]] = queue.Queue(maxsize=detectors.group)
        for _ in range(threads):
            threading.Thread(target=self._decode_all, daemon=True).start()

    def next_group(self, most: int) -> "list[tuple[int, PreparedImage]]":
        """Wait for the id and the image of a request, and take what others are there already, up to `most`."""
        images = [self._decoded.get()]
        with contextlib.suppress(queue.Empty):
            while len(images) < most:
                images.append(self._decoded.get_nowait())
        return images

    def _decode_all(self) -> None:
        from sagemaker_ssd.hosting.images import RefusedImageError, prepare

        while True:
            with self._receiving:
                request, body = self._front.receive()
            try:
                image = prepare(body, self._network)
            except RefusedImageError as refused:
                self._front.send({"refused": request, "status": refused.status, "sentence": refused.sentence})
            except Exception as error:
                failure = explained(error, "an image")
                if isinstance(failure, ProgramError):
                    _log.exception("decoding failed")
                self._front.send({"refused": request, "status": 500, "sentence": failure.sentence})
            else:
                self._decoded.put((request, image))


def explained(error: BaseException, work: str) -> JobError:
    """Return the failure that an exception stands for; work: what was being done, such as "loading the model"."""
    if isinstance(error, JobError):
        return error
    exhausted = exhausted_memory(error)
    if exhausted is not None:
        return UserError(
            f"the {exhausted} ran out of memory with {work}: choose an instance type with more {exhausted} memory, or "
            "fewer processes in SAGEMAKER_MODEL_SERVER_WORKERS"
        )
    if isinstance(error, OSError):
        return PlatformError(f"a file could not be read or written with {work}: {error}")
    return unexpected_error(error)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="sagemaker_ssd.hosting", description="Started by the front.")
    parser.add_argument("--model", type=Path, required=True, help="the folder of the model")
    parser.add_argument("--gpu", type=int, help="the number of the GPU; the CPU without it")
    parser.add_argument("--group", type=int, default=1, help="the most images that are detected on at once")
    parser.add_argument("--channel", type=int, required=True, help="file descriptor of the socket to the front")
    parser.add_argument("--supervisor", type=int, required=True, help="process id of the front")
    return parser.parse_args()


def _serve(arguments: argparse.Namespace, front: FrontSocket) -> None:
    """Load and detect until the process is ended; raises what went wrong."""
    precision = prepare_detection()
    # Imports MXNet, which takes seconds and can fail: inside, so that a failure gets its sentence.
    from sagemaker_ssd.hosting.model import load_detectors

    # PIL has a limit of its own, at which it warns or refuses.
    Image.MAX_IMAGE_PIXELS = None
    settings = read_hosting_settings(os.environ)
    detectors = load_detectors(
        arguments.model, arguments.gpu, arguments.group, settings.class_names, precision, settings.detections
    )
    detectors.warm_up()
    network = detectors.model.network
    described = f"{network.base_network} at {network.image_shape} px, {network.num_classes} classes"
    if settings.detections != BEST_CLASS:
        described += f", detections of {settings.detections}"
    threads = 1 if arguments.gpu is None else _DECODERS_OF_A_GPU
    decoding = Decoding(front, detectors, threads)
    front.send({"ready": {"model": described, "seconds": detectors.seconds}})
    while True:
        images = decoding.next_group(arguments.group)
        # What a crash from here on is counted against.
        front.send({"begun": [request for request, _ in images]})
        found = detectors.detect([image.input for _, image in images])
        if found is None:
            sentence = "the network's predictions for this image are not finite numbers: its training has diverged"
            for request, _ in images:
                front.send({"refused": request, "status": 500, "sentence": sentence})
            continue
        answers = [
            {"id": request, "rows": rows, "width": image.width, "height": image.height}
            for (request, image), rows in zip(images, found, strict=True)
        ]
        front.send({"detected": answers})


def main() -> None:
    """Detect until the front ends; report the exit code and the sentence where that fails."""
    arguments = _arguments()
    end_with_supervisor(arguments.supervisor)
    logs.configure()
    front = FrontSocket(arguments.channel)
    try:
        _serve(arguments, front)
    except BaseException as error:
        failure = explained(error, f"the model in {arguments.model}")
        if failure is not error or isinstance(failure, ProgramError):
            _log.exception("detection failed")
        front.send({"report": {"exit_code": failure.exit_code, "sentence": failure.sentence}})
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        # Not through the interpreter's end: after a failure MXNet can hang or crash while it is unloaded.
        os._exit(failure.exit_code)


if __name__ == "__main__":
    main()
