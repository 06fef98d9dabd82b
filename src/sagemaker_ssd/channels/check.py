"""What the check of a channel does alike for every input format: progress, images, the verdict at the end.

The examination of a channel's images in their order: by this host alone, or shared out among hosts of the same data.

Decoding is what it takes long for. Of each batch of images a host decodes its share and is told the other hosts'
verdicts; everything else it does itself, so that all come to the same file.

The check of image records, wherever they come from: each is kept, corrected, left out, or a fault.

The check of a channel that is RecordIO files: one pass, and a copy only where one is needed or asked for.
"""

import logging
import os
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd import boxes
from sagemaker_ssd.channels.findings import ChannelFindings
from sagemaker_ssd.channels.images import ImageFacts, ImageHeader, Judge, Verdict, examine_image, judge_image
from sagemaker_ssd.channels.record_file import CopiedRecords, RecordFile, RecordsInPlace, Tally
from sagemaker_ssd.channels.recordio import (
    NO_LABEL_HINT,
    NO_OBJECT,
    LabelError,
    Payload,
    Record,
    filling,
    is_empty,
    join_payload,
    read_records,
    readable,
    split_label,
    split_payload,
)
from sagemaker_ssd.cores import usable_cores
from sagemaker_ssd.errors import UserError, bytes_in_words, in_words
from sagemaker_ssd.files import bytes_of

_SECONDS_BETWEEN_LINES = 10
COUNTED_FROM_0 = "Counting starts at 0"
_log = logging.getLogger(__name__)


class CheckProgress:
    """Writes a line every ten seconds, so that a long pass does not look stuck."""

    def __init__(self, name: str, amount: Callable[[], int] | None = None) -> None:
        """Take the channel's name, and for a stream what tells the bytes that were read."""
        self.images = 0
        self._name, self._amount = name, amount
        self._last = time.monotonic()

    def step(self) -> None:
        """Count one more image."""
        self.images += 1
        if time.monotonic() - self._last >= _SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            read = "" if self._amount is None else f", {bytes_in_words(self._amount())} read"
            _log.info("%s: %s images checked so far%s", self._name, f"{self.images:,}", read)


def usable_image(facts: ImageFacts, where: str, findings: ChannelFindings) -> bool:
    """Note what is odd about an image, and tell whether the reader can decode it."""
    if facts.fault:
        findings.bad_image(where, facts.fault)
        return False
    if facts.cut:
        findings.warn("JPEG that is cut off, used as far as it goes", where)
    if facts.changed:
        findings.warn(f"image changed: {facts.changed}", where)
    return True


def conclude(findings: ChannelFindings, tally: Tally, *, images: int, max_bad_images: float, label_width: int) -> None:
    """Write the warnings of a channel of `images` images; raises UserError if anything stops the job."""
    findings.weigh_bad_images(images, max_bad_images)
    if not findings.faulty:
        if images == 0:
            findings.fault(f"{findings.name}: holds no image with an annotation")
        elif tally.boxes == 0:
            findings.fault(
                f"{findings.name}: not one box in {in_words(images, 'image', 'images')}, so there is nothing to "
                + ("compute the mAP with, which chooses the model" if findings.name == "validation" else "learn")
            )
    findings.log_warnings()
    findings.stop_if_faulty()
    if label_width < tally.label_floats:
        _log.warning(
            "%s: label_width is %d, but the fullest image needs %d; %d is used",
            *(findings.name, label_width, tally.label_floats, tally.label_floats),
        )


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


FRACTIONS = "Coordinates are fractions of the image's width and height, from 0 to 1"


@dataclass(frozen=True, slots=True)
class _Examined:
    record: Record
    payload: Payload
    objects: NDArray[np.float32]
    facts: ImageFacts


@dataclass(frozen=True, slots=True)
class _Kept:
    label: NDArray[np.float32]
    class_ids: NDArray[np.float32]


def check_records(
    records: Iterable[Record],
    target: CopiedRecords | RecordsInPlace,
    findings: ChannelFindings,
    tally: Tally,
    progress: CheckProgress,
    *,
    num_classes: int,
    examiner: Examiner,
) -> None:
    """Check image records one by one: count what is kept, put it into `target`, and note what is wrong."""
    for record, examined in examiner.in_order(_examine, records, lambda record: record.payload):
        progress.step()
        if isinstance(examined, LabelError):
            findings.fault(f"{record.where} {examined}", NO_LABEL_HINT)
            continue
        kept = _check(examined, findings, num_classes)
        if not findings.faulty:
            _store(examined, kept, target, tally)


def _examine(record: Record, judge: Judge) -> tuple[Record, _Examined | LabelError]:
    try:
        payload = split_payload(record.payload)
        objects = split_label(payload.label)
    except LabelError as error:
        return record, error
    return record, _Examined(record, payload, objects, examine_image(payload.image, judge=judge))


