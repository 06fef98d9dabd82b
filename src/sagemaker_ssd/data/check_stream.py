"""The check of a channel that comes by Pipe mode: one pass, while what is kept is written to a file in scratch."""

import itertools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from sagemaker_ssd.data.channel import COUNTED_FROM_0, Progress, conclude
from sagemaker_ssd.data.check_records import check_records
from sagemaker_ssd.data.examination import Alone, Examiner
from sagemaker_ssd.data.findings import Findings, bytes_in_words, in_words
from sagemaker_ssd.data.pack_pairs import pack_pairs
from sagemaker_ssd.data.payload_kind import BEGINNING, kind_of
from sagemaker_ssd.data.record_file import RecordFile, Tally
from sagemaker_ssd.data.recordio import MAGIC, Advice, Record, split_records
from sagemaker_ssd.data.repack import CopiedRecords
from sagemaker_ssd.data.stream import Stream
from sagemaker_ssd.errors import UserError

_AGAIN = "start the job again, and if it stops at the same record, pack or upload the data again"
STREAM_ADVICE = Advice(
    "stream",
    "every object of the channel is part of its stream, so each must be a .rec file, and an .idx or .lst beside them "
    "must not be below its S3Uri; or the data are damaged, then pack them again with im2rec.py --pack-label",
    f"the stream is damaged; {_AGAIN}",
    f"a file is not whole, or its feeder was stopped; {_AGAIN}",
)
_log = logging.getLogger(__name__)


def check_stream(
    path: Path,
    *,
    name: str,
    num_classes: int,
    scratch: Path,
    max_bad_images: float,
    label_width: int,
    patience: float,
    if_empty: str = "look at its S3Uri",
    examiner: Examiner | None = None,
    keep_names: bool = False,
) -> RecordFile:
    """Read the FIFO of the channel `name` once, count and check it, and return the file to train on.

    It holds image records, or image and JSON by turns: which, its beginning tells. patience: the seconds until the
    FIFO, its feeder or the next byte must come. if_empty: what to do about a stream without a byte. examiner: None for
    a channel that this host alone examines.
    Raises UserError with the first ten faults and their number, and PlatformError when nothing comes.
    """
    findings, tally = Findings(name), Tally(num_classes, keep_names=keep_names)
    with CopiedRecords(scratch / f"{name}.rec", what=f"the stream of {name}", needed=None) as target:
        free = bytes_in_words(target.file.free)
        _log.info("%s: reading %s once, into %s, where %s are free", name, path, scratch, free)
        with Stream(path, name=name, patience=patience) as stream:
            progress = Progress(name, lambda: stream.count)
            begin, rest = _begin(stream, name, if_empty)
            records = _until_broken(itertools.chain(begin, rest), findings)
            check = pack_pairs if _is_annotated(begin) else check_records
            check(records, target, findings, tally, progress, num_classes=num_classes, examiner=examiner or Alone())
            conclude(findings, tally, images=progress.images, max_bad_images=max_bad_images, label_width=label_width)
        file = target.finish(tally)
    _log.info("%s: the stream is read, %s in %s", name, bytes_in_words(stream.count), _records(stream))
    _log.info("%s", file.summary(name))
    return file


def _records(stream: Stream) -> str:
    return in_words(stream.records, "record", "records")


def _begin(stream: Stream, name: str, if_empty: str) -> tuple[Sequence[Record], Iterator[Record]]:
    """Take up to two records, which tell what the stream is, and the rest; raises UserError for what is none."""
    shown = f"{name}'s stream"
    beginning = stream.peek(BEGINNING)
    if not beginning:
        raise UserError(f"{shown} ended before its first byte, the channel has no data: {if_empty}")
    kind = kind_of(beginning)
    if not beginning.startswith(MAGIC) and kind in ("image", "JSON"):
        raise UserError(
            f"{shown} begins with {'an image file' if kind == 'image' else kind}, not with RecordIO's magic number: it "
            "was not wrapped. Set the channel's RecordWrapperType to RecordIO (record_wrapping in SageMaker's SDK), "
            "with S3DataType AugmentedManifestFile; or use File mode"
        )
    records = _counted(stream, split_records(stream, shown, STREAM_ADVICE))
    try:
        begin = list(itertools.islice(records, 2))
    except UserError as error:
        raise UserError(f"{error.sentence}. {COUNTED_FROM_0}") from error
    for record in begin:
        if kind_of(record.payload) == "RecordIO":
            raise UserError(
                f"{record.where} is a whole .rec file, wrapped once more: leave the channel's RecordWrapperType out, "
                "or set it to None"
            )
    return begin, records


def _counted(stream: Stream, records: Iterator[Record]) -> Iterator[Record]:
    for record in records:
        stream.records = record.number + 1
        yield record


def _is_annotated(begin: Sequence[Record]) -> bool:
    """Whether images and JSON come by turns; an image that is damaged has its JSON all the same."""
    return any(kind_of(record.payload) in ("image", "JSON") for record in begin)


def _until_broken(records: Iterator[Record], findings: Findings) -> Iterator[Record]:
    """Yield the records up to broken framing, after which none can be found, and note that as a fault."""
    try:
        yield from records
    except UserError as error:
        findings.fault(error.sentence, COUNTED_FROM_0)
