"""What a conversion finds: faults that stop it, images that it leaves out, and notes; ten of a kind are named."""

import re
from collections.abc import Hashable, Iterable, Sequence
from typing import Final

from sagemaker_ssd.channels.findings import allowed_bad_images
from sagemaker_ssd.errors import UserError, in_words

_NAMED: Final = 10
# Nobody reads on, and a name in a file may be a whole picture in base64.
_LONGEST_TEXT: Final = 2000


class Findings:
    """Collects what is wrong or odd about a data set.

    max_bad_images: the share of all images that may have a fault and be left out, 0 to 1.
    """

    def __init__(self, max_bad_images: float) -> None:
        self._max_bad_images = max_bad_images
        self._faults: dict[str, _Kind] = {}
        self._image_faults: dict[str, _Kind] = {}
        self._bad_images: set[Hashable] = set()
        self._notes: dict[tuple[str, str], _Kind] = {}
        self._sentences: list[str] = []

    @property
    def faulty(self) -> bool:
        """Whether something that was found stops the conversion, however few images it concerns."""
        return bool(self._faults)

    @property
    def bad_images(self) -> int:
        """How many images have a fault."""
        return len(self._bad_images)

    def is_bad(self, image: Hashable) -> bool:
        """Whether an image has a fault."""
        return image in self._bad_images

    def count_images(self, images: Iterable[Hashable]) -> int:
        """Count these images together with the bad ones, which may be missing among them."""
        return len(self._bad_images.union(images))

    def stops(self, images: int) -> bool:
        """Whether what was found so far stops the conversion of so many images."""
        return self.faulty or self.bad_images > allowed_bad_images(images, self._max_bad_images)

    def fault(self, kind: str, text: str) -> None:
        """Add a fault of the data set as a whole; of a `kind` the first ten are shown."""
        self._faults.setdefault(kind, _Kind()).add(text)

    def bad_image(self, image: Hashable, kind: str, text: str) -> None:
        """Add a fault for which `image` has to be left out."""
        self._bad_images.add(image)
        self._image_faults.setdefault(kind, _Kind()).add(text)

    def note(self, what: str, where: object, meaning: str = "") -> None:
        """Count one more of `what`, in `where`; `meaning` says what became of it."""
        self._notes.setdefault((what, meaning), _Kind()).add(str(where))

    def say(self, sentence: str) -> None:
        """Add a note of its own."""
        self._sentences.append(_printable(sentence))

    def notes(self) -> tuple[str, ...]:
        """Return the notes so far, those that are counted with how many and the first."""
        counted = [
            f"{what}: {kind.count:,}, first {kind.named[0]}" + (f"; {meaning}" if meaning else "")
            for (what, meaning), kind in self._notes.items()
        ]
        return (*counted, *self._sentences)

    def conclude(self, images: int) -> None:
        """Raise UserError with all faults, and with the notes, if the data set of `images` cannot be converted.

        Bad images that are few enough become a note.
        """
        bad, allowed = self.bad_images, allowed_bad_images(images, self._max_bad_images)
        limit = f"--max-bad-images ({self._max_bad_images:g}) allows {allowed:,}"
        too_many = bad > allowed
        if bad and not too_many:
            listed = " | ".join(_lines(list(self._image_faults.values())))
            self.say(f"images left out because of a fault: {bad:,} of {images:,} ({limit}): {listed}")
        if not too_many and not self._faults:
            return
        kinds = [*self._faults.values(), *(self._image_faults.values() if too_many else ())]
        lines = _lines(kinds)
        count = sum(kind.count for kind in kinds)
        if count > 1:
            lines = [f"{count:,} problems:", *(f"- {line}" for line in lines)]
        if too_many:
            lines.append(
                f"{in_words(bad, 'image', 'images')} of {images:,} cannot be used, and {limit}: mend them, or raise "
                "it to leave them out"
            )
        if notes := self.notes():
            lines += ["notes:", *(f"- {note}" for note in notes)]
        raise UserError("\n".join(lines))


class _Kind:
    """The first ten texts of many, and their number."""

    def __init__(self) -> None:
        self.named: list[str] = []
        self.count = 0

    def add(self, text: str) -> None:
        self.count += 1
        if len(self.named) < _NAMED:
            self.named.append(_printable(text))


def kind_of(fault: str) -> str:
    """Return what faults of a kind have in common: their text without numbers and what stands in quotes or brackets."""
    return re.sub(r"\(.*?\)|'.*?'|[-+.\d]+", "", fault)


def _lines(kinds: Sequence[_Kind]) -> list[str]:
    lines = []
    for kind in kinds:
        lines += kind.named
        if kind.count > len(kind.named):
            lines.append(f"... and {kind.count - len(kind.named):,} more of this kind")
    return lines


def _printable(text: str) -> str:
    text = text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."
    # Names of files may hold anything: a line break would look like another fault, and a stray byte (a lone surrogate)
    # cannot be printed at all.
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
