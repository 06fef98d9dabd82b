"""The examination of a channel's images in parallel: on this host, or divided among hosts that have the same images.

Decoding is what takes long in the check of a channel. Where hosts have the same images, each decodes its share of every
batch and gets the other hosts' results; everything else it does itself, so that all of them come to the same file.
"""

import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, Protocol, TypeVar

from sagemaker_ssd.channels.images import Decode, DecodeResult, ImageHeader, try_decode
from sagemaker_ssd.cores import usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")
# Gives a JSON value and returns those of all hosts, in their order.
AllGather = Callable[[Any], list[Any]]

_THREADS: Final = 8
# Two batches are in memory, one whose results are exchanged and the next one; beside them a few files that are read.
_BATCH_IMAGES: Final = 256
_BATCH_BYTES: Final = 32_000_000
# Stands for the result of an image that did not have to be decoded, such as one without a header.
_NOT_DECODED: Final = "-"


class Examiner(Protocol):
    """Does the work on each item, which holds one image."""

    def map(
        self,
        work: Callable[[Item, Decode], Result],
        items: Iterable[Any],
        content: Callable[[Item], bytes],
        read: Callable[[Any], Item] | None = None,
    ) -> Iterator[Result]:
        """Yield `work(item, decode)` of each item, in order; `content` gives the bytes that distinguish items.

        read: makes an item of each of `items` where these say only where it is; it is called in threads, since a file
        may have to come from far away.
        """
        ...


class LocalExaminer:
    """Examines every image on this host, in a thread for each core, a few items ahead."""

    def map(
        self,
        work: Callable[[Item, Decode], Result],
        items: Iterable[Any],
        content: Callable[[Item], bytes],
        read: Callable[[Any], Item] | None = None,
    ) -> Iterator[Result]:
        """Yield `work(item, decode)` of each item, in order."""
        ahead = 4 * _threads()
        with ThreadPoolExecutor(_threads()) as pool, ThreadPoolExecutor(ahead // 2) as readers:
            if read is not None:
                # Half of those that are in memory are on their way there: who waits for a file needs no core.
                ahead //= 2
                items = _ahead(readers, read, items, ahead)
            yield from _ahead(pool, lambda item: work(item, try_decode), items, ahead)


def read_in_threads(read: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield `read(item)` of each of many small files, in order."""
    with ThreadPoolExecutor(_THREADS) as pool:
        yield from _ahead(pool, read, items, 4 * _THREADS)


class DistributedExaminer:
    """Examines images together with hosts that have the same ones in the same order.

    all_gather: is called equally often on all hosts. Where a batch turns out not to be the same on all of them, each
    examines the rest alone: what follows from the difference is for the caller to say.
    """

    def __init__(self, all_gather: AllGather, *, host: int, hosts: int) -> None:
        self._all_gather, self._host, self._hosts = all_gather, host, hosts

    def map(
        self,
        work: Callable[[Item, Decode], Result],
        items: Iterable[Any],
        content: Callable[[Item], bytes],
        read: Callable[[Any], Item] | None = None,
    ) -> Iterator[Result]:
        """Yield `work(item, decode)` of each item, in order."""
        together = True
        with ThreadPoolExecutor(_threads()) as pool, ThreadPoolExecutor(_threads()) as readers:
            if read is not None:
                # Threads of their own: those that decode have a whole batch before them.
                items = _ahead(readers, read, items, _threads())

            def submit_own(batch: list[Item]) -> tuple[list[Item], str, list[Future[tuple[Result, str]]]]:
                own = [pool.submit(_with_decode_result, work, item) for item in batch[self._host :: self._hosts]]
                return batch, _digest(batch, content), own

            for batch, digest, own in _one_ahead(submit_own(batch) for batch in _batches(items, content)):
                done = [future.result() for future in own]
                decoded = (
                    self._gather(digest, "".join(decode_result for _, decode_result in done)) if together else None
                )
                together = decoded is not None
                others = [
                    None
                    if number % self._hosts == self._host
                    else pool.submit(work, item, self._decode_elsewhere(decoded, number))
                    for number, item in enumerate(batch)
                ]
                results = iter(done)
                for other in others:
                    yield next(results)[0] if other is None else other.result()
            if together:
                # The other hosts may have one more batch, and wait to compare it.
                self._gather("", "")

    def _gather(self, digest: str, decoded: str) -> list[str] | None:
        """Return what each host found on decoding its images of a batch, or None where one has another batch."""
        values = self._all_gather({"digest": digest, "decoded": decoded})
        return [value["decoded"] for value in values] if all(value["digest"] == digest for value in values) else None

    def _decode_elsewhere(self, decoded: list[str] | None, number: int) -> Decode:
        """Return a function that gives what another host found on decoding the batch's image `number`."""
        result = _NOT_DECODED if decoded is None else decoded[number % self._hosts][number // self._hosts]
        return try_decode if result == _NOT_DECODED else lambda image, header: DecodeResult(result)


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], most: int
) -> Iterator[Result]:
    """Yield `work(item)` of each item, in order; `most` results are there or on their way at once."""
    pending: deque[Future[Result]] = deque()
    for item in items:
        pending.append(pool.submit(work, item))
        if len(pending) >= most:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _threads() -> int:
    return min(usable_cores(), _THREADS)


def _with_decode_result(work: Callable[[Item, Decode], Result], item: Item) -> tuple[Result, str]:
    """Do the work, and return what decoding the item's image has shown too."""
    found: str = _NOT_DECODED

    def decode(image: bytes, header: ImageHeader) -> DecodeResult:
        nonlocal found
        found = result = try_decode(image, header)
        return result

    return work(item, decode), found


def _digest(batch: Iterable[Item], content: Callable[[Item], bytes]) -> str:
    digest, images = 0, 0
    for item in batch:
        digest, images = zlib.crc32(content(item), digest), images + 1
    return f"{images}:{digest:08x}"


def _batches(items: Iterable[Item], content: Callable[[Item], bytes]) -> Iterator[list[Item]]:
    batch: list[Item] = []
    size = 0
    for item in items:
        batch.append(item)
        size += len(content(item))
        if len(batch) == _BATCH_IMAGES or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _one_ahead(batches: Iterable[Item]) -> Iterator[Item]:
    """Yield each one when the next has been made, so that its work is under way."""
    previous: list[Item] = []
    for batch in batches:
        yield from previous
        previous = [batch]
    yield from previous
