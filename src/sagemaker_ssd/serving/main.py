"""The program behind `serve`, from the signals to the exit code: the port, the devices, the server, the end."""

import asyncio
import contextlib
import json
import logging
import os
import re
import resource
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sagemaker_ssd import logs
from sagemaker_ssd.contract.hosting import (
    MODEL_FOLDER,
    MULTI_MODEL_VARIABLE,
    WORKERS_VARIABLE,
    HostingSettings,
    read_hosting_port,
    read_hosting_settings,
)
from sagemaker_ssd.contract.paths import base_folder
from sagemaker_ssd.cores import usable_cores
from sagemaker_ssd.errors import JobError, UserError, unexpected_error
from sagemaker_ssd.gpu import (
    CPU_IMAGE,
    FAMILIES,
    check_cards,
    check_driver,
    count_gpus,
    driver_fault,
    stand_in_environment,
)
from sagemaker_ssd.serving.detection import Detection, Devices, Model
from sagemaker_ssd.serving.front import Front
from sagemaker_ssd.serving.models import Models
from sagemaker_ssd.version import is_gpu_build, version

_log = logging.getLogger(__name__)
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
# SageMaker kills the container 30 seconds after SIGTERM.
_STOP_SECONDS: Final = 25
# For what is only told, while nothing is loaded yet.
_SECONDS_FOR_A_WARNING: Final = 20.0
# A platform that has not asked for so long does not ask any more.
_TELL_SECONDS: Final = 60.0
# Longer than any proxy keeps a connection for its next request: one that this end closes first can lose that request.
_KEEP_ALIVE_SECONDS: Final = 650
_BACKLOG: Final = 2048
# Of a request's line and its headers, in bytes.
_MOST_HEADERS: Final = 64 << 10
_EMPTY_LINES: Final = re.compile(rb"(\r\n)+")


def main(arguments: Sequence[str]) -> int:
    """Serve the model below SAGEMAKER_BASE_DIR, else /opt/ml, until SIGTERM; return the exit code."""
    logs.configure()
    # Its lines about its own start and end tell nobody anything.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    _log.info("sagemaker-ssd %s, built for %s", version(), "GPUs" if is_gpu_build() else "CPUs")
    try:
        if arguments:
            raise UserError(f"`serve` takes no arguments; it was started with `{' '.join(arguments)}`")
        listener = _listen(read_hosting_port(os.environ))
    except JobError as error:
        _log.error("%s", error.sentence)
        return error.exit_code
    _allow_many_connections()
    with listener:
        return asyncio.run(_serve(listener))


def _listen(port: int) -> socket.socket:
    # asyncio sends without Nagle's delay on sockets that say they are TCP alone, and answers have two segments: on a
    # connection that stays open the second one would wait 40 ms for the client's acknowledgement of the first.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise UserError(
            f"cannot listen on port {port}: {error.strerror}. End the program that uses it, or name another port in "
            "SAGEMAKER_BIND_TO_PORT"
        ) from error
    return listener


