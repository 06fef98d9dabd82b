"""Where a channel's checked records go: into a copy, or nowhere for as long as all may stay in their own file."""

from pathlib import Path
from types import TracebackType
from typing import Self

from sagemaker_ssd.data.record_file import RecordFile, Tally
from sagemaker_ssd.data.recordio import Record, frame
from sagemaker_ssd.data.scratch import ScratchFile

# dmlc-core, which opens the file for MXNet, takes these as separators: list of files, arguments, cache file.
URI_CHARACTERS = frozenset(";?#")


class CopiedRecords:
    """A new file `target` with the records that are kept, of files or a stream that are read once."""

    def __init__(self, target: Path, *, what: str, needed: int | None) -> None:
        self.file = ScratchFile(target, what=what, needed=needed)

    def keep(self, record: Record) -> int:
        """Keep a record as it is and return its offset in the resulting file."""
        return self.append(record.payload)

    def replace(self, record: Record, payload: bytes) -> int:
        """Put another payload in place of a record and return its offset in the resulting file."""
        return self.append(payload)

    def leave_out(self, record: Record) -> None:
        """Do without a record."""

    def append(self, payload: bytes) -> int:
        """Write a payload and return its offset in the resulting file."""
        offset = self.file.length
        self.file.write(frame(payload))
        return offset

    def finish(self, tally: Tally) -> RecordFile:
        """Return the checked file with the counts of `tally`."""
        return tally.finish(self.file.path, self.file.length)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.__exit__(kind, error, trace)


class RecordsInPlace:
    """The checked records of `source`: in `source` itself, or in a new file `target` if one had to change."""

    def __init__(self, source: Path, target: Path) -> None:
        self._source = source
        self._target = target
        self._copy: CopiedRecords | None = None

    def keep(self, record: Record) -> int:
        """Keep a record as it is and return its offset in the resulting file."""
        return record.offset if self._copy is None else self._copy.keep(record)

    def replace(self, record: Record, payload: bytes) -> int:
        """Put another payload in place of a record and return its offset in the resulting file."""
        return self._copied(record).append(payload)

    def leave_out(self, record: Record) -> None:
        """Do without a record."""
        self._copied(record)

    def _copied(self, record: Record) -> CopiedRecords:
        """Return the copy, which begins with what stands before the first record that changes."""
        if self._copy is None:
            self._copy = CopiedRecords(
                self._target,
                what=f"a corrected copy of {self._source.name}",
                needed=self._source.stat().st_size,
            )
            self._copy.file.copy_pieces(self._source, [(0, record.offset)])
        return self._copy

    def finish(self, tally: Tally) -> RecordFile:
        """Return the checked file with the counts of `tally`."""
        if self._copy is not None:
            return self._copy.finish(tally)
        length = self._source.stat().st_size
        if URI_CHARACTERS.isdisjoint(str(self._source)):
            return tally.finish(self._source, length)
        self._target.parent.mkdir(parents=True, exist_ok=True)
        self._target.unlink(missing_ok=True)
        self._target.symlink_to(self._source.resolve())
        return tally.finish(self._target, length)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._copy is not None:
            self._copy.__exit__(kind, error, trace)
