"""COCO: one JSON file for each split, with its categories and its images with their annotations.

Source: cocodataset.org, data format; for rotated boxes, the attribute `rotation` that CVAT writes, in degrees; for
images named by an address alone, LVIS v1.
"""

import contextlib
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from sagemaker_ssd.channels.annotations import composed, compression, other_tool_in
from sagemaker_ssd.convert.dataset import Choices, Dataset, DrawnImage, DrawnObject, Splits, make_dataset, split_off
from sagemaker_ssd.convert.findings import Findings, kind_of
from sagemaker_ssd.convert.images import ImageFolder, read_side
from sagemaker_ssd.convert.shapes import Corners, Size, around_segmentation, is_number, read_corners, read_degrees
from sagemaker_ssd.errors import UserError, in_words, shown


@dataclass(frozen=True, slots=True)
class CocoAnnotation:
    """An object as it stands: what to call it in a text, its category's id, its box, how many degrees it is turned."""

    title: str = field(compare=False)
    category: int
    corners: Corners
    degrees: float
    crowd: bool  # or one to ignore


@dataclass(slots=True)
class CocoImage:
    """`identity` is its id, `size` is width and height, None if the file does not say; `doubled`: has two entries."""

    title: str
    identity: str
    file: str
    size: Size | None
    annotations: list[CocoAnnotation] = field(default_factory=list)
    doubled: bool = False

    def is_same(self, other: "CocoImage") -> bool:
        """Whether the entry of another image says the same."""
        return (self.file, self.size) == (other.file, other.size)


@dataclass(frozen=True, slots=True)
class Category:
    """A category's name, and the name of the category above it, perhaps ""."""

    name: str
    above: str