def _allow_many_connections() -> None:
    """Raise the limit of open files to what the system allows: shells and some containers begin with 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _serve(listener: socket.socket) -> int:
    """Answer from the first moment, and return the exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stop.set)
    # Held back since the start of the program.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
    settings, fault = HostingSettings(), None
    try:
        settings = read_hosting_settings(os.environ)
    except UserError as error:
        fault = error
    base = base_folder(os.environ)
    only = None if settings.multi_model else Model("", base / MODEL_FOLDER)
    detection = Detection(settings.answer_seconds, only)
    front = Front(settings, detection, only or Models(detection, base))
    server = _Server(front)
    _log.info("Listening on port %d", listener.getsockname()[1])
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    if fault is not None:
        detection.fail(fault)
    preparing = asyncio.create_task(_prepare(detection, settings, stop))
    stopping, failed = asyncio.create_task(stop.wait()), asyncio.create_task(detection.failed.wait())
    await asyncio.wait({stopping, failed, serving}, return_when=asyncio.FIRST_COMPLETED)
    if not stop.is_set() and not serving.done():
        told = asyncio.create_task(front.failure_told.wait())
        await asyncio.wait({stopping, told}, timeout=_TELL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    _log.info("Stopping")
    detection.stop()
    front.stop()
    server.should_exit = True
    await serving
    stop.set()
    await preparing
    await detection.close()
    _log.info("Stopped")
    return 0 if detection.failure is None else detection.failure.exit_code


async def _prepare(detection: Detection, settings: HostingSettings, stop: asyncio.Event) -> None:
    """Find the devices and start the processes; what is wrong becomes the failure of the detection."""
    try:
        # Asking the driver can take long, and /ping is answered meanwhile.
        detection.start(await asyncio.to_thread(_devices, settings, stop))
    except JobError as error:
        detection.fail(error)
    except Exception as error:
        _log.exception("unexpected error")
        detection.fail(unexpected_error(error))


def _devices(settings: HostingSettings, stop: asyncio.Event) -> Devices:
    """Return a process for each GPU, or as many as the environment says for the processors; raises JobError."""
    if not is_gpu_build():
        _warn_of_idle_gpus(settings, stop)
        return _processors(settings)
    fault = driver_fault()
    stand_in = None if fault is None else stand_in_environment(os.environ)
    if stand_in is None:
        check_driver()
    gpus = _count_gpus(stop)
    if gpus is None:
        return _processors(settings)
    if settings.multi_model:
        if gpus:
            raise UserError(
                f"{MULTI_MODEL_VARIABLE} is true, and several models are hosted on CPUs alone: choose an instance type "
                "without a GPU, on which the GPU image hosts too, or an endpoint for each model"
            )
        _log.info("No GPU was found, and several models need none: detecting on the processors")
    elif fault is None:
        check_cards(gpus, stopping=stop.is_set)
        if settings.workers not in (None, gpus):
            _log.warning("%s has no effect on GPUs: there is one process for each", WORKERS_VARIABLE)
        return Devices(list(range(gpus)), max(1, usable_cores() // gpus))
    elif gpus:
        # Not on the processors: such an endpoint would be slow, for the price of a GPU.
        raise UserError(
            f"this is the GPU image, and nvidia-smi lists {gpus} GPU(s), but the NVIDIA driver cannot be loaded "
            f"({fault}): NVIDIA_DRIVER_CAPABILITIES must be compute,utility, as in this image, where it was set "
            f"otherwise; or use {CPU_IMAGE}"
        )
    else:
        _log.warning(
            "This is the GPU image, and no NVIDIA driver was found (%s): detecting on the processors, as the CPU image "
            "does. Where a GPU was meant, choose an instance type with one, of the families %s, or start the container "
            "with `docker run --gpus all`",
            *(fault, FAMILIES),
        )
    return _processors(settings, stand_in)


def _processors(settings: HostingSettings, environment: Mapping[str, str] | None = None) -> Devices:
    """Return as many processes for the processors as the environment says; environment: what they get besides."""
    cores = usable_cores()
    workers = settings.workers or 1
    if workers > cores:
        _log.warning("%s is %d, more than the %d processors", WORKERS_VARIABLE, workers, cores)
    return Devices([None] * workers, max(1, cores // workers), environment or {})


def _warn_of_idle_gpus(settings: HostingSettings, stop: asyncio.Event) -> None:
    """Say where the CPU image runs on a machine with GPUs, as training does; it may be meant, and is no fault."""
    try:
        gpus = _count_gpus(stop, _SECONDS_FOR_A_WARNING)
    except JobError as error:
        _log.warning("Whether this machine has GPUs was not found out: %s", error.sentence)
        return
    if gpus:
        _log.warning(
            "The machine has %d GPU(s), but this is the CPU image: detecting on the CPU. Choose %san instance type "
            "without a GPU",
            *(gpus, "" if settings.multi_model else "the GPU image, or "),
        )


def _count_gpus(stop: asyncio.Event, seconds: float = 120) -> int | None:
    """Count the GPUs that nvidia-smi lists, None when this program was asked to stop meanwhile; raises JobError."""
    # Without it there is nothing to ask, and no folder is needed for the answer: the root may be read-only.
    if shutil.which("nvidia-smi") is None:
        return 0
    try:
        folder = tempfile.TemporaryDirectory()
    except OSError as error:
        raise UserError(
            f"the GPUs cannot be counted without a folder for temporary files ({error.strerror}): mount one at /tmp, "
            "with `docker run --tmpfs /tmp` where the root is read-only"
        ) from error
    with folder as scratch:
        return count_gpus(Path(scratch), stopping=stop.is_set, deadline_seconds=seconds)


class _Server(uvicorn.Server):
    """uvicorn, whose signals are this program's to answer: it would end with the signal instead of an exit code."""

    def __init__(self, front: Front) -> None:
        super().__init__(
            uvicorn.Config(
                front.app,
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_STOP_SECONDS,
                backlog=_BACKLOG,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Connection(h11.Connection):
    """Passes over empty lines before a request (RFC 9112, 2.2), which h11 refuses: some clients end a body so."""

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        if self.their_state is h11.IDLE:
            if empty := _EMPTY_LINES.match(self.trailing_data[0]):
                self._receive_buffer.maybe_extract_at_most(empty.end())
            # The half of one.
            if self.trailing_data[0] == b"\r":
                return h11.NEED_DATA
        return super().next_event()


class _Protocol(H11Protocol):
    """Answers what is no HTTP in JSON, as everything else is, with what is wrong about it; and says so in the log."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.conn = _Connection(h11.SERVER, _MOST_HEADERS)

    def send_400_response(self, msg: str) -> None:
        # Called while the fault is handled. h11 knows which status answers it; 431 are headers above its limit.
        fault = sys.exc_info()[1]
        status = fault.error_status_hint if isinstance(fault, h11.RemoteProtocolError) else 400
        sentence = f"this is not an HTTP request that can be read: {fault or msg}"
        if status == 431:
            sentence = f"the request's headers have more than {_MOST_HEADERS >> 10} KB"
        _log.info("%d: %s", status, sentence)
        # Not where a request before the fault was answered while its body came: that answer stands.
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            content = json.dumps({"error": sentence}).encode()
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(content)).encode()),
                (b"connection", b"close"),
            ]
            for event in (
                h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase.encode()),
                h11.Data(data=content),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
