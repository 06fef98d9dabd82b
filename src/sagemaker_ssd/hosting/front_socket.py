"""The child's end of the socket to the front.

The front sends lines of JSON: {"load": model, "folder": path, "several": true where other models are to stay loaded},
{"unload": model}, and {"detect": id, "model": model, "bytes": n}, which is followed by the n bytes of the request's
body. A model is the front's number for it. Everything is done in the order in which it comes.

This end sends lines of JSON alone: {"started": true} once models can be loaded, {"loading": model}, {"loaded": model,
"described": text, "seconds": of an image}, {"not_loaded": model, "exit_code", "sentence", "status": HTTP status},
{"unloaded": model}, {"decoding": id}, {"decoded": id}, {"begun": [ids]} where the detection begins, {"detected":
[{"id", "rows", "width", "height", "warnings": sentences}]}, {"refused": id, "status", "sentence"}, {"report":
{"exit_code", "sentence"}}.
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

    def receive(self) -> tuple[dict[str, Any], bytes]:
        """Wait for a line and return it with the body that follows it, b"" where none does."""
        try:
            line = self._stream.readline()
            if line:
                message = json.loads(line)
                size = message.get("bytes", 0)
                body = self._stream.read(size)
                if len(body) == size:
                    return message, body
        except OSError:
            pass
        os._exit(_FRONT_IS_GONE)