class CocoFile:
    """Reads a file whole; single entries that cannot be used become faults of `findings`.

    Raises UserError if it is no JSON with the lists images, annotations and categories.
    """

    def __init__(self, path: Path, findings: Findings) -> None:
        self.path = path
        self.categories: dict[int, Category] = {}
        self._findings = findings
        self._images: dict[str, CocoImage] = {}
        # Images that cannot be used since another one has their id.
        self.left_out: list[CocoImage] = []
        content = _load(path)
        for title, entry in _entries(content, "categories", path):
            try:
                self._read_category(entry)
            except UserError as fault:
                findings.fault("category", f"{path}: {title} {fault.sentence}")
        # All ids by what they are but for zeros before, which some tools write in one of the lists alone; also those of
        # images that cannot be used, whose annotations are no faults of their own.
        self._alike: dict[str, list[str]] = defaultdict(list)
        self._read_images(_entries(content, "images", path))
        annotations = 0
        orphans = []
        for title, entry in _entries(content, "annotations", path):
            annotations += 1
            meant = self._meant(entry)
            if not meant:
                orphans.append(f"{title} with the image_id {shown(entry.get('image_id'))}")
            for image in [self._images[identity] for identity in meant if identity in self._images]:
                try:
                    self._read_annotation(entry, title, image, meant)
                except UserError as fault:
                    bad = (path, image.identity)
                    findings.bad_image(bad, kind_of(fault.sentence), f"{path}: {title} {fault.sentence}")
        self._tell_orphans(orphans, annotations)

    @property
    def images(self) -> list[CocoImage]:
        """The images in the file's order."""
        return list(self._images.values())

    def _meant(self, entry: dict[str, Any]) -> list[str]:
        """Return the ids of the images that an annotation may be of: the one that it names, else but for zeros."""
        identity = _identity(entry.get("image_id"))
        if identity is None:
            return []
        alike = self._alike.get(_without_zeros(identity), [])
        return [identity] if identity in alike else alike

    def _tell_orphans(self, orphans: Sequence[str], annotations: int) -> None:
        """Tell of annotations that belong to no image, out of so many: few are left over, most are a mistake."""
        if 2 * len(orphans) > annotations:
            self._findings.fault(
                "orphans",
                f"{self.path}: {len(orphans):,} of {in_words(annotations, 'annotation', 'annotations')} are of images "
                f"that are not in 'images', first {orphans[0]}: add their images, or take these annotations out",
            )
            return
        for orphan in orphans:
            self._findings.note("annotations of images that are not in 'images', left out", f"{orphan} in {self.path}")

    def _read_category(self, entry: dict[str, Any]) -> None:
        category, name = _whole(entry, "id"), _name(entry.get("name"))
        if not name:
            raise UserError("has no name")
        if category in self.categories:
            # Files that were merged may have an entry twice.
            if self.categories[category].name == name:
                return
            raise UserError(f"has an id that another category has, '{self.categories[category].name}'")
        if not _is_text(name):
            raise UserError(f"has the name {shown(name)}, which is not text: half of a character is missing")
        self.categories[category] = Category(name, _name(entry.get("supercategory")))

    def _read_images(self, entries: Iterator[tuple[str, dict[str, Any]]]) -> None:
        by_identity: dict[str, list[CocoImage]] = defaultdict(list)
        for title, entry in entries:
            identity = _identity(entry.get("id"))
            image = None if identity is None else self._read_image(entry, title, identity)
            if image is not None:
                by_identity[image.identity].append(image)
            if image is None or not image.file:
                missing = "has no id" if image is None else "has no file_name"
                self._findings.bad_image((self.path, title), missing, f"{self.path}: {title} {missing}")
        for identity, images in by_identity.items():
            self._alike[_without_zeros(identity)].append(identity)
            first, *others = images
            if not all(map(first.is_same, others)):
                self._refuse_one_id(images)
            elif first.file:
                self._images[identity] = first
                first.doubled = bool(others)
                # Files that were merged may have an entry twice.
                for other in others:
                    where = f"{other.title} in {self.path}"
                    self._findings.note("images that have a second, equal entry", where, "each was taken once")

    def _refuse_one_id(self, images: Sequence[CocoImage]) -> None:
        """Leave out all images of one id, since which annotations are of which cannot be told."""
        for image in [image for image in images if image.file]:
            other = next(other for other in images if not other.is_same(image))
            why = (
                "but another size: take one of them out"
                if other.file == image.file
                else "so that annotations of this id may be of either: give each image an id of its own"
            )
            named = f"{other.title} {other.file}".rstrip()
            self.left_out.append(image)
            self._findings.bad_image(
                (self.path, image.title),
                "one id",
                f"{self.path}: {image.title} {image.file} has the id of {named}, {why}",
            )

    def _read_image(self, entry: dict[str, Any], title: str, identity: str) -> CocoImage:
        """Read an image, whose `file` is "" if it has none."""
        file = entry.get("file_name") or entry.get("coco_url")
        stated = entry.get("width"), entry.get("height")
        width, height = map(read_side, stated)
        size = None if width is None or height is None else (width, height)
        # Many tools write none, or 0, when they did not open the image.
        if size is None and any(side not in (None, 0, "", "0") for side in stated):
            self._findings.note(
                "sizes that are no whole numbers above 0",
                f"of {title} in {self.path}, {shown(list(stated))}",
                "the image's own is taken",
            )
        return CocoImage(title, identity, file.strip() if isinstance(file, str) else "", size)

    def _read_annotation(self, entry: dict[str, Any], title: str, image: CocoImage, meant: Sequence[str]) -> None:
        """Read an annotation of an image; `meant`: the ids of all images that it may be of."""
        if len(meant) > 1:
            raise UserError(
                f"has the image_id {shown(entry.get('image_id'))}, by which the image {image.file} with the id "
                f"'{image.identity}' may be meant, or another of {', '.join(map(repr, meant))}: write it like the id"
            )
        category = _whole(entry, "category_id")
        if category not in self.categories:
            raise UserError(f"has the category_id {category}, which no category has")
        title = f"{title} of {image.file}"
        corners = self._read_box(entry, title)
        if is_number(entry.get("angle")) and entry["angle"]:
            self._findings.note(
                "annotations with an 'angle', which is not read",
                f"{title} in {self.path}",
                "their boxes were taken as they stand",
            )
        annotation = CocoAnnotation(title, category, corners, _rotation(entry), _is_crowd(entry))
        if image.doubled and annotation in image.annotations:
            where = f"{title} in {self.path}"
            self._findings.note("annotations that such images have twice", where, "each was taken once")
        else:
            image.annotations.append(annotation)

    def _read_box(self, entry: dict[str, Any], title: str) -> Corners:
        box = _four_numbers(entry.get("bbox"))
        if _tells(box):
            return _corners_of(box)
        outline = around_segmentation(entry.get("segmentation"))
        if outline is not None:
            self._findings.note(
                "annotations without a bbox",
                f"{title} in {self.path}",
                "each got the box that encloses its segmentation",
            )
            return outline
        if box is None:
            raise UserError(
                f"has the bbox {shown(entry.get('bbox'))}, which has to be four numbers: x, y, width, height"
            )
        return _corners_of(box)


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            if compressed := compression(file.read(8)):
                raise UserError(f"{path} is compressed ({compressed}): unpack it")
            file.seek(0)
            content = json.load(file, object_hook=_without_outline)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not {error.encoding.upper()} text (byte {error.start + 1:,}): save it as UTF-8"
        ) from error
    except (ValueError, RecursionError) as error:
        _refuse_other_tools(path)
        raise UserError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict) or not {"images", "annotations"} <= content.keys():
        _refuse_other_tools(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} is no COCO file: it has to be an object with images, annotations and categories")
    return content


