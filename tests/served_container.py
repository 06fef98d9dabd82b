"""A container that serves, asked from within: one without a network has nothing but its own loopback."""

import json
import time

from container_runner import Container, docker

# The body is a text, or a file's after an @.
_ASK = """
import http.client, json, sys
method, path, body = sys.argv[1:]
connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=100)
connection.request(method, path, open(body[1:], "rb").read() if body.startswith("@") else body or None)
response = connection.getresponse()
print(json.dumps([response.status, response.read().decode()]))
"""


def ask(container: Container, method: str, path: str, body: str = "") -> tuple[int, str]:
    """Return the status and the text of the answer; body: a text, or `@` and a file's path in the container."""
    status, text = json.loads(docker("exec", container.name, "python3", "-c", _ASK, method, path, body))
    return status, text


def wait_until_ready(container: Container) -> None:
    container.until("Ready after")
    deadline = time.monotonic() + 10
    while ask(container, "GET", "/ping") != (200, ""):
        assert time.monotonic() < deadline
