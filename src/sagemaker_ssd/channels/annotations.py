"""The JSON annotations of images: read and checked, paired with their images, and the names of classes they give.

Source of the format: Amazon SageMaker developer guide, `object-detection.md`, "Train with the Image Format".
"""

import codecs
import functools
import json
import math
import os
import posixpath
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.boxes import id_range, valid_class_ids
from sagemaker_ssd.data_formats import CONVERT, VOC_REMEDY, is_hidden_file, is_hidden_folder
from sagemaker_ssd.errors import listed, shown

_KEYS: Final = ("class_id", "left", "top", "width", "height")


@dataclass(frozen=True, slots=True)
class Annotation:
    """One JSON: its `path` below the channel, the image's name `file` ("" if it has none), the size of the image.

    `boxes` (boxes, 5) holds class_id, left, top, width, height in pixels of `size`; `size` None means the image's.
    `names` are those that it gives to class ids; `names_others` says that they are of other numbers than its boxes'.
    """

    path: str
    file: str
    size: tuple[float, float] | None
    boxes: NDArray[np.float64]
    names: tuple[tuple[int, str], ...] = ()
    names_others: bool = False


_EXPORT_COCO: Final = f"export it as COCO, and turn that into channels with {CONVERT}"
_EXPORT_VOC: Final = f"export it as Pascal VOC, and turn that into channels with {CONVERT}"
_EXPORT: Final = f"export it as COCO or Pascal VOC, and turn that into channels with {CONVERT}"
_LABELME: Final = f"labelme's labelme2voc.py or labelme2coco.py exports it; turn that into channels with {CONVERT}"
_MANIFEST: Final = (
    "give the manifest itself as the channel, in Pipe mode with S3DataType AugmentedManifestFile, RecordWrapperType "
    "RecordIO and its two AttributeNames"
)
_METADATA: Final = (
    "name the attribute of the annotations in AttributeNames, which is called the same without -metadata, such as "
    "bounding-box"
)
# JSON of other tools: keys that it has, what it is, and the way from there to this job.
_OTHER_TOOLS: Final = (
    ({"shapes", "imagePath"}, "labelme's JSON", _LABELME),
    ({"shapes", "imageData"}, "labelme's JSON", _LABELME),
    ({"objects", "size"}, "Supervisely's JSON", _EXPORT),
    ({"data", "annotations"}, "Label Studio's JSON", _EXPORT),
    ({"data", "completions"}, "Label Studio's JSON", _EXPORT),
    ({"data", "predictions"}, "Label Studio's JSON", _EXPORT),
    ({"task", "result"}, "Label Studio's JSON", _EXPORT),
    ({"label", "annotator"}, "Label Studio's JSON-MIN", _EXPORT),
    ({"source-ref"}, "a line of a manifest of Ground Truth or Rekognition Custom Labels", _MANIFEST),
    ({"human-annotated", "type"}, "the metadata of Ground Truth's annotations", _METADATA),
    ({"class-map", "type"}, "the metadata of Ground Truth's annotations", _METADATA),
    ({"images", "annotations"}, "a COCO file", f"turn it into channels with {CONVERT} coco"),
    ({"_via_img_metadata"}, "a project of VIA", _EXPORT_COCO),
    ({"filename", "regions"}, "VIA's JSON", _EXPORT_COCO),
    ({"asset", "regions"}, "VoTT's JSON", _EXPORT_VOC),
    ({"image", "annotations"}, "CreateML's JSON", _EXPORT),
    ({"items", "categories"}, "Datumaro's JSON", _EXPORT),
    ({"item", "annotations"}, "V7 Darwin's JSON", _EXPORT_COCO),
    ({"data_row"}, "Labelbox's JSON", _EXPORT_COCO),
    ({"metadata", "instances"}, "SuperAnnotate's JSON", _EXPORT_COCO),
    ({"name", "labels"}, "Scalabel's or BDD100K's JSON", _EXPORT_COCO),
    ({"image_url", "label"}, "a line of an Azure Machine Learning data set", _EXPORT_COCO),
    ({"image_id", "category_id", "bbox"}, "COCO's annotations without their images", _EXPORT_COCO),
    ({"imageGcsUri"}, "a line of a Vertex AI data set", _EXPORT),
)


