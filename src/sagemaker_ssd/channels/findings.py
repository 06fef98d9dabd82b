"""What the check of a channel finds: faults stop the job, warnings do not; ten of a kind are named, all are counted."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd import boxes
from sagemaker_ssd.channels.annotations import ClassNames
from sagemaker_ssd.channels.examination import Examiner, LocalExaminer
from sagemaker_ssd.channels.images import ExaminedImage
from sagemaker_ssd.channels.record_file import CheckedImages, RecordFileWriter
from sagemaker_ssd.errors import UserError, bytes_in_words, in_words, problems

_NAMED: Final = 10
_SECONDS_BETWEEN_LINES = 10
# A hint: numbers of records, pairs and boxes are those of a program, not of a person.
COUNTED_FROM_0: Final = "Counting starts at 0"
_HOW_TO_SAY_FRACTIONS: Final = (
    "Multiply left and width by the image's width, top and height by its height; or, if all boxes of a JSON are "
    'fractions, leave them as they are and write "image_size": [{"width": 1, "height": 1}] into it. If they are pixels '
    "all the same, leave these boxes out: nothing so small can be learned"
)
_HOW_TO_MARK: Final = (
    "The sixth number of an object must be 1 where the object is to be left out of the mAP, else 0: write 0, or leave "
    "out what stands there instead, such as a confidence or an area"
)
_ODD_MARK: Final = "sixth number of an object that is neither 0 nor 1, read as not difficult"
_ODD_MARK_DIFFICULT: Final = "sixth number of an object that is neither 0 nor 1, read as difficult"
# The hyperparameter.
MAX_BAD_IMAGES: Final = "max_bad_images"
_DEEP: Final = "image of 16 bits, of which the upper 8 are read, so that values of 12 bits would be nearly black"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """How a channel is checked, whatever it comes as.

    name: the channel's in sentences. scratch: the folder for the file of its records. max_bad_images: the fraction of
    its images that may be left out because they cannot be used. label_width: the hyperparameter. examiner: who decodes
    the images, this host alone unless given. keep_names: whether the images' names are kept in memory. scored: whether
    the mAP is computed with the channel. sharded: whether other hosts have other parts of it, so that what is decided
    over the whole is not decided here. pairs_sharded: whether its images and its annotations were shared out among the
    hosts each for themselves. max_bad_images_name: what a person sets it by.
    """

    name: str
    num_classes: int
    scratch: Path
    max_bad_images: float
    label_width: int
    examiner: Examiner = field(default_factory=LocalExaminer)
    keep_names: bool = False
    scored: bool = False
    sharded: bool = False
    pairs_sharded: bool = False
    max_bad_images_name: str = MAX_BAD_IMAGES

    def writer(self, what: str, *, needed: int | None, in_place: Path | None = None) -> RecordFileWriter:
        """Return what puts the channel's records into one file; the arguments are `RecordFileWriter`'s."""
        return RecordFileWriter(
            self.scratch / f"{self.name}.rec",
            what=what,
            needed=needed,
            num_classes=self.num_classes,
            keep_names=self.keep_names,
            in_place=in_place,
        )


class ChannelFindings:
    """Faults and warnings of a channel, collected while it is read, with a log line about it now and then.

    bytes_read: for a stream, whose images alone do not say how far it is.
    """

    def __init__(self, options: CheckOptions, bytes_read: Callable[[], int] | None = None) -> None:
        self.name = options.name
        self.images = 0
        self.class_names = ClassNames()
        self._options = options
        self._faults = _Sample()
        self._hints: list[str] = []
        self._warnings: dict[str, _Sample] = {}
        self._bad_images = _Sample()
        self._inverted = _Sample()
        self._inverted_of = 0
        self._inverted_remedy = ""
        self._marked = np.zeros(options.num_classes, np.int64)
        self._difficult = np.zeros(options.num_classes, np.int64)
        self._fractions = boxes.FractionCount()
        self._fraction_files = _Sample()
        self._first_fraction = ""
        self._bytes_read = bytes_read
        self._last_line = time.monotonic()

    @property
    def faulty(self) -> bool:
        """Whether anything found so far stops the job."""
        return self._faults.count > 0

    @property
    def checked(self) -> CheckedImages:
        """The images so far."""
        inverted = self._inverted
        return CheckedImages(
            self.images,
            self._bad_images.count,
            str(self._bad_images),
            self._inverted_of,
            inverted.count,
            f"{inverted.named[0]}. {self._inverted_remedy}" if inverted.count else "",
        )

    def count_image(self) -> None:
        """Count one more image, and log the count every ten seconds, so that a long pass does not look stuck."""
        self.images += 1
        if time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            read = "" if self._bytes_read is None else f", {bytes_in_words(self._bytes_read())} read"
            _log.info("%s: %s images checked so far%s", self.name, f"{self.images:,}", read)

    def fault(self, text: str, *hints: str) -> None:
        """Note a fault; each of the hints is given once, with the first fault that it helps with."""
        new = [hint for hint in hints if hint not in self._hints]
        self._hints += new
        self._faults.add(". ".join([text, *new]))

    def warn(self, kind: str, where: str) -> None:
        """Note one more case of a kind of warning."""
        self._warnings.setdefault(kind, _Sample()).add(where)

    def usable_image(self, image: ExaminedImage, where: str) -> bool:
        """Note what is odd about an image, and return whether the channel can use it."""
        if image.fault:
            self._bad_images.add(f"{where} ({image.fault})")
            return False
        if image.truncated:
            self.warn("JPEG that is cut off, used as far as it goes", where)
        if image.deep:
            self.warn(_DEEP, where)
        if image.changed:
            self.warn(f"image changed: {image.changed}", where)
        return True

    def usable_boxes(
        self,
        corners: NDArray[np.float32],
        numbers: NDArray[np.int64],
        clipped: NDArray[np.bool_],
        where: str,
    ) -> NDArray[np.bool_] | None:
        """Note which boxes of an image were clipped and which have no area; return which of them have one.

        corners: (n, 4). numbers: the boxes' own in their file, (n,). clipped: (n,). None: not one box has an area, so
        the image is left out; to train on it as one without objects would teach that its objects are background.
        """
        with_area = boxes.with_area(corners)
        for kind, mask in ((boxes.CLIPPED, clipped), (boxes.NO_AREA, ~with_area)):
            for number in numbers[mask]:
                self.warn(kind, f"{where} box {number}")
        if with_area.any():
            return with_area
        self.warn(boxes.ONLY_NO_AREA, where)
        return None

    def count_inverted(self, corners: NDArray[np.floating[Any]], describe: Callable[[int], str], remedy: str) -> None:
        """Count the boxes of an image whose corners, (n, 4) as they stand, are in the wrong order.

        describe: gives a box as it stands in its file, by its row; remedy: what the numbers of a box must be.
        """
        self._inverted_of += len(corners)
        self._inverted_remedy = remedy
        for row in np.flatnonzero(boxes.inverted(corners)):
            self._inverted.add(describe(int(row)))

    def count_difficult(self, objects: NDArray[np.float32], numbers: NDArray[np.int64], where: str) -> None:
        """Count which boxes of an image are difficult, and warn of sixth numbers that may mean something else.

        objects: (n, object_width), all of them boxes that are used; numbers: their own in their file, (n,).
        """
        marked = objects[:, 5] if objects.shape[1] > 5 else np.zeros(len(objects), np.float32)
        difficult = marked > 0
        class_ids = objects[:, 0].astype(np.int64)
        self._marked += np.bincount(class_ids, minlength=len(self._marked))
        self._difficult += np.bincount(class_ids[difficult], minlength=len(self._difficult))
        for row in np.flatnonzero((marked != 0) & (marked != 1)):
            kind = _ODD_MARK_DIFFICULT if difficult[row] else _ODD_MARK
            self.warn(kind, f"{where} box {numbers[row]} ({marked[row]:g})")

    def count_fractions(
        self, corners: NDArray[np.float64], size: tuple[float, float], where: str, describe: Callable[[int], str]
    ) -> None:
        """Count the boxes of an image that are read as pixels and may be fractions of it: (n, 4) corners as they stand.

        size: the image's. where: the annotation's name; describe: gives a box as it stands there, by its number.
        """
        count = boxes.FractionCount.of_image(corners, size)
        self._fractions += count
        if not count.within:
            return
        numbers = [number for number in range(len(corners)) if boxes.FractionCount.of_image(corners[[number]]).within]
        first = f"{where}: box {numbers[0]} ({describe(numbers[0])})"
        self._first_fraction = self._first_fraction or first
        if count.all_within and count.broken:
            self._fraction_files.add(first)
        elif not count.broken:
            for number in numbers:
                self.warn(boxes.ONE_PIXEL, f"{where} box {number}")

    def _conclude_fractions(self) -> None:
        """Make boxes that are fractions where pixels are read a fault: those of the channel, else those of a file."""
        count, files = self._fractions, self._fraction_files
        if count.are_fractions:
            # Of these the fault tells.
            self._warnings.pop(boxes.ONE_PIXEL, None)
            self.fault(
                f"{self.name}: {count.within:,} of {in_words(count.boxes, 'box lies', 'boxes lie')} within 0 to 1, "
                f"such as {self._first_fraction}. These are fractions of the image, and pixels are read",
                _HOW_TO_SAY_FRACTIONS,
                COUNTED_FROM_0,
            )
        elif files.count:
            self.fault(
                f"{self.name}: {in_words(files.count, 'JSON', 'JSONs')} with boxes that all lie within 0 to 1, as "
                f"fractions of the image do, while pixels are read: {files}",
                _HOW_TO_SAY_FRACTIONS,
                COUNTED_FROM_0,
            )
        elif count.may_be_percent:
            _log.warning(
                "%s: all %s boxes lie within 0 to 100, although the images are larger. They are read as pixels; if "
                "they are per cent of the image, multiply them by its width and height and divide them by 100",
                *(self.name, f"{count.boxes:,}"),
            )

    def _conclude_inverted(self) -> None:
        """Make boxes that are inverted as only those of another order are a fault."""
        # Of a host's part only where no box is left: else it is decided over all hosts.
        if self._options.sharded and self._inverted.count < self._inverted_of:
            return
        if fault := inverted_fault(self.name, self.checked):
            self.fault(fault, COUNTED_FROM_0)

    def _conclude_difficult(self) -> None:
        """Make it a fault that no box counts for the mAP, and warn of classes of which none does."""
        if not self._options.scored or not self._difficult.any():
            return
        if (self._difficult == self._marked).all():
            count = in_words(int(self._marked.sum()), "box is", "boxes are")
            self.fault(
                f"{self.name}: all of {count} marked as difficult by a sixth number above 0, so there is nothing to "
                f"{self._purpose}",
                _HOW_TO_MARK,
            )
            return
        for class_id in np.flatnonzero((self._difficult == self._marked) & (self._marked > 0)):
            count = in_words(int(self._marked[class_id]), "box", "boxes")
            self.warn("class with only difficult boxes, left out of the mAP", f"class_id {class_id} ({count})")

    @property
    def _purpose(self) -> str:
        """What the channel's boxes are for."""
        if self.name == "validation":
            return "compute the mAP with, which chooses the model"
        return "compute the mAP with" if self._options.scored else "learn"

    def conclude(self, writer: RecordFileWriter) -> None:
        """Log the warnings of the whole channel, each kind on one line; raises UserError if anything stops the job."""
        label_width = self._options.label_width
        self._conclude_fractions()
        self._conclude_inverted()
        self._conclude_difficult()
        for name in self.class_names.other_names():
            self.warn("class_id that has another name elsewhere", name)
        too_many_bad = (
            ""
            if self._options.sharded
            else bad_images_fault(
                self.name,
                self.checked,
                self._options.max_bad_images,
                option=self._options.max_bad_images_name,
            )
        )
        if too_many_bad:
            self.fault(too_many_bad)
        elif self._bad_images.count:
            self._warnings["image that cannot be used, left out"] = self._bad_images
        if not self.faulty and self.images == 0:
            self.fault(f"{self.name}: holds no image with an annotation")
        elif not self.faulty and self._options.sharded and writer.images == 0:
            self.fault(
                f"{self.name}: {in_words(self.images, 'image', 'images')} of this host's part, and none can be used"
                + (f": {self._bad_images}" if self._bad_images.count else ""),
            )
        elif not self.faulty and not self._options.sharded and writer.boxes == 0:
            self.fault(no_box_fault(self.name, self.images, self._purpose))
        for kind, sample in self._warnings.items():
            _log.warning("%s: %s (%s): %s", self.name, kind, f"{sample.count:,}", sample)
        if self.faulty:
            more = f"\n... and {self._faults.left_out:,} more" if self._faults.left_out else ""
            raise UserError(problems(self._faults.named) + more)
        if label_width < writer.label_floats:
            _log.warning(
                "%s: label_width is %d, but the fullest image needs %d; %d is used",
                *(self.name, label_width, writer.label_floats, writer.label_floats),
            )