def _check(examined: _Examined, findings: ChannelFindings, num_classes: int) -> _Kept | None:
    """Return the label to train on, or None for a record to leave out or with a fault."""
    objects, facts = examined.objects, examined.facts
    where, record = examined.record.where, examined.record.brief
    numbers = np.flatnonzero(~filling(objects))
    if not _check_values(objects, numbers, where, findings, num_classes):
        return None
    if not usable_image(facts, record, findings):
        return None
    if is_empty(objects):
        label = examined.payload.label
        return _Kept(label if readable(label) else NO_OBJECT, np.empty(0, np.float32))
    outside = boxes.pixels_outside(objects[numbers, 1:5], facts.width, facts.height)
    far = numbers[boxes.too_far_outside(outside)]
    for number in far:
        findings.fault(
            f"{where}, box {number} ({_corners(objects[number])}) is not inside its image",
            FRACTIONS,
            COUNTED_FROM_0,
        )
    return None if len(far) else _correct(examined, numbers, outside, record, findings)


def _check_values(
    objects: NDArray[np.float32], numbers: NDArray[np.int64], where: str, findings: ChannelFindings, num_classes: int
) -> bool:
    """Note class ids and coordinates that can be none, of the rows `numbers` of (boxes, object_width)."""
    valid = boxes.valid_class_ids(objects[:, 0], num_classes)
    finite = np.isfinite(objects[:, 1:5]).all(axis=1)
    for number in numbers[~(valid & finite)[numbers]]:
        if not valid[number]:
            text = f"has class_id {objects[number, 0]:g} ({boxes.id_range(num_classes)})"
        else:
            text = f"({_corners(objects[number])}) has a coordinate that is not a number"
        findings.fault(f"{where}, box {number} {text}", COUNTED_FROM_0)
    return bool((valid & finite)[numbers].all())


def _correct(
    examined: _Examined,
    numbers: NDArray[np.int64],
    outside: NDArray[np.float64],
    record: str,
    findings: ChannelFindings,
) -> _Kept | None:
    """Clip what lies past the border, and leave an image out whose boxes have no area."""
    label, objects = examined.payload.label, examined.objects
    if outside.any():
        label = label.copy()
        objects = split_label(label)
        clipped = numbers[outside > 0]
        objects[clipped, 1:5] = objects[clipped, 1:5].clip(0, 1)
        for number in clipped:
            findings.warn(boxes.CLIPPED, f"{record} box {number}")
    with_area = boxes.with_area(objects[numbers, 1:5])
    for number in numbers[~with_area]:
        findings.warn(boxes.NO_AREA, f"{record} box {number}")
    if not with_area.any():
        findings.warn(boxes.ONLY_NO_AREA, record)
        return None
    return _Kept(label, objects[numbers[with_area], 0])


def _store(examined: _Examined, kept: _Kept | None, target: CopiedRecords | RecordsInPlace, tally: Tally) -> None:
    if kept is None:
        target.leave_out(examined.record)
        return
    if kept.label is examined.payload.label and not examined.facts.changed:
        offset = target.keep(examined.record)
    else:
        payload = replace(examined.payload, label=kept.label, image=examined.facts.image)
        offset = target.replace(examined.record, join_payload(payload))
    tally.add(offset, kept.class_ids, len(kept.label), examined.record.brief)


def _corners(box: NDArray[np.float32]) -> str:
    return ", ".join(
        f"{side} {value:g}" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box[1:5], strict=True)
    )


def check_recordio(
    files: Path | Sequence[Path],
    *,
    name: str,
    num_classes: int,
    scratch: Path,
    max_bad_images: float,
    label_width: int,
    copy: bool = False,
    examiner: Examiner | None = None,
    keep_names: bool = False,
) -> RecordFile:
    """Read the .rec files of the channel `name` once, count and check them, and return the file to train on.

    One file alone is used in place unless a record has to change; `copy`: it is copied in every case, so that it is
    never read again. Several become one, in the order given. examiner: None for a channel that this host alone
    examines. Raises UserError with the first ten faults and their number.
    """
    paths = [files] if isinstance(files, Path) else list(files)
    findings, tally, progress = ChannelFindings(name), Tally(num_classes, keep_names=keep_names), CheckProgress(name)
    with _target(paths, scratch / f"{name}.rec", copy) as target:
        records = _records(paths, findings)
        check_records(
            *(records, target, findings, tally, progress), num_classes=num_classes, examiner=examiner or Alone()
        )
        conclude(findings, tally, images=progress.images, max_bad_images=max_bad_images, label_width=label_width)
        file = target.finish(tally)
    _log.info("%s", file.summary(name))
    return file


def _target(paths: Sequence[Path], target: Path, copy: bool) -> CopiedRecords | RecordsInPlace:
    if len(paths) == 1 and not copy:
        return RecordsInPlace(paths[0], target)
    what = f"a copy of {in_words(len(paths), '.rec file', '.rec files')}"
    return CopiedRecords(target, what=what, needed=sum(bytes_of(path) for path in paths))


def _records(paths: Sequence[Path], findings: ChannelFindings) -> Iterator[Record]:
    """Yield the records of all files; what is behind broken framing in one of them is noted as a fault."""
    root = os.path.commonpath([path.parent for path in paths])
    for path in paths:
        shown = path.relative_to(root).as_posix()
        try:
            yield from read_records(path, f"{findings.name}/{shown}", f"{shown} " if len(paths) > 1 else "")
        except UserError as error:
            findings.fault(error.sentence, COUNTED_FROM_0)
        except OSError as error:
            findings.fault(f"{findings.name}/{shown}: cannot be read: {error.strerror}")
