"""PASCAL VOC: a folder of XML files, each with the objects of one image, and lists of the images of each split.

Source: VOCdevkit, `VOCreadxml` and the annotation guidelines of 2012.
"""

import posixpath
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tqdm import tqdm

from sagemaker_ssd.channels.images import IMAGE_ENDINGS
from sagemaker_ssd.convert.dataset import Box, Dataset, Example, ImageFolder, ImageSizes, check_corners, split_off
from sagemaker_ssd.errors import UserError, problems

_CORNERS: Final = ("xmin", "ymin", "xmax", "ymax")
# The second column of the devkit's lists for one class: present, absent, only difficult ones.
_SECOND_COLUMN: Final = ("1", "-1", "0")


@dataclass(frozen=True, slots=True)
class VocObject:
    """An object as it stands: its number in the file from 0, its class, the text of its corners."""

    number: int
    name: str
    corners: tuple[str, ...]
    difficult: bool


@dataclass(frozen=True, slots=True)
class VocAnnotation:
    """`size` is width and height, None if the file has none."""

    size: tuple[int, int] | None
    objects: tuple[VocObject, ...]


def read_annotation(path: Path) -> tuple[VocAnnotation, list[str]]:
    """Read a file; what is wrong with single objects comes as texts, each to continue the file's name.

    Raises UserError if the file as a whole cannot be used.
    """
    root = _parse(path)
    if root.tag != "annotation":
        raise UserError(f"is not an annotation of PASCAL VOC: it begins <{root.tag}>, not <annotation>")
    objects, faults = [], []
    for number, element in enumerate(root.findall("object")):
        try:
            objects.append(_read_object(number, element))
        except UserError as fault:
            faults.append(f"box {number} {fault.sentence}")
    return VocAnnotation(_read_size(root), tuple(objects)), faults


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses a DOCTYPE: VOC files have none, and entities can blow up to gigabytes."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise UserError("has a DOCTYPE, which is not allowed here: remove it")


def _parse(path: Path) -> ElementTree.Element:
    parser = ElementTree.XMLParser(target=_NoDoctype())
    try:
        parser.feed(path.read_bytes())
        root: ElementTree.Element = parser.close()
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}") from error
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise UserError(f"is not well-formed XML: {error}") from error
    return root


def _read_size(root: ElementTree.Element) -> tuple[int, int] | None:
    """Take the size; many tools write none, or 0, when they did not open the image."""
    try:
        width, height = (int(float(_text(root, f"size/{side}"))) for side in ("width", "height"))
    except (ValueError, OverflowError):
        return None
    return (width, height) if width > 0 and height > 0 else None


def _read_object(number: int, element: ElementTree.Element) -> VocObject:
    name = _text(element, "name")
    if not name:
        raise UserError("has no <name>")
    corners = tuple(_text(element, f"bndbox/{corner}") for corner in _CORNERS)
    missing = [f"<{corner}>" for corner, text in zip(_CORNERS, corners, strict=True) if not text]
    if missing:
        raise UserError(f"({name}) has no {', '.join(missing)} in its <bndbox>")
    difficult = _text(element, "difficult") or "0"
    if difficult not in ("0", "1"):
        raise UserError(f"({name}) has <difficult> '{difficult}', which has to be 0 or 1")
    return VocObject(number, name, corners, difficult == "1")


def _text(element: ElementTree.Element, path: str) -> str:
    return " ".join((element.findtext(path) or "").split())


class ImageSets:
    """Reads the lists of the images of each split (the devkit's ImageSets), whose XML files are below `annotations`.

    What is wrong is gathered in `faults`, what is only odd in `notes`.
    """

    def __init__(self, annotations: Path) -> None:
        self.faults: list[str] = []
        self.notes: list[str] = []
        self._annotations = annotations

    def read(
        self, train: Path | None, validation: Path | None, fraction: float, seed: int
    ) -> tuple[list[str], list[str]]:
        """Return the stems of both splits, paths of the XML files without `.xml`.

        No list for `train` means all XML files that the other list does not name; none for `validation` means
        that `fraction` of the first is split off.
        """
        chosen = self._read_list(validation) if validation else []
        if train:
            stems = self._read_list(train)
        else:
            files = sorted(self._annotations.rglob("*.xml"))
            everything = [path.relative_to(self._annotations).with_suffix("").as_posix() for path in files]
            others = set(chosen)
            stems = [stem for stem in everything if stem not in others]
        if not validation:
            stems, chosen = split_off(stems, fraction, seed)
        if not self.faults:
            splits = {"train": stems, "validation": chosen}
            self.faults += [f"the {name} split has no image" for name, split in splits.items() if not split]
        return stems, chosen

    def _read_list(self, path: Path) -> list[str]:
        try:
            lines = path.read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            self.faults.append(f"{path} cannot be read: {reason}")
            return []
        stems: dict[str, None] = {}
        repeated = 0
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            stem = self._find(line.strip())
            if stem is None:
                name = _candidates(line.strip())[-1]
                self.faults.append(f"{path}, line {number}: there is no {self._annotations / name}.xml")
            elif stem in stems:
                repeated += 1
            else:
                stems[stem] = None
        if repeated:
            self.notes.append(f"{path}: lines that repeat an image: {repeated:,}, left out")
        return list(stems)

    def _find(self, line: str) -> str | None:
        for stem in _candidates(line):
            if ".." not in stem.split("/") and (self._annotations / f"{stem}.xml").is_file():
                return stem
        return None


