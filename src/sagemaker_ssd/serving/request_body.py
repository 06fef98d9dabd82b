"""The body of a request, whose bytes are counted while they come; what surely is no image is refused."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import ClientDisconnect, Request

from sagemaker_ssd.errors import bytes_in_words, shown
from sagemaker_ssd.serving.detection import RefusedError, stopping_refusal

# What the SDK's serializers for arrays and text send, and browsers' forms. Everything else is judged by its bytes:
# clients send images as application/octet-stream, file-path/raw-bytes, application/x-www-form-urlencoded (curl) or
# without any type.
_NO_IMAGES: Final = frozenset(
    {
        "application/json",
        "application/jsonlines",
        "application/x-npy",
        "application/x-npz",
        "application/x-recordio",
        "application/x-recordio-protobuf",
        "application/x-parquet",
        "multipart/form-data",
        "text/csv",
        "text/html",
        "text/libsvm",
        "text/plain",
        "text/x-libsvm",
    }
)
_SEND: Final = (
    "send the bytes of one image file, such as a JPEG or a PNG, with ContentType application/x-image, image/jpeg or "
    "image/png"
)
# What comes instead of an image under a type that does not tell, by its first bytes, which no image has: the files of
# numpy.save and numpy.savez, what programs do to images that travel in JSON, and what wraps files.
_OTHERS: Final = {
    b"\x93NUMPY": "an array of numpy",
    b"PK\x03\x04": "a zip archive, as numpy.savez writes it too",
    b"/9j/": "a JPEG in base64",
    b"iVBORw0KGgo": "a PNG in base64",
    b"data:image/": "a data URL",
    b"{": "JSON",
    b"[": "JSON",
    b'"': "JSON",
    b"\x1f\x8b": "compressed by gzip",
    b"--": "a form, as browsers send it",
}
# Bodies of all requests together, while they come and until they are answered.
_MOST_BYTES: Final = 512 << 20
# The name and the folder of a model.
_ORDER_BYTES: Final = 1 << 16


class BodyMemory:
    """Counts the bytes of all bodies that are held; `most` allows two of the largest, at least."""

    def __init__(self, max_payload: int) -> None:
        self._most, self.held = max(_MOST_BYTES, 2 * max_payload), 0

    def take(self, count: int) -> None:
        """Count bytes as held; raises RefusedError where that is too much."""
        if self.held + count > self._most:
            raise RefusedError(
                503,
                f"too many requests: their bodies have {bytes_in_words(self.held)} in memory already; try again later, "
                "or add instances",
                5,
            )
        self.held += count

    def give_back(self, count: int) -> None:
        """Count bytes as not held any more."""
        self.held -= count


def check_headers(request: Request, max_payload: int) -> None:
    """Raise RefusedError for a body that needs not be read: of a type that is no image, or announced as too large."""
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() in _NO_IMAGES:
        raise RefusedError(415, f"Content-Type is {shown(content_type)}, which is no image: {_SEND}")
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) > max_payload:
        raise too_large(max_payload)


class BodyWaits:
    """The waits for bodies, which a stop of the server ends all at once; `ended` says whether it has."""

    def __init__(self) -> None:
        self.ended = False
        self._limits: set[asyncio.Timeout] = set()

    @contextlib.asynccontextmanager
    async def limit(self, seconds: float) -> AsyncIterator[asyncio.Timeout]:
        """Raise TimeoutError in the block where it lasts longer than `seconds`, or than until the stop."""
        async with asyncio.timeout(0 if self.ended else seconds) as limit:
            self._limits.add(limit)
            try:
                yield limit
            finally:
                self._limits.discard(limit)

    def end(self) -> None:
        """End all waits that there are, and those that begin from now on."""
        self.ended = True
        now = asyncio.get_running_loop().time()
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(now)


async def read_image(request: Request, max_payload: int, seconds: float, memory: BodyMemory, waits: BodyWaits) -> bytes:
    """Read an image's body, whose bytes `memory` then counts as held; raises RefusedError and ClientDisconnect."""
    body = await _read_body(request, max_payload, seconds, memory, waits, too_large(max_payload))
    other = next((what for begin, what in _OTHERS.items() if body.startswith(begin)), None)
    if body and other is None:
        return body
    memory.give_back(len(body))
    if not body:
        raise RefusedError(400, f"the request has no body: {_SEND}")
    raise RefusedError(415, f"the request's body is {other}, which is no image: {_SEND}")


async def read_order(request: Request, seconds: float, waits: BodyWaits) -> bytes:
    """Read the body of a request that loads a model; raises RefusedError and ClientDisconnect."""
    refusal = RefusedError(413, f"the request's body has more than {_ORDER_BYTES >> 10} kB: name one model")
    return await _read_body(request, _ORDER_BYTES, seconds, BodyMemory(_ORDER_BYTES), waits, refusal)


async def _read_body(
    request: Request, most: int, seconds: float, memory: BodyMemory, waits: BodyWaits, too_large: RefusedError
) -> bytes:
    request.state.body_asked_for = True
    chunks: list[bytes] = []
    size = 0
    try:
        async with waits.limit(seconds):
            async for chunk in request.stream():
                # Before it is kept; what Content-Length says need not be true, and chunked bodies have none.
                if size + len(chunk) > most:
                    raise too_large
                memory.take(len(chunk))
                size += len(chunk)
                chunks.append(chunk)
    except TimeoutError:
        memory.give_back(size)
        if waits.ended:
            raise stopping_refusal() from None
        raise RefusedError(408, f"the request's body did not come within {seconds:g} seconds") from None
    except BaseException:
        memory.give_back(size)
        raise
    return b"".join(chunks)


def waits_to_be_asked(request: Request) -> bool:
    """Say whether the client sends its body once it is asked for it by `100 Continue`, and has not been yet."""
    return "expect" in request.headers and not getattr(request.state, "body_asked_for", False)


def ends_connection(request: Request) -> bool:
    """Say whether the connection is closed after the answer, as the client wants it or HTTP/1.0 has it."""
    options = ",".join(request.headers.getlist("connection")).lower().split(",")
    return request.scope["http_version"] == "1.0" or "close" in (option.strip() for option in options)


async def discard_body(request: Request, quiet: float, most: float, waits: BodyWaits) -> None:
    """Read on to the end of a refused request, for `most` seconds, or until nothing has come for `quiet` seconds.

    Where the connection is closed after the answer, bytes that were not read would take the answer from the client. A
    stop that ends `waits` ends this one too.
    """
    now = asyncio.get_running_loop().time
    end = now() + most
    try:
        async with waits.limit(min(quiet, most)) as limit:
            async for _ in request.stream():
                if waits.ended:
                    break
                limit.reschedule(min(now() + quiet, end))
    except (TimeoutError, ClientDisconnect, RuntimeError):
        # RuntimeError: the stream was begun and given up.
        pass


def too_large(max_payload: int) -> RefusedError:
    """Return the refusal of a body of more than `max_payload` bytes."""
    return RefusedError(
        413,
        f"the request's body has more than {max_payload / (1 << 20):g} MB: send the image's file and not an array of "
        "its pixels, or a smaller image; SAGEMAKER_MAX_PAYLOAD_IN_MB sets the limit",
    )
