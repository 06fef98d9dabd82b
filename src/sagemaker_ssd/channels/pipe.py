"""A channel that comes by Pipe mode: a FIFO read once and checked, while what is kept is written to a file in scratch.

The stream is that of .rec files, or of an augmented manifest: image and JSON by turns, each a record.
Sources: Amazon SageMaker developer guide, `your-algorithms-training-algo-running-container.md`, "Pipe mode";
`augmented-manifest.md` and `object-detection.md`.
"""

import itertools
import logging
import os
import select
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from sagemaker_ssd.channels.annotations import parse_annotation
from sagemaker_ssd.channels.check import check_records
from sagemaker_ssd.channels.findings import COUNTED_FROM_0, ChannelFindings, CheckOptions
from sagemaker_ssd.channels.image_files import AnnotatedImage, pack_annotated
from sagemaker_ssd.channels.images import Decode, examine_image
from sagemaker_ssd.channels.record_file import RecordFile, RecordFileWriter
from sagemaker_ssd.channels.recordio import MAGIC, Advice, Record, split_records
from sagemaker_ssd.errors import PlatformError, UserError, bytes_in_words, in_words, shown

# What a FIFO holds on Linux.
_CHUNK = 1 << 16
# Waits are counted in steps that passed without a byte, so that a process that was stopped meanwhile loses no time.
_STEP_SECONDS = 0.2
# From one log line about a wait to the next.
_REPORT_SECONDS = 30
_Kind = Literal["image", "JSON", "address", "RecordIO", "other"]
# The beginnings of what OpenCV decodes: JPEG, PNG, GIF, BMP, TIFF in both orders of bytes, JPEG 2000.
_IMAGE_SIGNATURES: Final = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ")
# The first bytes that identify any kind.
_SIGNATURE_BYTES: Final = 12
# As a manifest has them, with or without JSON's quotation marks.
_ADDRESSES: Final = tuple(mark + scheme for mark in (b"", b'"') for scheme in (b"s3://", b"http://", b"https://"))
# Of an address as a sentence shows it.
_SHOWN_BYTES: Final = 200
_AGAIN = "start the job again, and if it stops at the same record, pack or upload the data again"
_STREAM_ADVICE = Advice(
    "stream",
    "every object of the channel is part of its stream, so each must be a .rec file, and an .idx or .lst beside them "
    "must not be below its S3Uri; or the data are damaged, then pack them again with im2rec.py --pack-label",
    f"the stream is damaged; {_AGAIN}",
    f"a file is not whole, or its feeder was stopped; {_AGAIN}",
)
_TWO_ATTRIBUTES = (
    "AttributeNames must name two attributes of each line of the manifest, first the image and then its annotations, "
    'such as ["source-ref", "bounding-box"]'
)
_BOUNDING_BOXES = (
    "Each annotation must be that of a bounding box job for images, "
    '{"image_size": [{"width": ..., "height": ...}], "annotations": [{"class_id": 0, "left": ..., "top": ..., '
    '"width": ..., "height": ...}]}; other output of Ground Truth, such as that for video frames, is none'
)
_log = logging.getLogger(__name__)


