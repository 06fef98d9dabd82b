"""What the check of a channel does alike for every input format: progress, images, the verdict at the end."""

import logging
import time
from collections.abc import Callable

from sagemaker_ssd.data.findings import Findings, bytes_in_words, in_words
from sagemaker_ssd.data.images import ImageFacts
from sagemaker_ssd.data.record_file import Tally

_SECONDS_BETWEEN_LINES = 10
COUNTED_FROM_0 = "Counting starts at 0"
_log = logging.getLogger(__name__)


class Progress:
    """Writes a line every ten seconds, so that a long pass does not look stuck."""

    def __init__(self, name: str, amount: Callable[[], int] | None = None) -> None:
        """Take the channel's name, and for a stream what tells the bytes that were read."""
        self.images = 0
        self._name, self._amount = name, amount
        self._last = time.monotonic()

    def step(self) -> None:
        """Count one more image."""
        self.images += 1
        if time.monotonic() - self._last >= _SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            read = "" if self._amount is None else f", {bytes_in_words(self._amount())} read"
            _log.info("%s: %s images checked so far%s", self._name, f"{self.images:,}", read)


def usable_image(facts: ImageFacts, where: str, findings: Findings) -> bool:
    """Note what is odd about an image, and tell whether the reader can decode it."""
    if facts.fault:
        findings.bad_image(where, facts.fault)
        return False
    if facts.cut:
        findings.warn("JPEG that is cut off, used as far as it goes", where)
    if facts.changed:
        findings.warn(f"image changed: {facts.changed}", where)
    return True


def conclude(findings: Findings, tally: Tally, *, images: int, max_bad_images: float, label_width: int) -> None:
    """Write the warnings of a channel of `images` images; raises UserError if anything stops the job."""
    findings.weigh_bad_images(images, max_bad_images)
    if not findings.faulty:
        if images == 0:
            findings.fault(f"{findings.name}: holds no image with an annotation")
        elif tally.boxes == 0:
            findings.fault(
                f"{findings.name}: not one box in {in_words(images, 'image', 'images')}, so there is nothing to "
                + ("compute the mAP with, which chooses the model" if findings.name == "validation" else "learn")
            )
    findings.log_warnings()
    findings.stop_if_faulty()
    if label_width < tally.label_floats:
        _log.warning(
            "%s: label_width is %d, but the fullest image needs %d; %d is used",
            *(findings.name, label_width, tally.label_floats, tally.label_floats),
        )
