"""Reads the model of an earlier job: its model.tar.gz, without trusting it, or the .params file itself.

Nothing is unpacked by the names in an archive: what is wanted is copied to a name of our own, and there are bounds on
how much of it is read and kept.
"""

import gzip
import logging
import re
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Final, Self

import mxnet as mx

from sagemaker_ssd.artifacts.params_file import (
    arguments_and_states,
    read_parameter_file,
    starts_like_onnx,
    starts_like_params,
    starts_like_safetensors,
)
from sagemaker_ssd.artifacts.torch_file import starts_like_other_zip, starts_like_torch
from sagemaker_ssd.contract.channel_files import OWN_ONNX_REMEDY, WEIGHTS_SUFFIXES
from sagemaker_ssd.contract.model_folder import CONFIGURATION, PARAMETERS, SYMBOL
from sagemaker_ssd.data_formats import is_hidden
from sagemaker_ssd.errors import UserError, some

_log = logging.getLogger(__name__)
_PIECE: Final = 1 << 20
# A name has at most 4,096 bytes; what else tar writes into a header is shorter.
_LONGEST_HEADER: Final = 1 << 16
_ARCHIVES: Final = (".tar.gz", ".tgz", ".tar")
_GZIP_START: Final = b"\x1f\x8b"
_NAMED: Final = 4
# MXNet's names of a model's two files: <prefix>-<four digits or more>.params, and the symbol's beside it.
_EPOCH: Final = re.compile(r"-\d{4,}$", re.ASCII)
_SYMBOL_ENDING: Final = "-symbol.json"
_AGAIN: Final = "copy or upload it again"
_PACK: Final = f"make one by `tar -czf model.tar.gz {PARAMETERS} {SYMBOL} {CONFIGURATION}`"


@dataclass(frozen=True)
class StoredModel:
    """A model that an earlier job has left: its parameters, and the files beside them.

    configuration, symbol: the bytes of hyperparams.json, and of the network as MXNet's JSON; None without one.
    """

    arguments: dict[str, mx.nd.NDArray]
    states: dict[str, mx.nd.NDArray]
    configuration: bytes | None
    symbol: bytes | None = None


def read_stored_model(file: Path, shown_as: str, scratch: Path) -> StoredModel:
    """Read a .params file, with the hyperparams.json and the symbol beside it, or an archive of them.

    shown_as: how the faults name the file. Raises UserError and OSError.
    """
    if file.suffix.lower() == ".params":
        arrays = read_parameter_file(file, shown_as)
        return StoredModel(
            *arguments_and_states(arrays),
            _beside(file.with_name(CONFIGURATION)),
            _beside(file.with_name(symbol_name(file.name))),
        )
    return read_archive(file, shown_as, scratch)


def starts_like_archive(head: bytes) -> bool:
    """Say whether a file that begins with these 512 bytes is a gzip file or a tar archive."""
    # ustar stands in every header that a tar of the last decades writes.
    return head.startswith(_GZIP_START) or head[257:262] == b"ustar"


def read_archive(file: Path, shown_as: str, scratch: Path, must_be: str = _PACK) -> StoredModel:
    """Read the archive of a model, whatever its name; as `read_stored_model`.

    must_be: what the faults say of the kinds of files that may be there.
    """
    with tempfile.TemporaryDirectory(dir=scratch) as unpacked:
        model = unpack_model(file, shown_as, Path(unpacked), must_be=must_be)
        arrays = read_parameter_file(model.parameters, f"{shown_as}: {model.parameters_name}")
    return StoredModel(*arguments_and_states(arrays), model.configuration, model.symbol)


def symbol_name(parameters: str) -> str:
    """Name the file of the network whose parameters have this name."""
    return _EPOCH.sub("", PurePosixPath(parameters).stem) + _SYMBOL_ENDING


def _beside(file: Path) -> bytes | None:
    if not file.is_file():
        return None
    size = file.stat().st_size
    if size > Limits().configuration:
        _warn_of_large_file(file.name, size)
        return None
    return file.read_bytes()


def _warn_of_large_file(name: str, size: int) -> None:
    _log.warning("The model's %s is too large, %s bytes, and is not used.", _shown(name), f"{size:,}")


@dataclass(frozen=True)
class Limits:
    """The most of an archive that is read: bytes of everything, of a .params file, of headers; members.

    configuration: bytes of a hyperparams.json or a symbol; configurations: of all of them, since any of several folders
    may turn out to be the model's.
    """

    everything: int = 8 << 30
    parameters: int = 4 << 30
    configuration: int = 1 << 20
    configurations: int = 64 << 20
    headers: int = 64 << 20
    members: int = 10_000


@dataclass(frozen=True)
class UnpackedModel:
    """The parameters' file and their name in the archive; the files beside them, as in `StoredModel`."""

    parameters: Path
    parameters_name: str
    configuration: bytes | None
    symbol: bytes | None = None


