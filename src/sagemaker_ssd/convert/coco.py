"""COCO: one JSON file for each split, with its categories and its images with their annotations.

Source: cocodataset.org, data format.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from sagemaker_ssd.convert.dataset import Box, Dataset, Example, ImageFolder, ImageSizes, check_corners, split_off
from sagemaker_ssd.errors import UserError, problems


@dataclass(frozen=True, slots=True)
class CocoAnnotation:
    """An object as it stands: what to call it in a text, its category's id, its bbox."""

    title: str
    category: int
    bbox: tuple[float, float, float, float]


@dataclass(slots=True)
class CocoImage:
    """`size` is width and height, None if the file does not say; `crowds` counts the crowds left out."""

    file: str
    size: tuple[int, int] | None
    annotations: list[CocoAnnotation] = field(default_factory=list)
    crowds: int = 0


class CocoFile:
    """Reads a file whole; `faults` says which single entries cannot be used.

    Raises UserError if it is no JSON with the lists images, annotations and categories.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.faults: list[str] = []
        self.categories: dict[int, str] = {}
        self._images: dict[int | str, CocoImage] = {}
        content = _load(path)
        for key, read in (
            ("categories", self._read_category),
            ("images", self._read_image),
            ("annotations", self._read_annotation),
        ):
            for title, entry in _entries(content, key, path):
                try:
                    read(entry, title)
                except UserError as fault:
                    self.faults.append(f"{path}: {title} {fault.sentence}")

    @property
    def images(self) -> list[CocoImage]:
        """The images in the file's order."""
        return list(self._images.values())

    def _read_category(self, entry: dict[str, Any], title: str) -> None:
        category, name = _whole(entry, "id"), entry.get("name")
        if category in self.categories:
            raise UserError("has an id that another category has")
        if not isinstance(name, str) or not name.strip():
            raise UserError("has no name")
        self.categories[category] = " ".join(name.split())

    def _read_image(self, entry: dict[str, Any], title: str) -> None:
        identity, file = entry.get("id"), entry.get("file_name")
        if not isinstance(identity, int | str):
            raise UserError("has no id")
        if identity in self._images:
            raise UserError("has an id that another image has")
        if not isinstance(file, str):
            raise UserError("has no file_name")
        stated = [entry.get(side) for side in ("width", "height")]
        sides = [side for side in stated if isinstance(side, int) and side > 0]
        self._images[identity] = CocoImage(file, (sides[0], sides[1]) if len(sides) == 2 else None)

    def _read_annotation(self, entry: dict[str, Any], title: str) -> None:
        identity = entry.get("image_id")
        if not isinstance(identity, int | str) or identity not in self._images:
            raise UserError(f"has the image_id {identity!r}, which no image has")
        image = self._images[identity]
        if entry.get("iscrowd"):
            image.crowds += 1
            return
        category = _whole(entry, "category_id")
        if category not in self.categories:
            raise UserError(f"has the category_id {category}, which no category has")
        bbox = entry.get("bbox")
        if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(_is_number, bbox)):
            raise UserError(f"has the bbox {bbox!r}, which has to be four numbers: x, y, width, height")
        image.annotations.append(CocoAnnotation(title, category, (bbox[0], bbox[1], bbox[2], bbox[3])))


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = json.load(file, object_hook=_without_outline)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is no COCO file: it has to be an object with images, annotations and categories")
    return content


def _without_outline(entry: dict[str, Any]) -> dict[str, Any]:
    """Drop what is by far the largest part of COCO's own files as soon as it is read."""
    entry.pop("segmentation", None)
    return entry


def _entries(content: dict[str, Any], key: str, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    entries = content.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{path} has no list of objects '{key}'")
    singular = {"categories": "category", "images": "image", "annotations": "annotation"}[key]
    for number, entry in enumerate(entries):
        yield f"{singular} {number}" + (f" (id {entry['id']})" if "id" in entry else ""), entry


def _whole(entry: dict[str, Any], key: str) -> int:
    value = entry.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    raise UserError(f"has the {key} {value!r}, which has to be a whole number")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def read_coco(
    *, images: Path, validation_images: Path, train: Path, validation: Path | None, fraction: float, seed: int
) -> Dataset:
    """Read both splits, crowds left out; class ids are the categories' order by id.

    Without `validation`, `fraction` of the images of `train` is split off for it. Raises UserError with everything
    that is wrong.
    """
    folders = ImageFolder(images), ImageFolder(validation_images)
    files = [CocoFile(path) for path in (train, validation) if path]
    faults = [fault for file in files for fault in file.faults]
    categories = _merge_categories(files, faults)
    notes: list[str] = []
    splits = [_without_crowds(file, notes) for file in files]
    if len(splits) == 1:
        splits = list(split_off(splits[0], fraction, seed))
    reader = _Reader({category: number for number, category in enumerate(sorted(categories))}, faults)
    train_examples, validation_examples = (
        reader.read_split(folder, split, file.path)
        for folder, split, file in zip(folders, splits, (files[0], files[-1]), strict=True)
    )
    for name, split in zip(("train", "validation"), splits, strict=True):
        if not split:
            faults.append(f"the {name} split has no image")
    if faults:
        raise UserError(problems(faults))
    names = tuple(categories[category] for category in sorted(categories))
    return Dataset(names, train_examples, validation_examples, (*notes, *reader.sizes.notes()))


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
        self.sizes = ImageSizes()
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
        size = self.sizes.resolve(folder.root / file, image.size)
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