class Stream:
    """The FIFO at `path` of the channel `name`, which may appear late; nothing for `patience` seconds ends the job.

    variable: the environment variable that sets `patience`, for the error. count: the bytes read so far. records: how
    many whole records they are, for the error, kept by whoever splits them.
    Raises PlatformError when the FIFO, its feeder or the next byte does not come in time.
    """

    def __init__(self, path: Path, *, name: str, patience: float, variable: str) -> None:
        self.count = 0
        self.records = 0
        self._path, self._name, self._patience, self._variable = path, name, patience, variable
        self._ahead = bytearray()
        self._ended = False
        self._waited = 0.0
        self._file = self._open()
        self._waited = 0.0
        self._poll = select.poll()
        self._poll.register(self._file, select.POLLIN)

    def read(self, count: int, /) -> bytes:
        """Return the next `count` bytes, fewer only at the end."""
        self._fetch(count)
        data = bytes(self._ahead[:count])
        del self._ahead[:count]
        return data

    def peek(self, count: int) -> bytes:
        """Return the next `count` bytes without taking them, fewer only at the end."""
        self._fetch(count)
        return bytes(self._ahead[:count])

    def _open(self) -> int:
        while True:
            try:
                # Without O_NONBLOCK this would wait for a feeder, perhaps for ever.
                return os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                # The step of a poll that watches nothing.
                select.poll().poll(self._step() * 1000)
                self._count_step("did not appear within")
            except OSError as error:
                raise UserError(f"{self._path}: cannot be read: {error.strerror}") from error

    def _fetch(self, count: int) -> None:
        while len(self._ahead) < count and not self._ended:
            # Before the feeder has opened the FIFO, and while it writes nothing, there is no event; at its end POLLHUP.
            if not self._poll.poll(self._step() * 1000):
                self._count_step("gave nothing more for" if self.count else "gave nothing for")
                continue
            try:
                data = os.read(self._file, _CHUNK)
            except OSError as error:
                raise UserError(f"{self._path}: cannot be read: {error.strerror}") from error
            self._waited = 0.0
            self._ended = not data
            self.count += len(data)
            self._ahead += data

    def _step(self) -> float:
        return min(_STEP_SECONDS, self._patience)

    def _count_step(self, missing: str) -> None:
        reported = self._waited // _REPORT_SECONDS
        self._waited += self._step()
        if self._waited < self._patience:
            if self._waited // _REPORT_SECONDS > reported:
                _log.info("%s: the FIFO %s %s %.0f seconds", self._name, self._path, missing, self._waited)
            return
        records = in_words(self.records, "record", "records")
        raise PlatformError(
            f"channel {self._name}: the FIFO {self._path}, which the platform feeds in Pipe mode, {missing} "
            f"{self._patience:g} seconds, after {self.count:,} bytes and {records}. Start the job again, or use File "
            f"or FastFile mode; for a platform that is only slow set the environment variable {self._variable} to "
            "more seconds"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A feeder that still writes gets an error instead of waiting for a reader.
        os.close(self._file)


def check_stream(
    path: Path,
    options: CheckOptions,
    *,
    patience: float,
    patience_variable: str,
    if_empty: str = "look at its S3Uri",
) -> RecordFile:
    """Read a channel's FIFO once, count and check it, and return the file to train on.

    It holds image records, or image and JSON by turns: its first two records show which. patience: the seconds until
    the FIFO, its feeder or the next byte must come. patience_variable: the environment variable that sets them.
    if_empty: what to do about a stream without a byte.
    Raises UserError with the first ten faults and their number, and PlatformError when nothing comes.
    """
    name = options.name
    with options.writer(f"the stream of {name}", needed=None) as writer:
        free = bytes_in_words(shutil.disk_usage(options.scratch).free)
        _log.info("%s: reading %s once, into %s, where %s are free", name, path, options.scratch, free)
        with Stream(path, name=name, patience=patience, variable=patience_variable) as stream:
            findings = ChannelFindings(options, bytes_read=lambda: stream.count)
            begin, rest = _begin(stream, name, if_empty)
            records = _until_broken(itertools.chain(begin, rest), findings)
            # An image that is damaged has its JSON all the same.
            annotated = any(_kind_of(record.payload) in ("image", "JSON") for record in begin)
            check = _pack_pairs if annotated else check_records
            check(records, writer, findings, options)
            findings.conclude(writer)
        file = writer.finish(findings.checked, findings.class_names.names())
    found = in_words(stream.records, "record", "records")
    _log.info("%s: the stream is read, %s in %s", name, bytes_in_words(stream.count), found)
    _log.info("%s", file.summary(name))
    return file


def _begin(stream: Stream, name: str, if_empty: str) -> tuple[Sequence[Record], Iterator[Record]]:
    """Take up to two records, which show what the stream is, and the rest; raises UserError for what is none."""
    what = f"{name}'s stream"
    beginning = stream.peek(_SIGNATURE_BYTES)
    if not beginning:
        raise UserError(f"{what} ended before its first byte, the channel has no data: {if_empty}")
    kind = _kind_of(beginning)
    if not beginning.startswith(MAGIC) and kind in ("image", "JSON"):
        raise UserError(
            f"{what} begins with {'an image file' if kind == 'image' else kind}, not with RecordIO's magic number: it "
            "was not wrapped. Set the channel's RecordWrapperType to RecordIO (record_wrapping in SageMaker's SDK), "
            "with S3DataType AugmentedManifestFile; or use File mode"
        )
    records = _counted(stream, split_records(stream, what, _STREAM_ADVICE))
    try:
        begin = list(itertools.islice(records, 2))
    except UserError as error:
        raise UserError(f"{error.sentence}. {COUNTED_FROM_0}") from error
    for record in begin:
        if _kind_of(record.payload) == "RecordIO":
            raise UserError(
                f"{record.where} is a whole .rec file, wrapped once more: leave the channel's RecordWrapperType out, "
                "or set it to None"
            )
        if _kind_of(record.payload) == "address":
            address = record.payload[:_SHOWN_BYTES].decode(errors="replace").strip().strip('"')
            raise UserError(
                f"{record.where} is the address {shown(address)}, not what is there: SageMaker fetches it only "
                "where the attribute's name ends in -ref. Rename the attribute in the manifest and in AttributeNames, "
                f"such as source-ref. {COUNTED_FROM_0}"
            )
    return begin, records


def _counted(stream: Stream, records: Iterator[Record]) -> Iterator[Record]:
    for record in records:
        stream.records = record.number + 1
        yield record


def _until_broken(records: Iterator[Record], findings: ChannelFindings) -> Iterator[Record]:
    """Yield the records up to broken framing, after which none can be found, and note that as a fault."""
    try:
        yield from records
    except UserError as error:
        findings.fault(error.sentence, COUNTED_FROM_0)


def _kind_of(payload: bytes) -> _Kind:
    """Return what a payload is by its first bytes; an image record is other, and RecordIO is a whole .rec file."""
    if payload.startswith(MAGIC):
        return "RecordIO"
    if payload.startswith(_IMAGE_SIGNATURES) or (payload[:4] == b"RIFF" and payload[8:12] == b"WEBP"):
        return "image"
    if payload.lstrip().startswith(_ADDRESSES):
        return "address"
    # An image record begins with the number of its labels, whose last byte is 0 in any that fits into memory.
    if 0 not in payload[:4] and payload[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return "JSON"
    return "other"


def _pack_pairs(
    records: Iterable[Record], writer: RecordFileWriter, findings: ChannelFindings, options: CheckOptions
) -> None:
    """Pack the images of a stream in which each is followed by its JSON, in the order they come.

    What is out of turn is a fault, after which nothing more is read.
    """

    def examine(pair: tuple[Record, Record], decode: Decode) -> tuple[AnnotatedImage, list[str]]:
        return _examine(*pair, options.num_classes, decode)

    examined = options.examiner.map(examine, _in_pairs(records, findings), lambda pair: pair[0].payload)
    pack_annotated(_without_faults(examined, findings), writer, findings)


def _in_pairs(records: Iterable[Record], findings: ChannelFindings) -> Iterator[tuple[Record, Record]]:
    image: Record | None = None
    for record in records:
        kind = _kind_of(record.payload)
        if image is None and kind == "JSON":
            wrong = "and so is the one before" if record.number else "but an image must come first"
            findings.fault(f"{record.where} is JSON, {wrong}", _TWO_ATTRIBUTES, COUNTED_FROM_0)
            return
        if image is None:
            image = record
        elif kind == "image":
            findings.fault(
                f"{record.where} is an image, and so is the one before: its annotations are missing",
                _TWO_ATTRIBUTES,
                COUNTED_FROM_0,
            )
            return
        else:
            yield image, record
            image = None
    if image is not None and not findings.faulty:
        findings.fault(
            f"{image.where} is the last one, an image without annotations behind it", _TWO_ATTRIBUTES, COUNTED_FROM_0
        )


def _examine(image: Record, text: Record, num_classes: int, decode: Decode) -> tuple[AnnotatedImage, list[str]]:
    number = image.number // 2
    annotation, faults = parse_annotation(text.payload, f"pair {number}", num_classes=num_classes)
    where = f"{text.where} (pair {number})"
    examined = examine_image(image.payload, annotation.size, decode)
    return AnnotatedImage(f"pair {number}", where, annotation, examined), faults


def _without_faults(
    items: Iterable[tuple[AnnotatedImage, list[str]]], findings: ChannelFindings
) -> Iterator[AnnotatedImage]:
    """Note what is wrong with the annotations, and pass on the images, which are counted and checked all the same."""
    for image, faults in items:
        for fault in faults:
            hint = COUNTED_FROM_0 if fault.startswith("box") else _BOUNDING_BOXES
            findings.fault(f"{image.where}: {fault}", hint)
        yield image