class BadArchiveError(Exception):
    """Says what is wrong, so that it follows the archive's name and a colon."""


class NotAnArchiveError(BadArchiveError):
    """It is another kind of file altogether."""


class BoundedArchive:
    """The unpacked bytes of an archive, from begin to end: `most` at most, `most_headers` of them in headers.

    tarfile reads the headers through it, because a header can ask for any amount of memory. Methods raise
    BadArchiveError and OSError.
    """

    def __init__(self, path: Path, *, most: int, most_headers: int) -> None:
        self._file = path.open("rb")
        self.compressed = self._file.peek(2)[:2] == _GZIP_START
        self._stream = gzip.GzipFile(fileobj=self._file) if self.compressed else self._file
        self._most, self._headers_left = most, most_headers
        # The first bytes of what it holds, which tell what it is where it is no archive.
        self.head = b""

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
        self.head = self.head or data
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        self._file.close()


def _members(data: BoundedArchive) -> Iterator[tarfile.TarInfo]:
    """Give the headers of an archive's files, folders and links in order."""
    begun = False
    try:
        # Reading headers needs no more of a file than BoundedArchive has.
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
            raise NotAnArchiveError("it is a gzip file, and what it holds is not a tar archive") from None
        raise NotAnArchiveError("it is neither a gzip file nor a tar archive") from None


def unpack_model(
    archive: Path, shown_as: str, folder: Path, limits: Limits = Limits(), must_be: str = _PACK
) -> UnpackedModel:
    """Copy the parameters out of a .tar.gz or .tar to a new file in `folder`, an empty folder.

    Of several .params files it is the one with the built-in's name. shown_as, must_be: as for `read_archive`. Raises
    UserError when the archive is none, is damaged, too large or not a model's, and OSError with the file's name.
    """
    try:
        with BoundedArchive(archive, most=limits.everything, most_headers=limits.headers) as data:
            return _Extraction(data, folder, limits, must_be).result()
    except BadArchiveError as error:
        raise UserError(f"{shown_as}: {error}") from error


