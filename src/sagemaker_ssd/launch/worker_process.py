"""The worker as a child process, and the channel through which it talks to the supervisor."""

import contextlib
import json
import logging
import socket
import threading
from collections.abc import Callable, Mapping, Sequence

from sagemaker_ssd.launch.child_process import ChildProcess
from sagemaker_ssd.launch.progress import Progress

_log = logging.getLogger(__name__)
Answer = Callable[[list[object]], None]
Gather = Callable[[str, object, Answer], None]


def worker_environment(environment: Mapping[str, str], threads: int) -> dict[str, str]:
    """Return the environment that the worker runs in.

    The number of OpenMP threads is set, since results on a CPU depend on it; cuDNN is not tried out for minutes at
    the start; MXNet does not announce each graph; a value that the user has set stays.
    """
    defaults = {
        "OMP_NUM_THREADS": str(threads),
        "MXNET_CUDNN_AUTOTUNE_DEFAULT": "0",
        "MXNET_CUDNN_LIB_CHECKING": "0",
        "MXNET_SUBGRAPH_VERBOSE": "0",
        "PYTHONUNBUFFERED": "1",
    }
    return {**defaults, **environment}


class WorkerProcess(ChildProcess):
    """Runs `python -m sagemaker_ssd.worker`, which writes JSON lines to its end of a socket.

    {"report": {"exit_code", "sentence"}} is its own word on its end: `report`, None when it had no chance to.
    {"progress": text, "within": seconds or null, "busy": whether} says what it does: `progress`.
    {"gather": name, "value": value} is handed to `gather`; the answer goes back as {"gathered": name, "values": [...]}.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], gather: Gather | None = None) -> None:
        ours, theirs = socket.socketpair()
        channel = ["--channel", str(theirs.fileno())]
        try:
            super().__init__("sagemaker_ssd.worker", [*channel, *arguments], environment, inherited=(theirs.fileno(),))
        finally:
            theirs.close()
        self.report: dict[str, object] | None = None
        self.progress = Progress()
        self._gather = gather
        self._channel, self._writing = ours, threading.Lock()
        listener = threading.Thread(target=self._listen, daemon=True)
        self._listeners.append(listener)
        listener.start()

    def _listen(self) -> None:
        with self._channel, self._channel.makefile("rb") as lines:
            for line in lines:
                # A process that is killed can leave half a line.
                with contextlib.suppress(json.JSONDecodeError):
                    self._take_line(json.loads(line))

    def _take_line(self, message: dict[str, object]) -> None:
        try:
            self._take(message)
        except Exception as error:
            # The worker would wait for an answer for ever.
            _log.exception("unexpected error")
            text = f"{type(error).__name__}: {error}. This is a bug of this program; the job's log has the details"
            self.report = {"exit_code": 3, "sentence": text}
            self.kill()

    def _take(self, message: dict[str, object]) -> None:
        report, name, within = message.get("report"), message.get("gather"), message.get("within")
        if isinstance(report, dict):
            self.report = report
        elif "progress" in message:
            seconds = within if isinstance(within, int | float) else None
            self.progress.made(str(message["progress"]), seconds, busy=bool(message.get("busy")))
        elif isinstance(name, str) and self._gather is not None:
            self._gather(name, message.get("value"), lambda values: self._answer(name, values))

    def _answer(self, name: str, values: list[object]) -> None:
        line = json.dumps({"gathered": name, "values": values}).encode() + b"\n"
        # The worker may have ended meanwhile.
        with self._writing, contextlib.suppress(OSError):
            self._channel.sendall(line)
