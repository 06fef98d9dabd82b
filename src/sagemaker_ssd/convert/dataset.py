"""What every source is read into: images as drawn, and the data set that is made of them and checked on the way."""

import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

import numpy as np
from tqdm import tqdm

from sagemaker_ssd.boxes import FractionCount, have_another_order, inverted
from sagemaker_ssd.channels.annotations import composed
from sagemaker_ssd.convert.findings import Findings
from sagemaker_ssd.convert.images import FoundImage, Frame, find_frame
from sagemaker_ssd.convert.shapes import (
    Corners,
    Size,
    around_rotated,
    check_border,
    from_fractions,
    has_area,
    turned_upright,
)
from sagemaker_ssd.errors import UserError, in_words, shown

Item = TypeVar("Item")
_MEANING: Final = {
    "scaled": "boxes are scaled from the size stated",
    "swapped": "read as width and height swapped",
    "stored": "boxes were turned with their image, since training sees it upright",
}
_KIND_OF_SIZE: Final = {
    "scaled": "images of another size than their annotation says",
    "swapped": "images whose annotation has width and height the wrong way round",
    "stored": "images with an EXIF orientation whose annotation has the size without it",
}
_BORDER_HINT: Final = {
    "scaled": "",
    "swapped": "; width and height are stated the wrong way round: was the image turned after it was labelled?",
    "stored": "; the size stated is that without the EXIF orientation, but the boxes seem to be drawn on the upright "
    "image: state its size",
}


class Coordinates(StrEnum):
    """What the numbers of boxes are."""

    PIXELS = "pixels"
    FRACTIONS = "fractions"


@dataclass(frozen=True, slots=True)
class Box:
    """An object's corners in pixels from the upper left; they may enclose no area."""

    class_id: int
    xmin: float
    ymin: float
    xmax: float
    ymax: float
    difficult: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """An image, its path below the channel (with `/`), the size its boxes are drawn on, and the boxes."""

    image: Path
    file: str
    width: int
    height: int
    boxes: tuple[Box, ...]

    @property
    def annotation(self) -> str:
        """The path of its JSON below the channel."""
        return f"{self.file.rpartition('.')[0]}.json"


@dataclass(frozen=True)
class Dataset:
    """Two splits with the same class ids, and what the person ought to know about them."""

    classes: tuple[str, ...]
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    notes: tuple[str, ...]

    @property
    def splits(self) -> dict[str, tuple[Example, ...]]:
        """The examples by the name of their channel."""
        return {"train": self.train, "validation": self.validation}

    @property
    def object_width(self) -> int:
        """The numbers of an object in a record's label: class_id and corners, and difficult if any box is marked so."""
        marked = any(box.difficult for split in self.splits.values() for each in split for box in each.boxes)
        return 6 if marked else 5


@dataclass(frozen=True, slots=True)
class DrawnObject:
    """An object as it stands: `title` names it in a text; corners in pixels or fractions; degrees about its centre.

    `name`, its class, has each letter and its accents as one character, whatever it is made with.
    """

    title: str
    name: str
    corners: Corners
    degrees: float = 0.0
    difficult: bool = False

    def __post_init__(self) -> None:
        # For every source alike: what looks the same is no other class.
        object.__setattr__(self, "name", composed(self.name))


@dataclass(frozen=True, slots=True)
class DrawnImage:
    """An image as it stands: `key` tells it from all others.

    `place` names the file that its objects are from, `title` the image's own part of that. `found` is below `folder`;
    `size` is width and height, None if the annotation does not say.
    """

    key: Hashable
    place: str
    title: str
    folder: Path
    found: FoundImage
    size: Size | None
    objects: tuple[DrawnObject, ...]


@dataclass(frozen=True)
class Choices:
    """What the person may choose for every source.

    classes: names in the order of their ids, None: the source's order. only: whether boxes of other classes are left
    out, instead of being a fault. coordinates: None means pixels, unless they look like fractions.
    """

    classes: tuple[str, ...] | None = None
    only: bool = False
    coordinates: Coordinates | None = None


@dataclass(frozen=True)
class Splits:
    """Where both splits come from, whatever the format.

    images, validation_images: folders, perhaps the same. train, validation: what names the images of each, where that
    is given. fraction, seed: the share of `train`'s images that is split off for a validation that nothing names, and
    what chooses it.
    """

    images: Path
    validation_images: Path
    train: Path | None
    validation: Path | None
    fraction: float
    seed: int