_COMPRESSED: Final = (
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "ZIP"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"(\xb5/\xfd", "zstd"),
)
# What a JSON of this job may have at its top, and what its images and their labels are often given beside it.
_OWN_KEYS: Final = frozenset({"file", "image_size", "annotations", "categories"})


class _FaultError(ValueError):
    """What is wrong with the JSON, in words that continue its name."""


def read_annotation(root: Path, path: str, *, num_classes: int) -> tuple[Annotation, list[str]]:
    """Read `path` below `root`; return it with what is wrong with it, each text to continue the file's name.

    A JSON with faults comes without boxes.
    """
    try:
        text = (root / path).read_bytes()
    except OSError as error:
        return Annotation(path, "", None, _no_boxes()), [f"cannot be read: {error.strerror}"]
    return parse_annotation(text, path, num_classes=num_classes)


def class_names(root: Path, *, num_classes: int) -> dict[int, str]:
    """Return what the JSON files below `root` call class ids, the first of an id; those with faults tell none.

    Raises OSError for a folder that cannot be listed.
    """
    lists = ClassNames()
    for path in find_files(root, (".json",)):
        annotation, faults = read_annotation(root, path, num_classes=num_classes)
        if not faults:
            lists.note(annotation)
    return lists.names()


class ClassNames:
    """What the JSON files of a channel call class ids.

    The same list stands in all of them, as a rule. One that names other numbers than the boxes of some JSON have tells
    nothing in the others either: they may have boxes of classes alone whose numbers it has by chance.
    """

    def __init__(self) -> None:
        # Each list with the JSON that had it first.
        self._lists: dict[tuple[tuple[int, str], ...], str] = {}
        self._of_others: set[tuple[tuple[int, str], ...]] = set()

    def note(self, annotation: Annotation) -> None:
        """Take a JSON's list of names."""
        if annotation.names:
            self._lists.setdefault(annotation.names, annotation.path)
            if annotation.names_others:
                self._of_others.add(annotation.names)

    def names(self) -> dict[int, str]:
        """Return the first name of each class id."""
        found: dict[int, str] = {}
        for class_id, name, _ in self._each():
            found.setdefault(class_id, name)
        return found

    def other_names(self) -> Iterator[str]:
        """Yield a JSON for every class id whose name there is another than the first, as text for a warning."""
        found = self.names()
        for class_id, name, path in self._each():
            if not same_name(found[class_id], name):
                yield f"{path} (class_id {class_id}: {name}, {found[class_id]})"

    def _each(self) -> Iterator[tuple[int, str, str]]:
        for names, path in self._lists.items():
            if names not in self._of_others:
                yield from ((class_id, name, path) for class_id, name in names)


def same_name(one: str, other: str) -> bool:
    """Return whether two names of a class are the same but for capital letters and blanks."""
    return " ".join(one.casefold().split()) == " ".join(other.casefold().split())


def parse_annotation(text: bytes, path: str, *, num_classes: int) -> tuple[Annotation, list[str]]:
    """Read a JSON that is called `path`, as `read_annotation` does."""
    no_boxes = _no_boxes()
    file = ""
    try:
        content = _load(text)
        file = _file(content)
        size = _size(content.get("image_size"))
        boxes, faults = _boxes(_annotations(content), num_classes)
    except _FaultError as fault:
        return Annotation(path, file, None, no_boxes), [str(fault)]
    names = _names(content)
    used, named = {int(class_id) for class_id in boxes[:, 0]}, {class_id for class_id, _ in names}
    # Such as COCO's category ids of 1 to 90 beside class ids of 0 to 79: AWS's notebook for COCO writes both. So is a
    # list that counts from 1, also where the boxes are of classes whose numbers it has.
    from_one = 0 not in named and num_classes in named
    names_others = from_one or (bool(used - named) and bool(named - used))
    return Annotation(path, file, size, no_boxes if faults else boxes, names, names_others), faults


def _no_boxes() -> NDArray[np.float64]:
    return np.empty((0, len(_KEYS)))