class _Extraction:
    """Goes through an archive once and keeps what may be wanted."""

    def __init__(self, data: BoundedArchive, folder: Path, limits: Limits, must_be: str) -> None:
        self._data, self._folder, self._limits, self._must_be = data, folder, limits, must_be
        self._names: list[str] = []
        self._refused: list[str] = []
        self._parameters: dict[str, Path] = {}
        # What may turn out to lie beside the parameters: the bytes, the size of what is too large to be kept, or what
        # else is the reason against it.
        self._beside: dict[PurePosixPath, bytes | int | str] = {}
        self._kept = 0

    def result(self) -> UnpackedModel:
        try:
            for number, member in enumerate(_members(self._data), start=1):
                if number > self._limits.members:
                    raise BadArchiveError(
                        f"it holds more than {self._limits.members:,} files, the most that are looked at; pack only "
                        "the model's own files"
                    )
                self._take(member)
        except NotAnArchiveError as error:
            known = _known(self._data)
            raise BadArchiveError(f"{error}, but {known}" if known else f"{error}; {self._must_be}") from error
        self._data.check_rest()
        name = self._chosen()
        own_name = PurePosixPath(name).name
        return UnpackedModel(
            self._parameters[name],
            own_name,
            self._found_beside(name, CONFIGURATION),
            self._found_beside(name, symbol_name(own_name)),
        )

    def _take(self, member: tarfile.TarInfo) -> None:
        place = PurePosixPath(member.name)
        # macOS packs a ._name beside every file, and a job that was killed leaves a model half saved in .staging.
        if member.isdir() or is_hidden(str(place)):
            return
        self._names.append(member.name)
        if place.name == CONFIGURATION or place.name.endswith(_SYMBOL_ENDING):
            self._keep(member, place)
            return
        if place.suffix.lower() != ".params":
            return
        if (reason := _reason_against(member)) is not None:
            self._refused.append(f"{_shown(member.name)} is {reason}")
            return
        if member.size > (most := self._limits.parameters):
            raise BadArchiveError(
                f"its {_shown(member.name)} has {member.size:,} bytes, and {most:,} are the most that is read out of "
                "an archive: unpack it, and give the .params file"
            )
        # As in tar, a later file of the same name replaces an earlier one.
        path = self._parameters.setdefault(str(place), self._folder / f"{len(self._parameters)}.params")
        self._copy(member, path)

    def _keep(self, member: tarfile.TarInfo, place: PurePosixPath) -> None:
        """Keep a file that can be done without, whatever is wrong with it."""
        # As in tar, a later file of the same name replaces an earlier one.
        former = self._beside.pop(place, None)
        self._kept -= len(former) if isinstance(former, bytes) else 0
        if (reason := _reason_against(member)) is not None:
            self._beside[place] = reason
            return
        if member.size > self._limits.configuration or self._kept + member.size > self._limits.configurations:
            self._beside[place] = member.size
            return
        self._kept += member.size
        self._beside[place] = b"".join(self._data.pieces(member.offset_data, member.size))

    def _found_beside(self, parameters: str, name: str) -> bytes | None:
        place = PurePosixPath(parameters).with_name(name)
        found = self._beside.get(place)
        if found is None:
            # Without parameters of its own beside it: it may be meant for these.
            taken = {PurePosixPath(other).parent for other in self._parameters}
            elsewhere = [str(other) for other in self._beside if other.name == place.name and other.parent not in taken]
            if elsewhere:
                _log.warning(
                    "The archive's %s does not lie beside %s, and is not used.",
                    *(_some_names(elsewhere), _shown(parameters)),
                )
            return None
        if isinstance(found, str):
            _log.warning("The model's %s is %s, and is not used.", _shown(place.name), found)
            return None
        if isinstance(found, bytes):
            return found
        if found > self._limits.configuration:
            _warn_of_large_file(place.name, found)
        else:
            _log.warning(
                "The model's %s is not used: the archive holds too many such files before it, more than %s bytes.",
                *(_shown(place.name), f"{self._limits.configurations:,}"),
            )
        return None

    def _copy(self, member: tarfile.TarInfo, path: Path) -> None:
        pieces = self._data.pieces(member.offset_data, member.size)
        with path.open("wb", buffering=0) as file:
            for piece in pieces:
                try:
                    left = memoryview(piece)
                    while left:
                        left = left[file.write(left) :]
                except OSError as error:
                    error.filename = str(path)
                    raise

    def _chosen(self) -> str:
        names = list(self._parameters)
        usual = [name for name in names if PurePosixPath(name).name == PARAMETERS]
        if len(usual) == 1:
            return usual[0]
        if len(names) == 1:
            return names[0]
        if names:
            raise BadArchiveError(
                f"it holds several .params files, {_some_names(names)}; it must hold one, {PARAMETERS}"
            )
        if self._refused:
            raise BadArchiveError(f"its {'; '.join(self._refused[:_NAMED])}; {_PACK}")
        weights = [name for name in self._names if PurePosixPath(name).suffix.lower() in WEIGHTS_SUFFIXES]
        if weights:
            which = "that file" if len(weights) == 1 else "one of these files"
            raise BadArchiveError(
                f"it holds no .params file, but weights of another program, {_some_names(weights)}, from which only a "
                f"training can start: unpack it, and put {which} into the channel `pretrained`"
                f"{OWN_ONNX_REMEDY if any(name.lower().endswith('.onnx') for name in weights) else ''}"
            )
        packed = [name for name in self._names if name.lower().endswith(_ARCHIVES)]
        if packed:
            raise BadArchiveError(
                f"it is packed twice: it holds no .params file, but another archive, {_some_names(packed)}; give that "
                "one"
            )
        there = f"no .params file, but {_some_names(self._names)}" if self._names else "no files"
        raise BadArchiveError(
            f"it holds {there}: it is not the model of a job of this program or of the built-in algorithm; "
            f"{self._must_be}"
        )


def _known(data: BoundedArchive) -> str | None:
    """Say what a file is that is no archive, and what is to be done with it; None where nothing can be."""
    head, unpack = data.head, "unpack it by `gunzip`, and " if data.compressed else ""
    # First of all: the length with which such a file begins can look like the begin of any other kind.
    if starts_like_safetensors(head):
        return None
    if starts_like_params(head):
        return f"a .params file of MXNet: {unpack}give it under a name that ends on .params"
    if starts_like_other_zip(head):
        return f"a zip archive: {unpack}where that holds a .params file, unpack it, and give that file"
    is_onnx = starts_like_onnx(head)
    if is_onnx or starts_like_torch(head):
        kind = "an ONNX file" if is_onnx else "a file such as PyTorch writes"
        return (
            f"{kind}, from which only a training can start: {unpack}put it into the channel `pretrained`"
            f"{OWN_ONNX_REMEDY if is_onnx else ''}"
        )
    return None


def _some_names(names: list[str]) -> str:
    return some([_shown(name) for name in names], _NAMED)


def _shown(name: str) -> str:
    short = name if len(name) <= 80 else f"...{name[-77:]}"
    return short if short.isprintable() else ascii(short)


def _reason_against(member: tarfile.TarInfo) -> str | None:
    place = PurePosixPath(member.name)
    if place.is_absolute() or ".." in place.parts:
        return "outside the archive's own folder"
    if member.issym() or member.islnk():
        return "a link, not the file itself"
    if member.issparse() or member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE):
        return "stored as a sparse or special file"
    return None