def split_off(items: Sequence[Item], fraction: float, seed: int) -> tuple[list[Item], list[Item]]:
    """Put `fraction` of the items, at least one, chosen by `seed`, into the second list; both stay in order."""
    count = max(1, round(len(items) * fraction))
    chosen = set(random.Random(seed).sample(range(len(items)), min(count, len(items))))
    first = [item for number, item in enumerate(items) if number not in chosen]
    return first, [items[number] for number in sorted(chosen)]


def make_dataset(
    train: Sequence[DrawnImage],
    validation: Sequence[DrawnImage],
    *,
    names: Sequence[str],
    choices: Choices,
    findings: Findings,
    empty_because: Mapping[str, str] = MappingProxyType({}),
) -> Dataset:
    """Check both splits and give classes their ids: `choices.classes`, else `names`, which have boxes, in order.

    empty_because: what the source knows about why a split, by its name, may have no image. Raises UserError with
    everything that is wrong, with what has been found before too.
    """
    splits = {"train": train, "validation": validation}
    _refuse_doubles(splits, findings)
    classes = tuple(names if choices.classes is None else choices.classes)
    _check_classes(splits, classes, choices, findings)
    if choices.coordinates is None:
        _find_fractions(train, validation, findings)
    reader = _Reader(findings, choices, {name: number for number, name in enumerate(classes)})
    examples = {name: reader.read(split, name) for name, split in splits.items()}
    images = findings.count_images(image.key for split in splits.values() for image in split)
    if not findings.stops(images):
        for name, split in splits.items():
            if not examples[name]:
                left_out = ": all of its images were left out" if split or findings.bad_images else ""
                why = empty_because.get(name) or left_out
                findings.fault("empty", f"the {name} split has no image{why}")
        if not findings.faulty and not any(example.boxes for split in examples.values() for example in split):
            findings.fault("nothing", "not one object in the images")
    findings.conclude(images)
    _note_percent(examples, choices, findings)
    _note_classes(classes, examples, findings)
    return Dataset(classes, examples["train"], examples["validation"], findings.notes())


def _refuse_doubles(splits: dict[str, Sequence[DrawnImage]], findings: Findings) -> None:
    """Find images that are meant twice: by two names, or by two annotations of one split or with other boxes."""
    claims: dict[Path, list[tuple[str, DrawnImage]]] = defaultdict(list)
    for split, images in splits.items():
        for image in images:
            claims[image.folder / image.found.file].append((split, image))
    for path, claimed in claims.items():
        if len({image.found.wanted for _, image in claimed}) > 1:
            for _, image in [each for each in claimed if not each[1].found.exact]:
                other = next(each for _, each in claimed if each.found.wanted != image.found.wanted)
                findings.bad_image(
                    image.key,
                    "claimed",
                    f"{image.title}: there is no image {shown(image.found.wanted)}, and {path}, which is called like "
                    f"it, is that of {other.title}",
                )
            claimed = [each for each in claimed if each[1].found.exact]
        if len(claimed) > 1:
            _refuse_doubles_of(path, claimed, findings)


def _refuse_doubles_of(path: Path, claimed: Sequence[tuple[str, DrawnImage]], findings: Findings) -> None:
    """Find the annotations of one image that differ, and those that repeat an equal one of the same split.

    Which objects are to be joined nobody can tell: they are the same ones as two people drew them, or those of another
    image, such as the frame of another video. Source: LIVECell, issue 14; cvat-ai/cvat, issue 2046;
    open-edge-platform/geti, issue 7496.
    """
    for number, (split, image) in enumerate(claimed):
        others = [(each, other) for each, other in claimed if other.key != image.key]
        where, other = next(((each, other) for each, other in others if not _agree(image, other)), (split, None))
        # A part of a file that is split off has no images of its own.
        if other is not None and (where == split or other.place == image.place):
            also = f"{other.title} too, with another size or other boxes: join their boxes, or take one of them out"
        elif other is not None:
            also = (
                f"{other.title} of {where} too, with another size or other boxes: give the folder of validation's "
                "images as --validation-images, or take one of the two out"
            )
        else:
            before = (each for each in claimed[:number] if each[1].key != image.key)
            other = next((one for each, one in before if each == split or one.place == image.place), None)
            if other is None:
                continue
            also = f"{other.title} already"
        findings.bad_image(image.key, "twice", f"{image.title}: {path} is the image of {also}")


