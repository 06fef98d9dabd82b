"""The bytes of a .tar.gz or .tar from anyone, with bounds on how much of them is read and kept."""

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

_PIECE: Final = 1 << 20
# A name has at most 4,096 bytes; what else tar writes into a header is shorter.
_LONGEST_HEADER: Final = 1 << 16
_AGAIN: Final = "copy or upload it again"


class BadArchiveError(Exception):
    """Says what is wrong, so that it follows the archive's name and a colon."""


class NotAnArchiveError(BadArchiveError):
    """It is another kind of file altogether."""


class ArchiveBytes:
    """The unpacked bytes of an archive, from begin to end: `most` at most, `most_headers` of them in headers.

    tarfile reads the headers through it, because a header can ask for any amount of memory. Methods raise
    BadArchiveError and OSError.
    """

    def __init__(self, path: Path, *, most: int, most_headers: int) -> None:
        self._file = path.open("rb")
        self.compressed = self._file.peek(2)[:2] == b"\x1f\x8b"
        self._stream = gzip.GzipFile(fileobj=self._file) if self.compressed else self._file
        self._most, self._headers_left = most, most_headers

    def read(self, length: int) -> bytes:
        """Read a header, for tarfile."""
        self._headers_left -= length
        if not 0 <= length <= _LONGEST_HEADER or self._headers_left < 0:
            raise BadArchiveError(f"it is damaged: its headers are longer than any that tar writes; {_AGAIN}")
        return self._read(length)

    def tell(self) -> int:
        """Give the place in the unpacked bytes, for tarfile."""
        return self._stream.tell()

    def seek(self, place: int) -> None:
        """Go on to a place in the unpacked bytes, or to their end."""
        missing = place - self.tell()
        while missing > 0 and (data := self._read(min(missing, _PIECE))):
            missing -= len(data)

    def pieces(self, place: int, length: int) -> Iterator[bytes]:
        """Give the bytes at a place, a little at a time."""
        self.seek(place)
        while length > 0:
            data = self._read(min(length, _PIECE))
            if not data:
                raise BadArchiveError(f"it is incomplete: it ends within a file; {_AGAIN}")
            length -= len(data)
            yield data

    def check_rest(self) -> None:
        """Read to the end, where gzip has the checksum of everything."""
        while self._read(_PIECE):
            pass

    def _read(self, length: int) -> bytes:
        try:
            # One byte past the limit tells whether there is more.
            data = self._stream.read(min(length, self._most + 1 - self.tell()))
        except EOFError:
            raise BadArchiveError(f"it is incomplete: the end of the gzip data is missing; {_AGAIN}") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise BadArchiveError(f"it is damaged ({error}); {_AGAIN}") from None
        if self.tell() > self._most:
            raise BadArchiveError(
                f"it holds more than {self._most:,} bytes when unpacked, the most that is read; pack only the model's "
                "own files"
            )
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        self._file.close()


def members(data: ArchiveBytes) -> Iterator[tarfile.TarInfo]:
    """Give the headers of an archive's files, folders and links in order."""
    begun = False
    try:
        # Reading headers needs no more of a file than ArchiveBytes has.
        with tarfile.TarFile(fileobj=data) as archive:  # type: ignore[arg-type]
            for member in archive:
                begun = True
                if member.size < 0:
                    raise tarfile.ReadError("a negative size")
                yield member
    # Apart from its own errors tarfile raises what int() and decoding raise on numbers and names that are none.
    except (tarfile.TarError, ValueError, LookupError, OverflowError, RecursionError) as error:
        if begun:
            raise BadArchiveError(f"it is incomplete or damaged ({error}); {_AGAIN}") from None
        if data.compressed:
            raise NotAnArchiveError("it is a gzip file, but what it holds is not a tar archive") from None
        raise NotAnArchiveError("it is neither a gzip file nor a tar archive") from None