def _candidates(line: str) -> list[str]:
    """What a line may mean, from the letter (names can hold spaces and dots) to its first column's stem."""
    names = [line]
    columns = line.rsplit(maxsplit=1)
    if len(columns) == 2 and columns[1] in _SECOND_COLUMN:
        names.append(columns[0])
    stems = []
    for name in names:
        stem, ending = posixpath.splitext(name)
        stems.append(name)
        if ending.lower() in (*IMAGE_ENDINGS, ".xml"):
            stems.append(stem)
    return [posixpath.normpath(stem).lstrip("/") for stem in stems]


def read_voc(
    *,
    images: Path,
    validation_images: Path,
    annotations: Path,
    train: Path | None,
    validation: Path | None,
    fraction: float,
    seed: int,
    classes: tuple[str, ...] | None,
) -> Dataset:
    """Read both splits, corners as they stand; raises UserError with everything that is wrong.

    `ImageSets.read` says what a missing list means; classes: their names in the order of their ids, None: alphabetical.
    """
    lists = ImageSets(annotations)
    stems = lists.read(train, validation, fraction, seed)
    reader = _Reader(annotations)
    splits = [
        reader.read_split(ImageFolder(folder), stems_of_split)
        for folder, stems_of_split in zip((images, validation_images), stems, strict=True)
    ]
    names = classes or tuple(sorted(reader.first_places))
    faults = [*lists.faults, *reader.faults, *reader.unknown(names)]
    if not faults and not names:
        faults.append(f"{annotations}: not one object in the images listed")
    if faults:
        raise UserError(problems(faults))
    ids = [names.index(name) for name in reader.first_places]
    train_examples, validation_examples = (_with_ids(examples, ids) for examples in splits)
    return Dataset(names, train_examples, validation_examples, (*lists.notes, *reader.sizes.notes()))


class _Reader:
    """Reads XML files; a class gets the next number where it is first seen, which is remembered for a fault."""

    def __init__(self, annotations: Path) -> None:
        self.annotations = annotations
        self.first_places: dict[str, str] = {}
        self.faults: list[str] = []
        self.sizes = ImageSizes()
        self._provisional_ids: dict[str, int] = {}

    def read_split(self, images: ImageFolder, stems: Sequence[str]) -> list[Example]:
        """Read the examples of the XML files `stems`; those with faults may be missing."""
        examples = []
        for stem in tqdm(stems, desc="reading", unit=" images", leave=False, disable=None):
            path = self.annotations / f"{stem}.xml"
            try:
                examples.append(self._read(images, stem, path))
            except UserError as fault:
                self.faults.append(f"{path}: {fault.sentence}")
        return examples

    def unknown(self, names: Sequence[str]) -> list[str]:
        """Return a fault for each class that is not in `names`."""
        return [
            f"{place} has the class '{name}', which is not in --classes ({', '.join(names)})"
            for name, place in self.first_places.items()
            if name not in names
        ]

    def _read(self, images: ImageFolder, stem: str, path: Path) -> Example:
        annotation, faults = read_annotation(path)
        self.faults += [f"{path}: {fault}" for fault in faults]
        file = images.with_stem(stem)
        size = self.sizes.resolve(images.root / file, annotation.size)
        boxes = []
        for each in annotation.objects:
            place = f"{path}: box {each.number}"
            self.first_places.setdefault(each.name, place)
            class_id = self._provisional_ids.setdefault(each.name, len(self._provisional_ids))
            try:
                boxes.append(Box(class_id, *check_corners(each.corners, size), each.difficult))
            except UserError as fault:
                self.faults.append(f"{place} ({each.name}) {fault.sentence}")
        return Example(images.root / file, file, *size, tuple(boxes))


def _with_ids(examples: Sequence[Example], ids: Sequence[int]) -> tuple[Example, ...]:
    """Replace the provisional ids, in order of appearance, by those of the data set."""
    return tuple(
        replace(example, boxes=tuple(replace(box, class_id=ids[box.class_id]) for box in example.boxes))
        for example in examples
    )
