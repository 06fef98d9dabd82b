"""output/failure, whose first 1,024 characters SageMaker shows as the job's FailureReason."""

import logging
from pathlib import Path

from sagemaker_ssd.errors import shorten

_log = logging.getLogger(__name__)


def write_failure(path: Path, sentence: str) -> None:
    """Write the sentence, cut at 1,024 characters; when the file cannot be written, say so in the log."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(shorten(sentence), encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        _log.error("could not write %s: %s", path, error.strerror)


def remove_failure(path: Path) -> None:
    """Remove what an earlier job on this machine left."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("could not remove the failure file of an earlier job, %s: %s", path, error.strerror)
