"""COCO: one JSON file for each split."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from sagemaker_ssd.convert.coco_file import CocoFile, CocoImage
from sagemaker_ssd.convert.examples import Box, Dataset, Example, check_corners, split_off
from sagemaker_ssd.convert.images import ImageFolder
from sagemaker_ssd.convert.sizes import Sizes
from sagemaker_ssd.errors import UserError, problems


@dataclass(frozen=True)
class CocoSource:
    """Where a set lies; without `validation`, `fraction` of the images is split off for it."""

    images: Path
    validation_images: Path
    train: Path
    validation: Path | None
    fraction: float
    seed: int


def read_coco(source: CocoSource) -> Dataset:
    """Read both splits, crowds left out; class ids are the categories' order by id.

    Raises UserError with everything that is wrong.
    """
    folders = ImageFolder(source.images), ImageFolder(source.validation_images)
    files = [CocoFile(path) for path in (source.train, source.validation) if path]
    faults = [fault for file in files for fault in file.faults]
    categories = _merge_categories(files, faults)
    notes: list[str] = []
    images = [_without_crowds(file, notes) for file in files]
    if len(images) == 1:
        images = list(split_off(images[0], source.fraction, source.seed))
    reader = _Reader({category: number for number, category in enumerate(sorted(categories))}, faults)
    splits = [
        reader.read_split(folder, split, file.path)
        for folder, split, file in zip(folders, images, (files[0], files[-1]), strict=True)
    ]
    for name, split in zip(("train", "validation"), images, strict=True):
        if not split:
            faults.append(f"the {name} split has no image")
    if faults:
        raise UserError(problems(faults))
    names = tuple(categories[category] for category in sorted(categories))
    return Dataset(names, splits[0], splits[1], (*notes, *reader.sizes.notes()))


def _merge_categories(files: Sequence[CocoFile], faults: list[str]) -> dict[int, str]:
    """Join the categories of all files, and say where two files mean different ones by an id."""
    merged: dict[int, str] = {}
    for file in files:
        for category, name in file.categories.items():
            if merged.setdefault(category, name) != name:
                faults.append(
                    f"category {category} is '{merged[category]}' in {files[0].path}, but '{name}' in {file.path}"
                )
    if not merged and not faults:
        faults.append(f"{files[0].path} has no categories")
    return merged


def _without_crowds(file: CocoFile, notes: list[str]) -> list[CocoImage]:
    """Leave out images that show crowds alone: they have no box, but are no images without objects either."""
    crowds = sum(image.crowds for image in file.images)
    kept = [image for image in file.images if image.annotations or not image.crowds]
    if crowds:
        notes.append(
            f"{file.path}: left out {crowds:,} annotations of crowds (iscrowd), and of images that have no others "
            f"{len(file.images) - len(kept):,}"
        )
    return kept


class _Reader:
    def __init__(self, ids: dict[int, int], faults: list[str]) -> None:
        self.sizes = Sizes()
        self._ids = ids
        self._faults = faults

    def read_split(self, folder: ImageFolder, images: Sequence[CocoImage], path: Path) -> tuple[Example, ...]:
        """Find the images of a split and check their boxes; those with faults may be missing."""
        examples: dict[str, Example] = {}
        for image in tqdm(images, desc="reading", unit=" images", leave=False, disable=None):
            try:
                example = self._read(folder, image, path)
            except UserError as fault:
                self._faults.append(f"{path}: {fault.sentence}")
                continue
            if example.file in examples:
                self._faults.append(f"{path}: two images have the file_name {example.file}")
            examples[example.file] = example
        return tuple(examples.values())

    def _read(self, folder: ImageFolder, image: CocoImage, path: Path) -> Example:
        file = folder.named(image.file)
        size = self.sizes.settle(folder.root / file, image.size)
        boxes = []
        for each in image.annotations:
            left, top, width, height = each.bbox
            try:
                corners = check_corners((left, top, left + width, top + height), size)
            except UserError as fault:
                self._faults.append(f"{path}: {each.title} of {file} {fault.sentence}")
                continue
            boxes.append(Box(self._ids[each.category], *corners))
        return Example(folder.root / file, file, *size, tuple(boxes))
