"""The examination of a channel's images in their order: by this host alone, or shared out among hosts of the same data.

Decoding is what it takes long for. Of each batch of images a host decodes its share and is told the other hosts'
verdicts; everything else it does itself, so that all come to the same file.
"""

import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, Protocol, TypeVar

from sagemaker_ssd.cores import usable_cores
from sagemaker_ssd.data.image_header import ImageHeader
from sagemaker_ssd.data.images import Judge, Verdict, judge_image

Item = TypeVar("Item")
Result = TypeVar("Result")
# Gives a JSON value and returns those of all hosts.
Exchange = Callable[[Any], list[Any]]

_THREADS: Final = 8
# Two batches are in memory, one whose verdicts are exchanged and one behind it.
_BATCH_IMAGES: Final = 256
_BATCH_BYTES: Final = 32_000_000
# The verdict on what had not to be decoded.
_NOT_ASKED: Final = "-"


class Examiner(Protocol):
    """Does the work on each item, which holds one image."""

    def in_order(
        self, work: Callable[[Item, Judge], Result], items: Iterable[Item], content: Callable[[Item], bytes]
    ) -> Iterator[Result]:
        """Yield `work(item, judge)` of each item in order; `content` gives the bytes that tell items apart."""
        ...


class Alone:
    """Examines every image on this host, in a thread for each core, a few items ahead."""

    def in_order(
        self, work: Callable[[Item, Judge], Result], items: Iterable[Item], content: Callable[[Item], bytes]
    ) -> Iterator[Result]:
        """Yield `work(item, judge)` of each item in order."""
        threads = _threads()
        pending: deque[Future[Result]] = deque()
        with ThreadPoolExecutor(threads) as pool:
            for item in items:
                pending.append(pool.submit(work, item, judge_image))
                if len(pending) >= 4 * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()


class SharedOut:
    """Examines images together with hosts that have the same ones in the same order.

    exchange: is called equally often on all hosts. Where a batch turns out not to be the same on all of them, each
    examines the rest alone: what follows from the difference is for others to say.
    """

    def __init__(self, exchange: Exchange, *, host: int, hosts: int) -> None:
        self._exchange, self._host, self._hosts = exchange, host, hosts

    def in_order(
        self, work: Callable[[Item, Judge], Result], items: Iterable[Item], content: Callable[[Item], bytes]
    ) -> Iterator[Result]:
        """Yield `work(item, judge)` of each item in order."""
        together = True
        with ThreadPoolExecutor(_threads()) as pool:

            def begin(batch: list[Item]) -> tuple[list[Item], str, list[Future[tuple[Result, str]]]]:
                own = [pool.submit(_judged, work, item) for item in batch[self._host :: self._hosts]]
                return batch, _digest(batch, content), own

            for batch, digest, own in _one_ahead(begin(batch) for batch in _batches(items, content)):
                done = [future.result() for future in own]
                verdicts = self._share(digest, "".join(verdict for _, verdict in done)) if together else None
                together = verdicts is not None
                judges = [judge_image] * len(batch) if verdicts is None else self._judges(verdicts, len(batch))
                others = [
                    None if number % self._hosts == self._host else pool.submit(work, item, judge)
                    for number, (item, judge) in enumerate(zip(batch, judges, strict=True))
                ]
                results = iter(done)
                for other in others:
                    yield next(results)[0] if other is None else other.result()
            if together:
                self._share("", "")

    def _share(self, digest: str, verdicts: str) -> list[str] | None:
        """Return the verdicts of all hosts, or None where one has another batch."""
        values = self._exchange({"digest": digest, "verdicts": verdicts})
        return [value["verdicts"] for value in values] if all(value["digest"] == digest for value in values) else None

    def _judges(self, verdicts: list[str], images: int) -> list[Judge]:
        return [_told(verdicts[number % self._hosts][number // self._hosts]) for number in range(images)]


def _threads() -> int:
    return min(usable_cores(), _THREADS)


def _judged(work: Callable[[Item, Judge], Result], item: Item) -> tuple[Result, str]:
    """Do the work, and return the verdict on the item's image too."""
    verdict: str = _NOT_ASKED

    def judge(image: bytes, header: ImageHeader) -> Verdict:
        nonlocal verdict
        verdict = judged = judge_image(image, header)
        return judged

    return work(item, judge), verdict


def _told(verdict: str) -> Judge:
    """Return a judge that says what another host said."""
    return judge_image if verdict == _NOT_ASKED else lambda image, header: Verdict(verdict)


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
    """Yield each one when the next has been begun."""
    previous: list[Item] = []
    for batch in batches:
        yield from previous
        previous = [batch]
    yield from previous