def _refuse_other_tools(path: Path) -> None:
    """Raise UserError for the file of another tool."""
    if other := other_tool_in(path):
        raise UserError(f"{path} is {other[0]}, no COCO file: {other[1]}")


def _without_outline(entry: dict[str, Any]) -> dict[str, Any]:
    """Drop what is by far the largest part of COCO's own files as soon as it is read, where a box makes it needless."""
    if "segmentation" in entry and _tells(_four_numbers(entry.get("bbox"))):
        del entry["segmentation"]
    return entry


def _entries(content: dict[str, Any], key: str, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    entries = content.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{path} has no list of objects '{key}'")
    singular = {"categories": "category", "images": "image", "annotations": "annotation"}[key]
    for number, entry in enumerate(entries):
        yield f"{singular} {number}" + (f" (id {entry['id']})" if "id" in entry else ""), entry


def _identity(value: object) -> str | None:
    """Read an id as its text, so that 1, 1.0 and "1" are the same; None for what is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return str(value).strip() or None


def _without_zeros(identity: str) -> str:
    """Return an id without the zeros before a number."""
    # Not by way of int, which refuses thousands of digits.
    return (identity.lstrip("0") or "0") if identity.isascii() and identity.isdigit() else identity


def _whole(entry: dict[str, Any], key: str) -> int:
    """Read a whole number in any of its spellings: 1, 1.0, "1" and "1.0" are the same."""
    value = entry.get(key)
    try:
        # Not by way of float, whose whole numbers are not all there above 2^53.
        if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
            return int(value)
    except ValueError:
        pass
    try:
        number = float(value) if isinstance(value, str | float) else math.nan
    except ValueError:
        number = math.nan
    if not number.is_integer():
        raise UserError(f"has the {key} {shown(value)}, which has to be a whole number")
    return int(number)


def _name(value: object) -> str:
    """Read a name, which may be written as a number, as `DrawnObject` has it."""
    return composed(" ".join(str(value).split())) if isinstance(value, str) or is_number(value) else ""


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_crowd(entry: dict[str, Any]) -> bool:
    """Whether `iscrowd` or `ignore` says so; either may be a number, true, or one of them as a text."""
    return any(_is_set(entry.get(key)) for key in ("iscrowd", "ignore"))


def _is_set(mark: object) -> bool:
    return mark.strip().lower() not in ("", "0", "0.0", "false", "no") if isinstance(mark, str) else bool(mark)


def _rotation(entry: dict[str, Any]) -> float:
    """Return by how many degrees a box is turned: what CVAT calls its attribute `rotation`.

    Attributes are an object, or a list of objects with name and value.
    """
    attributes = entry.get("attributes")
    named = dict(attributes) if isinstance(attributes, dict) else {}
    for one in attributes if isinstance(attributes, list) else []:
        if isinstance(one, dict):
            named[one.get("name")] = one.get("value")
    values = [value for name, value in named.items() if str(name).lower() == "rotation"]
    return read_degrees(next((value for value in [*values, entry.get("rotation")] if value is not None), None))


def _tells(box: Corners | None) -> TypeGuard[Corners]:
    """Whether a bbox has an area; a few tools write zeros or NaN beside a polygon."""
    return box is not None and box[2] > 0 and box[3] > 0 and all(map(math.isfinite, box))


def _corners_of(box: Corners) -> Corners:
    left, top, width, height = read_corners(box)
    return left, top, left + width, top + height


def _four_numbers(bbox: object) -> tuple[float, float, float, float] | None:
    """Read a bbox of four numbers, or of texts that are numbers; None for anything else."""
    if not isinstance(bbox, list) or len(bbox) != 4:
        return None
    if not all(is_number(value) or isinstance(value, str) for value in bbox):
        return None
    try:
        left, top, width, height = map(float, bbox)
    except (ValueError, OverflowError):
        return None
    return left, top, width, height


def read_coco(given: Splits, choices: Choices, findings: Findings, *, keep_crowds: bool) -> Dataset:
    """Read both splits; classes are joined by name, with ids in the order of the categories' ids.

    Crowds are left out unless `keep_crowds`, or where a class has nothing else. Without a file for validation a part
    of the images of the first is split off for it. Raises UserError with everything that is wrong.
    """
    folder = ImageFolder(given.images)
    folders = folder, folder if given.validation_images == given.images else ImageFolder(given.validation_images)
    files = [CocoFile(path, findings) for path in (given.train, given.validation) if path]
    names, unused = _join_categories(files, findings)
    why_empty = {}
    splits = []
    kept = _crowds_that_are_objects(files, keep_crowds, findings)
    for name, file in zip(("train", "validation"), files, strict=False):
        split = _without_crowds(file, kept, findings)
        if file.images and not split:
            why_empty[name] = (
                f": all images of {file.path} show nothing but crowds (iscrowd or ignore); see --keep-crowds"
            )
        splits.append(split)
    if len(splits) == 1:
        splits = list(split_off(splits[0], given.fraction, given.seed))
        why_empty = dict.fromkeys(("train", "validation"), why_empty.get("train", ""))
    drawn = [
        _draw(split, file, folder, findings)
        for split, file, folder in zip(splits, (files[0], files[-1]), folders, strict=True)
    ]
    _note_unlisted(files, folders, drawn, findings)
    with_boxes = {each.name for split in drawn for image in split for each in image.objects}
    empty = [f"'{name}'" for name in names if name not in with_boxes and choices.classes is None]
    if empty or unused:
        every = [*empty, *unused]
        listed = ", ".join(every[:10]) + (f" and {len(every) - 10:,} more" if every[10:] else "")
        hint = "; --classes or --only-classes gives them ids" if empty else ""
        findings.say(f"categories without a box, left out: {listed}{hint}")
    names = [name for name in names if name in with_boxes]
    return make_dataset(*drawn, names=names, choices=choices, findings=findings, empty_because=why_empty)


def _note_unlisted(
    files: Sequence[CocoFile],
    folders: Sequence[ImageFolder],
    drawn: Sequence[Sequence[DrawnImage]],
    findings: Findings,
) -> None:
    """Say which images of the folders are named by no file, as images without objects are in what some tools export."""
    named = {(image.folder, image.found.file) for images in drawn for image in images}
    keys = {image.key for images in drawn for image in images}
    # Those that were left out for another reason are named all the same.
    for file, folder in zip(files, folders, strict=False):
        for image in [*file.images, *file.left_out]:
            if (file.path, image.identity) not in keys:
                with contextlib.suppress(UserError):
                    named.add((folder.root, folder.named(image.file).file))
    for folder in dict.fromkeys(folders):
        for path in folder.files:
            if (folder.root, path) not in named:
                findings.note("images that no file names, left out", folder.root / path)


def _join_categories(files: Sequence[CocoFile], findings: Findings) -> tuple[list[str], list[str]]:
    """Return the names of all files' categories, ordered by the id that each has in the first file that has it.

    And what to call the categories without an annotation that share the name of another one.
    """
    unused: dict[str, None] = {}
    places: dict[str, tuple[int, int]] = {}
    ids: dict[str, set[int]] = defaultdict(set)
    for number, file in enumerate(files):
        used = Counter(each.category for image in file.images for each in image.annotations)
        tops = {category.above for category in file.categories.values() if category.above != category.name}
        by_name: dict[str, list[int]] = defaultdict(list)
        for identity, category in sorted(file.categories.items()):
            # Roboflow writes the project as a category above all others, often with the name of one of them.
            if used[identity] or not (identity == 0 or category.name in tops):
                by_name[category.name].append(identity)
            else:
                by_name.setdefault(category.name, [])
        for name, identities in by_name.items():
            if len(identities) > 1:
                kept = [identity for identity in identities if used[identity]] or identities[:1]
                unused |= dict.fromkeys(f"'{name}' (id {each})" for each in identities if each not in kept)
                identities = kept
            if len(identities) > 1:
                findings.fault(
                    "name",
                    f"{file.path}: the categories with the ids {' and '.join(map(str, identities))} have the same "
                    f"name, '{name}': rename one, or give their annotations one id",
                )
            identities = identities or [key for key, value in file.categories.items() if value.name == name]
            places.setdefault(name, (identities[0], number))
            ids[name].add(identities[0])
    if not places and not findings.faulty:
        findings.fault("none", f"{files[0].path} has no categories")
    if different := sorted(name for name, found in ids.items() if len(found) > 1):
        findings.say(
            f"categories whose ids differ between the files: {len(different):,}, first '{different[0]}' "
            f"({' and '.join(map(str, sorted(ids[different[0]])))}); classes are joined by name"
        )
    return sorted(places, key=lambda name: places[name]), list(unused)


def _crowds_that_are_objects(files: Sequence[CocoFile], keep_crowds: bool, findings: Findings) -> frozenset[str]:
    """Return the names of classes whose crowds count as objects.

    Where each annotation of a class is a crowd, they are single objects drawn with a brush: CVAT marks masks so.
    """
    crowds: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for file in files:
        for each in (each for image in file.images for each in image.annotations):
            (crowds if each.crowd else others)[file.categories[each.category].name] += 1
    kept = frozenset(name for name in crowds if keep_crowds or not others[name])
    if kept:
        why = "" if keep_crowds else ", since the class has nothing else"
        counts = ", ".join(f"{name} {crowds[name]:,}" for name in sorted(kept))
        findings.say(f"annotations marked as crowds (iscrowd or ignore) that count as objects{why}: {counts}")
    return kept


def _without_crowds(file: CocoFile, kept: frozenset[str], findings: Findings) -> list[CocoImage]:
    """Leave out images that show crowds alone: they have no box, but are no images without objects either."""
    left_out: Counter[str] = Counter()
    images = []
    for image in file.images:
        objects = []
        for each in image.annotations:
            name = file.categories[each.category].name
            if each.crowd and name not in kept:
                left_out[name] += 1
            else:
                objects.append(each)
        if objects or not image.annotations:
            images.append(image)
        image.annotations = objects
    if left_out:
        counts = ", ".join(f"{name} {count:,}" for name, count in sorted(left_out.items()))
        findings.say(
            f"{file.path}: left out {left_out.total():,} annotations of crowds (iscrowd or ignore), and of images that "
            f"have no others {len(file.images) - len(images):,}; by class: {counts}; --keep-crowds takes them as "
            "objects"
        )
    return images


def _draw(images: Sequence[CocoImage], file: CocoFile, folder: ImageFolder, findings: Findings) -> list[DrawnImage]:
    """Find the images of a split; those that are missing become faults."""
    drawn = []
    for image in images:
        key = (file.path, image.identity)
        try:
            found = folder.named(image.file)
        except UserError as fault:
            findings.bad_image(key, "no image", f"{file.path}: {fault.sentence}")
            continue
        objects = tuple(
            DrawnObject(each.title, file.categories[each.category].name, each.corners, each.degrees)
            for each in image.annotations
        )
        title = f"{file.path}: {image.title}"
        drawn.append(DrawnImage(key, str(file.path), title, folder.root, found, image.size, objects))
    return drawn