def _agree(image: DrawnImage, other: DrawnImage) -> bool:
    """Whether two annotations say the same about their image."""
    if image.size and other.size and image.size != other.size:
        return False
    one, two = (Counter((each.name, each.corners, each.degrees) for each in of.objects) for of in (image, other))
    return one == two


def _check_classes(
    splits: dict[str, Sequence[DrawnImage]], classes: Sequence[str], choices: Choices, findings: Findings
) -> None:
    known, unknown = set(classes), set()
    left_out: Counter[str] = Counter()
    for image in (image for images in splits.values() for image in images):
        for each in image.objects:
            if each.name in known:
                continue
            if choices.only:
                left_out[each.name] += 1
            elif each.name not in unknown:
                unknown.add(each.name)
                comma = "; a name that holds a comma stands in double quotes there" if "," in each.name else ""
                findings.fault(
                    "class",
                    f"{image.place}: {each.title} has the class '{each.name}', which is not in --classes "
                    f"({', '.join(classes)}); --only-classes leaves others out{comma}",
                )
    if left_out:
        named = ", ".join(f"{name} {count:,}" for name, count in sorted(left_out.items()))
        findings.say(f"boxes of classes that --only-classes does not name, left out: {named}")


def _note_classes(classes: Sequence[str], examples: dict[str, tuple[Example, ...]], findings: Findings) -> None:
    seen = {name: {box.class_id for each in split for box in each.boxes} for name, split in examples.items()}
    for number, name in enumerate(classes):
        if number not in seen["train"] | seen["validation"]:
            findings.note("classes without a box", name)
        elif number not in seen["train"]:
            findings.note("classes in validation, but not in train", name, "they cannot be learned")
    by_folded: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        by_folded[name.casefold()].append(name)
    for alike in (names for names in by_folded.values() if len(names) > 1):
        findings.note("classes that differ only in upper and lower case", " and ".join(alike), "is each one meant?")


@dataclass(frozen=True, slots=True)
class _Placed:
    """An object and its box on the upright image, in pixels; None if that cannot be."""

    drawn: DrawnObject
    corners: Corners | None


class _Reader:
    """Makes examples of the images of a split."""

    def __init__(self, findings: Findings, choices: Choices, ids: dict[str, int]) -> None:
        self._findings = findings
        self._choices = choices
        self._ids = ids

    def read(self, images: Sequence[DrawnImage], split: str) -> tuple[Example, ...]:
        """Return the examples of the images of a split; those with faults may be missing."""
        examples = []
        inverted_boxes: list[str] = []
        for image in tqdm(images, desc=f"checking {split}", unit=" images", leave=False, disable=None):
            example = self._read(image, inverted_boxes)
            if example is not None:
                examples.append(example)
        self._conclude_inverted(split, inverted_boxes, sum(len(example.boxes) for example in examples))
        return tuple(examples)

    def _conclude_inverted(self, split: str, found: Sequence[str], boxes: int) -> None:
        """Tell of the inverted boxes `found` among so many: the training job drops a few, and many stop it."""
        if have_another_order(len(found), boxes):
            self._findings.fault(
                "inverted",
                f"{split}: {len(found):,} of {in_words(boxes, 'box is', 'boxes are')} inverted, such as {found[0]}: "
                "xmin, ymin must be a box's upper left corner and xmax, ymax its lower right one, and a width and a "
                "height must be above 0. Mend the numbers in the annotations",
            )
            return
        for each in found:
            self._findings.note(
                "inverted boxes, whose xmax is below xmin or ymax below ymin",
                each,
                "kept here, dropped by the training job",
            )

    def _read(self, image: DrawnImage, inverted_boxes: list[str]) -> Example | None:
        """Return the example of an image, None for one with a fault; name its inverted boxes in the list."""
        path = image.folder / image.found.file
        try:
            frame = find_frame(path, image.size)
        except UserError as fault:
            self._findings.bad_image(image.key, "unreadable", f"{image.place}: {fault.sentence}")
            return None
        self._note(image, path, frame)
        placed = [_Placed(each, self._place(image, each, frame)) for each in self._chosen(image)]
        if self._findings.is_bad(image.key):
            return None
        width, height = frame.upright_size
        kept = [
            (each.drawn, each.corners) for each in placed if each.corners is not None and each.drawn.name in self._ids
        ]
        for drawn, corners in kept:
            if not has_area(corners) and inverted(np.array([corners])).any():
                numbers = ", ".join(f"{value:.10g}" for value in drawn.corners)
                inverted_boxes.append(f"{image.place}: {drawn.title} (xmin, ymin, xmax, ymax {numbers})")
        boxes = tuple(Box(self._ids[drawn.name], *corners, drawn.difficult) for drawn, corners in kept)
        return Example(path, image.found.file, width, height, boxes)

    def _chosen(self, image: DrawnImage) -> Iterator[DrawnObject]:
        return (each for each in image.objects if each.name in self._ids or not self._choices.only)

    def _place(self, image: DrawnImage, drawn: DrawnObject, frame: Frame) -> Corners | None:
        corners = drawn.corners
        try:
            if self._choices.coordinates is Coordinates.FRACTIONS:
                corners = from_fractions(corners, frame.size)
            if drawn.degrees:
                corners = around_rotated(corners, drawn.degrees, frame.size)
                self._findings.note(
                    "rotated boxes",
                    f"{image.place}: {drawn.title}",
                    "each was written as the upright box that encloses it",
                )
            check_border(corners, frame.size)
        except UserError as fault:
            hint = _BORDER_HINT.get(frame.odd, "") if "past the border" in fault.sentence else ""
            self._findings.bad_image(image.key, "border", f"{image.place}: {drawn.title} {fault.sentence}{hint}")
            return None
        return corners if frame.orientation == 1 else turned_upright(corners, frame.size, frame.orientation)

    def _note(self, image: DrawnImage, path: Path, frame: Frame) -> None:
        if not image.found.exact:
            self._findings.note("images found by the end of their path", f"{path} for {shown(image.found.wanted)}")
        if frame.odd:
            self._findings.note(_KIND_OF_SIZE[frame.odd], frame.difference, _MEANING[frame.odd])
        if frame.turned and frame.odd != "stored":
            self._findings.note(
                "images with an EXIF orientation",
                path,
                "training sees them upright, so their boxes have to fit the upright image",
            )