def compression(content: bytes) -> str:
    """Return what a file is compressed with, by its first bytes; "" for nothing."""
    return next((name for beginning, name in _COMPRESSED if content.startswith(beginning)), "")


def _load(text: bytes) -> dict[str, Any]:
    if compressed := compression(text):
        raise _FaultError(f"is compressed ({compressed}): unpack it")
    if not text.strip():
        raise _FaultError('is empty; for an image without objects write {"annotations": []}')
    try:
        content = json.loads(text)
    except RecursionError as error:
        raise _FaultError("is not JSON: nested too deeply") from error
    except UnicodeDecodeError as error:
        raise _FaultError(f"is not UTF-8 text (byte {error.start + 1:,}); save it as UTF-8") from error
    except ValueError as error:
        first = _first_of_several(error)
        if first is not None:
            _refuse_other_tools(first)
            raise _FaultError("holds more than one JSON object; write one for each image") from error
        if _is_xml(text):
            raise _FaultError(f"is XML, not JSON: {VOC_REMEDY}") from error
        raise _FaultError(f"is not JSON: {error}") from error
    _refuse_other_tools(content)
    if not isinstance(content, dict):
        raise _FaultError('holds no JSON object; write {"file": ..., "image_size": ..., "annotations": [...]}')
    return content