def allowed_bad_images(images: int, max_bad_images: float) -> int:
    """Return how many of so many images may be left out because they cannot be used; max_bad_images: their share."""
    # The share is rarely exact in binary: 0.29 of 100 images are 29.
    return math.floor(max_bad_images * images + 1e-9)


def bad_images_fault(name: str, checked: CheckedImages, max_bad_images: float, *, option: str = MAX_BAD_IMAGES) -> str:
    """Say that more images of a channel cannot be used than are allowed; "" where they are allowed.

    option: what a person sets max_bad_images by.
    """
    allowed = allowed_bad_images(checked.images, max_bad_images)
    if checked.bad <= allowed:
        return ""
    return (
        f"{name}: {checked.bad:,} of {checked.images:,} images cannot be used, and {option} ({max_bad_images:g}) "
        f"allows {allowed:,}: {checked.named}. Replace these images or leave them out, or raise {option}"
    )


def inverted_fault(name: str, checked: CheckedImages) -> str:
    """Say that the boxes of a channel are in another order; "" where so few are inverted that they are mistakes."""
    if not boxes.have_another_order(checked.inverted, checked.boxes):
        return ""
    return (
        f"{name}: {checked.inverted:,} of {in_words(checked.boxes, 'box is', 'boxes are')} inverted, such as "
        f"{checked.first_inverted}"
    )


def no_box_fault(name: str, images: int, purpose: str = "learn") -> str:
    """Say that the images of a channel hold no box; purpose: what the boxes are for."""
    return f"{name}: not one box in {in_words(images, 'image', 'images')}, so there is nothing to {purpose}"


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
