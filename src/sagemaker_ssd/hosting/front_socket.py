"""The child's end of the socket to the front.

The front sends lines of JSON {"detect": id, "bytes": n}, each followed by the n bytes of the request's body. This end
sends lines of JSON alone: {"progress": text, "within": seconds, "busy": true}, {"ready": facts}, {"begun": [ids]},
{"detected": id, ...}, {"refused": id, "status": HTTP status, "sentence": text}, {"report": {"exit_code", "sentence"}}.
"""

import json
import os
import socket
import threading
from typing import Any

_FRONT_IS_GONE = 2


class FrontSocket:
    """Reads requests in one thread; sends from any. Without a front there is nothing to do, so this process ends."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._stream = self._socket.makefile("rb")
        self._sending = threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        """Send a line."""
        line = json.dumps(message, allow_nan=False).encode() + b"\n"
        try:
            with self._sending:
                self._socket.sendall(line)
        except OSError:
            os._exit(_FRONT_IS_GONE)

    def receive(self) -> tuple[int, bytes]:
        """Wait for a request and return its id and its body."""
        try:
            line = self._stream.readline()
            if line:
                message = json.loads(line)
                body = self._stream.read(message["bytes"])
                if len(body) == message["bytes"]:
                    return message["detect"], body
        except OSError:
            pass
        os._exit(_FRONT_IS_GONE)