def _first_of_several(error: ValueError) -> Any:
    """Return the first of several JSON objects in a text, by the error of reading it; None for any other error."""
    if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data" and error.doc[error.pos] == "{":
        return json.loads(error.doc[: error.pos])
    return None


def _is_xml(text: bytes) -> bool:
    return text.removeprefix(codecs.BOM_UTF8).lstrip().startswith((b"<annotation", b"<?xml"))


def _refuse_other_tools(content: Any) -> None:
    """Raise _FaultError for the JSON of another tool, whose objects stand where nobody would look for them."""
    if other := _other_tool(content):
        raise _FaultError(f"is {other[0]}, not this job's: {other[1]}")


def other_tool_in(path: Path) -> tuple[str, str] | None:
    """Read a file; return what it is where another tool wrote it, and the way from there to this job, else None."""
    try:
        text = path.read_bytes()
    except OSError:
        return None
    try:
        return _other_tool(json.loads(text))
    except RecursionError:
        return None
    except ValueError as error:
        return ("XML", VOC_REMEDY) if _is_xml(text) else _other_tool(_first_of_several(error))


def _other_tool(content: Any) -> tuple[str, str] | None:
    first = content[0] if isinstance(content, list) and content else content
    entries = [first]
    if isinstance(content, dict) and all(isinstance(value, dict) for value in content.values()):
        entries += list(content.values())[:1]  # VIA names each image at the top
    for entry in entries:
        if not isinstance(entry, dict) or _is_own(entry):
            continue
        for keys, what, remedy in _OTHER_TOOLS:
            # Only in a list is the name of an image beside annotations anybody's in particular.
            if keys <= entry.keys() and not ("image" in keys and content is entry):
                return what, remedy
    return None


def _is_own(content: dict[str, Any]) -> bool:
    """Whether a JSON is in this job's format, whatever else is in it."""
    annotations = content.get("annotations")
    boxes = annotations if isinstance(annotations, list) else []
    return "image_size" in content or any(isinstance(box, dict) and "class_id" in box for box in boxes)


def _file(content: dict[str, Any]) -> str:
    file = content.get("file", "")
    if not isinstance(file, str):
        raise _FaultError(f'has the "file" {_short(file)}, which is not a name')
    return file


def _annotations(content: dict[str, Any]) -> Sequence[Any]:
    annotations = content.get("annotations")
    if isinstance(annotations, list):
        return annotations
    others = [key for key in content if key not in _OWN_KEYS]
    # Its objects may be there: who wrote an empty list would lose them.
    if others and annotations is None:
        there = listed([shown(key) for key in others[:5]], "and")
        raise _FaultError(f'has no list "annotations", but {there}: if another tool wrote it, {_EXPORT}')
    raise _FaultError('has no list "annotations"; for an image without objects write "annotations": []')


def _size(image_size: Any) -> tuple[float, float] | None:
    """Take the width and height from an object, or from a list of one."""
    if isinstance(image_size, list):
        image_size = image_size[0] if image_size else None
    if image_size is None:
        return None
    if not isinstance(image_size, dict):
        example = '[{"width": 500, "height": 400, "depth": 3}]'
        raise _FaultError(f'has the "image_size" {_short(image_size)}; write {example}')
    sides = [read_number(image_size.get(side)) for side in ("width", "height")]
    if not all(side is not None and side > 0 for side in sides):
        raise _FaultError(f'has an "image_size" without a width and height above 0: {_short(image_size)}')
    return float(sides[0] or 0), float(sides[1] or 0)


def _boxes(annotations: Sequence[Any], num_classes: int) -> tuple[NDArray[np.float64], list[str]]:
    rows, faults = [], []
    for number, box in enumerate(annotations):
        try:
            rows.append(_box(box, num_classes))
        except _FaultError as fault:
            faults.append(f"box {number} {fault}")
    return np.array(rows, np.float64).reshape(-1, len(_KEYS)), faults


def _box(box: Any, num_classes: int) -> list[float]:
    if not isinstance(box, dict):
        raise _FaultError(f"is {_short(box)}, not an object with {', '.join(_KEYS)}")
    missing = [key for key in _KEYS if key not in box]
    if missing:
        raise _FaultError(f"has no {', '.join(missing)}")
    values = [read_number(box[key]) for key in _KEYS]
    wrong = [f"{key} {_short(box[key])}" for key, value in zip(_KEYS, values, strict=True) if value is None]
    if wrong:
        raise _FaultError(f"has {', '.join(wrong)}, not a number")
    numbers = [value for value in values if value is not None]
    if not valid_class_ids(np.array(numbers[:1]), num_classes).all():
        raise _FaultError(f"has class_id {numbers[0]:g} ({id_range(num_classes)})")
    return numbers


def read_number(value: object) -> float | None:
    """Read a number, or a string that is one; None for anything else and for what is not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _short(value: Any) -> str:
    try:
        text = json.dumps(value)
    except RecursionError:  # reading takes a little more depth than writing
        text = "something nested deeply"
    return text if len(text) <= 40 else f"{text[:37]}..."


def find_files(root: Path, endings: Collection[str]) -> list[str]:
    """List the files below `root` that end so, in any case: sorted paths with `/`, without hidden ones.

    Raises OSError, with its name, for a folder that cannot be listed.
    """
    found: list[str] = []
    seen: set[str] = set()
    for folder, folders, files in os.walk(root, onerror=_raise, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link back to a folder above
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not is_hidden_folder(name)]
        below = Path(folder).relative_to(root)
        for name in files:
            if not is_hidden_file(name) and name.lower().endswith(tuple(endings)):
                found.append((below / name).as_posix())
    return sorted(found)


def _raise(error: OSError) -> None:
    raise error


@dataclass(frozen=True)
class Pairing:
    """The annotation of each image, in the images' order, and what is left over on either side.

    `duplicates` are the JSONs whose image has another JSON already, each with that image. `by_name` are those whose
    image was found by its name alone, each with that image, whatever folder `file` gives. `passed_over` are those that
    got an image of their own name, each with that image and the other one that `file` names. `contested` are the images
    that several JSONs with different boxes mean with equal right, each with those JSONs.
    """

    annotations: dict[str, Annotation]
    images_without_json: list[str]
    jsons_without_image: list[str]
    duplicates: list[tuple[str, str]]
    by_name: list[tuple[str, str]]
    passed_over: list[tuple[str, str, str]]
    contested: list[tuple[str, list[str]]]


class _Right(IntEnum):
    """What gives an image to an annotation, the strongest first."""

    OWN_NAME = 0
    FILE = 1
    # The name at the end of `file`, in the folder that is meant, and in another one.
    NAME_IN_FOLDER = 2
    NAME_ALONE = 3


@dataclass(frozen=True, slots=True)
class _Claim:
    """The images that an annotation means, the likelier first, and its right to the first of them.

    `named` is the image that its `file` names, be it one of them or not; "" for none.
    """

    annotation: Annotation
    images: list[str]
    right: _Right
    named: str = ""

    def contests(self, winner: "_Claim") -> bool:
        """Whether nothing but the order of names decided for `winner`, which has the image, and it matters."""
        return self.images[0] == winner.images[0] and self.right == winner.right and self._differs(winner.annotation)

    def _differs(self, other: Annotation) -> bool:
        own = self.annotation
        return own.size != other.size or sorted(own.boxes.tolist()) != sorted(other.boxes.tolist())


def pair_images(images: Sequence[str], annotations: Sequence[Annotation], *, is_part: bool = False) -> Pairing:
    """Give each annotation its image: by `file`, else by the JSON's own name, else by the name at the end of `file`.

    The last only where no folder says that another image is meant; is_part: whether there are more images or
    annotations elsewhere, so that the image's own folder must be said. Where two JSONs mean one image, it goes to the
    one that is named like it, and last to one that has nothing but the name in common with it.
    """
    json_folders = {posixpath.dirname(composed(each.path)) for each in annotations}
    named_images = _NamedImages(images, json_folders, is_part=is_part)
    # Stable, so otherwise in order: first the JSONs that mean the image they are named like.
    claims = sorted(map(named_images.claim, annotations), key=lambda claim: claim.right)
    paired: dict[str, _Claim] = {}
    without_image: list[str] = []
    duplicates: list[tuple[str, str]] = []
    told: list[tuple[str, str]] = []
    passed_over: list[tuple[str, str, str]] = []
    contested: dict[str, list[str]] = defaultdict(list)
    for claim in claims:
        path = claim.annotation.path
        free = [image for image in claim.images if image not in paired]
        winner = paired.get(claim.images[0]) if claim.images else None
        if winner and claim.contests(winner):
            contested[claim.images[0]].append(path)
        elif free:
            paired[free[0]] = claim
            if claim.right is _Right.NAME_ALONE:
                told.append((path, free[0]))
            if claim.named and claim.named != free[0] and not _is_beside(claim.annotation, free[0]):
                passed_over.append((path, free[0], claim.named))
        elif not claim.images or (is_part and claim.right >= _Right.NAME_IN_FOLDER):
            # Of a part it is as likely that another image of that name is meant, which is elsewhere.
            without_image.append(path)
        else:
            duplicates.append((path, claim.images[0]))
    return Pairing(
        annotations={image: paired[image].annotation for image in images if image in paired},
        images_without_json=[image for image in images if image not in paired],
        jsons_without_image=without_image,
        duplicates=duplicates,
        by_name=told,
        passed_over=passed_over,
        contested=[
            (image, [paired[image].annotation.path, *contested[image]]) for image in images if image in contested
        ],
    )


class _NamedImages:
    """The images of a channel by what an annotation may call them.

    json_folders: those that hold the annotations. is_part: whether the channel has more of either elsewhere.
    """

    def __init__(self, images: Sequence[str], json_folders: Collection[str], *, is_part: bool) -> None:
        self._is_part = is_part
        self._paths = {composed(image): image for image in images}
        # The top folder says nothing: flat files beside others in folders are a usual layout.
        self._folders = {posixpath.dirname(path) for path in self._paths} - {""}
        self._json_folders = set(json_folders) - {""}
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for path in self._paths:
            self._by_stem[_stem(path)].append(path)
            self._by_name[posixpath.basename(path)].append(path)
        self._named: dict[str, set[str]] = {}
        # Each folder by every end of its path.
        self._by_end: dict[str, set[str]] = defaultdict(set)
        for folder in self._folders:
            for end in _ends(folder):
                self._by_end[end].add(folder)

    def claim(self, annotation: Annotation) -> _Claim:
        """Return the images that an annotation means, and with which right."""
        if meant := self._meant_by(annotation):
            own_name = _stem(composed(meant[0])) == _stem(composed(annotation.path))
            right = _Right.OWN_NAME if own_name else _Right.FILE
            return _Claim(annotation, meant, right, self._named_by_file(annotation))
        return self._of_the_name(annotation) or _Claim(annotation, [], _Right.NAME_ALONE)

    def _meant_by(self, annotation: Annotation) -> list[str]:
        """Return the images that an annotation means by `file` or by its own name, the likelier first."""
        file = _file_path(annotation)
        meant = [file] if file in self._paths else []
        # dog.jpg and dog.png: `file` says which.
        name = posixpath.basename(file)
        namesakes = self._by_stem.get(_stem(composed(annotation.path)), [])
        meant += sorted(namesakes, key=lambda path: posixpath.basename(path) != name)[:1]
        return [self._paths[path] for path in meant]

    def _named_by_file(self, annotation: Annotation) -> str:
        """Return the image at the path that `file` gives, else the only one that has the name at its end, or ""."""
        at_path = self._paths.get(_file_path(annotation))
        if at_path is not None:
            return at_path
        claim = self._of_the_name(annotation)
        return claim.images[0] if claim else ""

    def _of_the_name(self, annotation: Annotation) -> _Claim | None:
        """Return the only image that has the name at the end of `file`, unless a folder says that another is meant.

        Cameras number alike: cam2/0004.jpg is not cam1/0004.jpg, which may be in another channel or missing. In a part
        neither the only image of a name nor the folders that are there say anything of the whole channel.
        """
        file = _file_path(annotation)
        found = self._by_name.get(posixpath.basename(file), [])
        if len(found) != 1:
            return None
        folder, own_folder = posixpath.dirname(found[0]), posixpath.dirname(composed(annotation.path))
        file_folder = posixpath.dirname(file)
        if named := self._folders_named(file_folder):
            other = folder not in named
        else:
            other = folder != own_folder and (own_folder in self._folders or folder in self._json_folders)
        if other:
            return None
        in_own_folder = folder == own_folder and not file_folder
        if self._is_part and folder and not in_own_folder and not f"/{file_folder}".endswith(f"/{folder}"):
            return None
        right = _Right.NAME_IN_FOLDER if folder in named or in_own_folder else _Right.NAME_ALONE
        return _Claim(annotation, [self._paths[found[0]]], right)

    def _folders_named(self, folder: str) -> set[str]:
        """Return the folders of images that a folder of `file` names: one path is the end of the other."""
        if folder not in self._named:
            self._named[folder] = set(self._by_end.get(folder, ())) | self._folders.intersection(_ends(folder))
        return self._named[folder]


def _ends(path: str) -> list[str]:
    """Return what a path ends with: a/b/c, b/c and c."""
    parts = path.split("/")
    return ["/".join(parts[first:]) for first in range(len(parts))]


def _is_beside(annotation: Annotation, image: str) -> bool:
    """Whether `file` is the mere name of an image in the JSON's own folder."""
    path = posixpath.join(posixpath.dirname(composed(annotation.path)), _file_path(annotation))
    return "/" not in _file_path(annotation) and path == composed(image)


def _file_path(annotation: Annotation) -> str:
    """Return `file` as a path below the channel; "" without one."""
    file = composed(annotation.file.replace("\\", "/"))
    return posixpath.normpath(file).lstrip("/") if file else ""


def composed(name: str) -> str:
    """Return a name with each letter and its accents as one character; macOS takes them apart in files' names."""
    return unicodedata.normalize("NFC", name)


def _stem(path: str) -> str:
    return posixpath.splitext(path)[0]


def _names(content: Any) -> tuple[tuple[int, str], ...]:
    """Return what a JSON calls class ids; nothing of what is no name."""
    try:
        categories = content.get("categories", [])
        found = tuple(
            (_class_id(one["class_id"]), sys.intern(one["name"])) for one in categories if _is_name(one["name"])
        )
    except (ValueError, AttributeError, TypeError, KeyError, OverflowError):
        return ()
    return _same_names(found)


@functools.lru_cache(maxsize=64)
def _same_names(names: tuple[tuple[int, str], ...]) -> tuple[tuple[int, str], ...]:
    """Return names that stood in a JSON before as the same objects: every JSON has them, of a thousand classes even."""
    return names


def _class_id(value: Any) -> int:
    """Return a whole number; raises ValueError and TypeError for anything else."""
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError(f"{value!r} is no class_id")
    return int(value)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
