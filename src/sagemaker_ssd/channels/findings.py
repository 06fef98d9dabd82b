"""What is wrong with a channel: faults stop the job, warnings do not; ten of a kind are named, all counted."""

import logging
import math

from sagemaker_ssd.errors import UserError, problems

_NAMED = 10
_log = logging.getLogger(__name__)


class ChannelFindings:
    """Faults and warnings of the channel `name`, collected while it is read."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._faults = _Sample()
        self._hints: list[str] = []
        self._warnings: dict[str, _Sample] = {}
        self._bad_images = _Sample()

    @property
    def faulty(self) -> bool:
        """Whether anything found so far stops the job."""
        return self._faults.count > 0

    def fault(self, text: str, *hints: str) -> None:
        """Note a fault; each of the hints is told once, with the first fault that it helps with."""
        new = [hint for hint in hints if hint not in self._hints]
        self._hints += new
        self._faults.add(". ".join([text, *new]))

    def warn(self, kind: str, where: str) -> None:
        """Note one more case of a kind of warning."""
        self._warnings.setdefault(kind, _Sample()).add(where)

    def bad_image(self, where: str, reason: str) -> None:
        """Note an image that the reader could not decode."""
        self._bad_images.add(f"{where} ({reason})")

    def weigh_bad_images(self, images: int, max_bad_images: float) -> None:
        """Make the bad images a fault if they are more than the fraction `max_bad_images`, else a warning."""
        count = self._bad_images.count
        if count > max_bad_images * images:
            self.fault(
                f"{self.name}: {count:,} of {images:,} images cannot be used, and max_bad_images "
                f"({max_bad_images:g}) allows {math.floor(max_bad_images * images):,}: {self._bad_images}",
                "Replace these images or leave them out, or raise max_bad_images",
            )
        elif count:
            self._warnings["image that cannot be used, left out"] = self._bad_images

    def log_warnings(self) -> None:
        """Write each kind of warning in one line, with its number of cases."""
        for kind, sample in self._warnings.items():
            _log.warning("%s: %s (%s): %s", self.name, kind, f"{sample.count:,}", sample)

    def stop_if_faulty(self) -> None:
        """Raise UserError with the faults, if there are any."""
        if not self.faulty:
            return
        text = problems(self._faults.named)
        if self._faults.left_out:
            text += f"\n... and {self._faults.left_out:,} more"
        raise UserError(text)


class _Sample:
    """The first ten texts of many, and their number."""

    def __init__(self) -> None:
        self.named: list[str] = []
        self.count = 0

    @property
    def left_out(self) -> int:
        return self.count - len(self.named)

    def add(self, text: str) -> None:
        self.count += 1
        if len(self.named) < _NAMED:
            # Names of files may hold anything; a line break would look like another fault.
            self.named.append("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text))

    def __str__(self) -> str:
        return ", ".join(self.named) + (f" and {self.left_out:,} more" if self.left_out else "")
