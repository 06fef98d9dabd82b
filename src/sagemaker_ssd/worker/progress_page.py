"""What a person watches while the job runs: a small report after every epoch, and copies that SageMaker uploads."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sagemaker_ssd.checkpoints.format import PART
from sagemaker_ssd.files import atomic_write, write_json
from sagemaker_ssd.report.write import progress_page

_log = logging.getLogger(__name__)
# Of the folder for checkpoints, in which nothing reads them: they are no checkpoint's names.
PAGE: Final = "progress.html"
FIGURES: Final = "progress.json"


class ProgressPage:
    """Renews `report`, report.html in output/data, and copies of it and of metrics.json in the folder for checkpoints.

    SageMaker uploads that folder while the job runs, and output/data only at its end. What goes wrong is a warning.
    """

    def __init__(self, report: Path, checkpoints: Path | None, class_names: Sequence[str]) -> None:
        self._report, self._checkpoints, self._class_names = report, checkpoints, class_names
        self._page = ""
        # What it is known that it cannot be written at present.
        self._failing: set[Path] = set()

    def write_report(self, metrics: Mapping[str, Any]) -> None:
        """Draw the page of metrics.json and put it into output/data."""
        try:
            self._page = progress_page(metrics, self._class_names)
        except Exception as error:
            # A page is not worth a training.
            _log.warning("The small report could not be drawn: %s", error, exc_info=True)
            return
        self._write(self._report, self._page)

    def write_copies(self, metrics: Mapping[str, Any]) -> None:
        """Put the page that was drawn last, and metrics.json, into the folder for checkpoints."""
        if self._checkpoints is not None:
            if self._page:
                self._write(self._checkpoints / PAGE, self._page)
            self._write(self._checkpoints / FIGURES, metrics)

    def _write(self, path: Path, content: str | Mapping[str, Any]) -> None:
        # An ending that SageMaker does not upload.
        part = path.with_name(f".{path.name}{PART}")
        try:
            if isinstance(content, str):
                with atomic_write(path, part):
                    part.write_text(content, encoding="utf-8")
            else:
                write_json(path, content, part)
        except OSError as error:
            if path not in self._failing:
                _log.warning("%s could not be written: %s", path, error)
            self._failing.add(path)
        else:
            self._failing.discard(path)
