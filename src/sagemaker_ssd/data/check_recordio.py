"""The check of a channel that is RecordIO files: one pass, and a copy only where one is needed or asked for."""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from sagemaker_ssd.data.channel import COUNTED_FROM_0, Progress, conclude
from sagemaker_ssd.data.check_records import check_records
from sagemaker_ssd.data.examination import Alone, Examiner
from sagemaker_ssd.data.findings import Findings, in_words
from sagemaker_ssd.data.record_file import RecordFile, Tally
from sagemaker_ssd.data.recordio import Record, read_records
from sagemaker_ssd.data.repack import CopiedRecords, RecordsInPlace
from sagemaker_ssd.data.scratch import bytes_of
from sagemaker_ssd.errors import UserError

_log = logging.getLogger(__name__)


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
    findings, tally, progress = Findings(name), Tally(num_classes, keep_names=keep_names), Progress(name)
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


def _records(paths: Sequence[Path], findings: Findings) -> Iterator[Record]:
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