def _find_fractions(train: Sequence[DrawnImage], validation: Sequence[DrawnImage], findings: Findings) -> None:
    """Find boxes whose numbers are fractions of the image, which would pass for tiny ones in pixels."""
    counted = [[(image, _count_fractions(image)) for image in images] for images in (train, validation)]
    for images, of in ((counted[0] + counted[1], ""), (counted[0], "train: "), (counted[1], "validation: ")):
        count = sum((each for _, each in images), FractionCount())
        # A whole data set of nothing but one pixel each is none, however few they are.
        if count.are_fractions or (count.all_within and not of):
            image = next(image for image, each in images if each.within)
            findings.fault(
                "fractions",
                f"{of}{count.within:,} of {in_words(count.boxes, 'box', 'boxes')} within 0 to 1, such as "
                f"{_first_within(image)}. These look like fractions of the image, and pixels are read; give "
                "--coordinates fractions, or --coordinates pixels if they are pixels",
            )
            return
    for image, each in counted[0] + counted[1]:
        if each.all_within and each.broken:
            findings.bad_image(
                image.key,
                "fractions",
                f"{image.place}: all its boxes lie within 0 to 1, such as {_first_within(image, place=False)}, which "
                "look like fractions of the image among pixels: write pixels",
            )


def _note_percent(examples: dict[str, tuple[Example, ...]], choices: Choices, findings: Findings) -> None:
    count = FractionCount()
    for each in (each for split in examples.values() for each in split):
        corners = [(box.xmin, box.ymin, box.xmax, box.ymax) for box in each.boxes]
        count += FractionCount.of_image(np.array(corners, np.float64).reshape(-1, 4), (each.width, each.height))
    if count.may_be_percent and choices.coordinates is None:
        findings.say(
            f"all {count.boxes:,} boxes lie within 0 to 100, although the images are larger: are they per cent of the "
            "image? They are read as pixels"
        )


def _count_fractions(image: DrawnImage) -> FractionCount:
    return FractionCount.of_image(np.array([each.corners for each in image.objects], np.float64).reshape(-1, 4))


def _first_within(image: DrawnImage, *, place: bool = True) -> str:
    """Name the first box of an image that may be fractions."""
    first = next(each for each in image.objects if FractionCount.of_image(np.array([each.corners])).within)
    corners = ", ".join(f"{value:g}" for value in first.corners)
    return f"{image.place + ': ' if place else ''}{first.title} (xmin, ymin, xmax, ymax {corners})"
