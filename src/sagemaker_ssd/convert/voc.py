"""PASCAL VOC: a folder of XML files, each with the objects of one image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from sagemaker_ssd.convert.examples import Box, Dataset, Example, check_corners
from sagemaker_ssd.convert.images import ImageFolder
from sagemaker_ssd.convert.sizes import Sizes
from sagemaker_ssd.convert.voc_lists import SplitLists
from sagemaker_ssd.convert.voc_xml import read_annotation
from sagemaker_ssd.errors import UserError, problems


@dataclass(frozen=True)
class VocSource:
    """Where a set lies; `SplitLists.read` says what a missing list means, `classes` None is alphabetical."""

    images: Path
    validation_images: Path
    annotations: Path
    train: Path | None
    validation: Path | None
    fraction: float
    seed: int
    classes: tuple[str, ...] | None


def read_voc(source: VocSource) -> Dataset:
    """Read both splits, corners as they stand; raises UserError with everything that is wrong."""
    images, validation_images = ImageFolder(source.images), ImageFolder(source.validation_images)
    lists = SplitLists(source.annotations)
    stems = lists.read(source.train, source.validation, source.fraction, source.seed)
    reader = _Reader(source.annotations)
    train = reader.read_split(images, stems[0])
    validation = reader.read_split(validation_images, stems[1])
    names = source.classes or tuple(sorted(reader.places))
    faults = [*lists.faults, *reader.faults, *reader.unknown(names)]
    if not faults and not names:
        faults.append(f"{source.annotations}: not one object in the images listed")
    if faults:
        raise UserError(problems(faults))
    ids = [names.index(name) for name in reader.places]
    return Dataset(names, _with_ids(train, ids), _with_ids(validation, ids), (*lists.notes, *reader.sizes.notes()))


class _Reader:
    """Reads XML files; a class gets the next number when it is first met, and its place is remembered."""

    def __init__(self, annotations: Path) -> None:
        self.annotations = annotations
        self.places: dict[str, str] = {}
        self.faults: list[str] = []
        self.sizes = Sizes()
        self._numbers: dict[str, int] = {}

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
        """Say which classes were met that `names` has not."""
        return [
            f"{place} has the class '{name}', which is not in --classes ({', '.join(names)})"
            for name, place in self.places.items()
            if name not in names
        ]

    def _read(self, images: ImageFolder, stem: str, path: Path) -> Example:
        annotation, faults = read_annotation(path)
        self.faults += [f"{path}: {fault}" for fault in faults]
        file = images.with_stem(stem)
        size = self.sizes.settle(images.root / file, annotation.size)
        boxes = []
        for each in annotation.objects:
            place = f"{path}: box {each.number}"
            self.places.setdefault(each.name, place)
            class_id = self._numbers.setdefault(each.name, len(self._numbers))
            try:
                boxes.append(Box(class_id, *check_corners(each.corners, size), each.difficult))
            except UserError as fault:
                self.faults.append(f"{place} ({each.name}) {fault.sentence}")
        return Example(images.root / file, file, *size, tuple(boxes))


def _with_ids(examples: Sequence[Example], ids: Sequence[int]) -> tuple[Example, ...]:
    """Replace the numbers in order of appearance by the class ids of the set."""
    return tuple(
        replace(example, boxes=tuple(replace(box, class_id=ids[box.class_id]) for box in example.boxes))
        for example in examples
    )
