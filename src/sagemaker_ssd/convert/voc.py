"""PASCAL VOC: a folder of XML files, each with the objects of one image, and lists of the images of each split.

Source: VOCdevkit, `VOCreadxml` and the annotation guidelines of 2012; for rotated boxes, CVAT's attribute `rotation`
and roLabelImg's `robndbox`, whose angle is in radians; LabelMe's XML, with polygons, masks and objects marked as
deleted, and as CVAT and Datumaro write it.
"""

import codecs
import html
import math
import posixpath
import re
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from tqdm import tqdm

from sagemaker_ssd.channels.annotations import composed, compression, find_files, other_tool_in
from sagemaker_ssd.convert.dataset import Choices, Dataset, DrawnImage, DrawnObject, Splits, make_dataset, split_off
from sagemaker_ssd.convert.findings import Findings, kind_of
from sagemaker_ssd.convert.images import Folders, FoundImage, ImageFolder, name_key, read_side
from sagemaker_ssd.convert.shapes import Corners, Size, around_points, has_area, read_corners, read_degrees
from sagemaker_ssd.data_formats import IMAGE_ENDINGS
from sagemaker_ssd.errors import UserError, in_words, problems

_CORNERS: Final = ("xmin", "ymin", "xmax", "ymax")
# What an object is, or has.
_OBJECT_TAGS: Final = ("object", "bndbox", "robndbox", "polygon")
# The second column of the devkit's lists for one class: present, absent, only difficult ones.
_SECOND_COLUMN: Final = ("1", "-1", "0")
# Columns of other lists: an index in ImageNet's, class, species and breed in Oxford-IIIT Pet's.
_COLUMN: Final = re.compile(r"\s+[-+]?\d+$")
_MARKS: Final = {
    **dict.fromkeys(("", "0", "0.0", "false", "no"), False),
    **dict.fromkeys(("1", "1.0", "true", "yes"), True),
}
# Where an XML names its image, and the masks and scribbles of LabelMe's objects, which are pictures too.
_PICTURES: Final = re.compile(r"<(?:filename|mask|scribble_name)>([^<]*)</")
_BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16's, with which it begins
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARATION: Final = re.compile(r"\s*<\?xml\s[^>]*?\?>")
_ENCODING: Final = re.compile(rb"""^\s*<\?xml\s[^>]*?encoding\s*=\s*["']([^"']*)["']""")
# What is called GB2312 or GBK holds characters of its successor as often as not.
_WIDER: Final = {"gb2312": "gb18030", "gbk": "gb18030"}
# Formats of other tools, by the tag that their XML begins with.
_OTHER_XML: Final = {
    "annotations": "CVAT's own format: export it as Pascal VOC or COCO",
    "dataset": "perhaps dlib's or CVAT's: export it as Pascal VOC or COCO",
    "svg": "a picture",
    "html": "a web page: download it again",
}


@dataclass(frozen=True, slots=True)
class VocAnnotation:
    """`size` is width and height, None if the file has none; `filename` may be ""; `notes` are what was odd."""

    size: Size | None
    filename: str
    objects: tuple[DrawnObject, ...]
    notes: tuple[tuple[str, str], ...]


def read_annotation(path: Path) -> tuple[VocAnnotation, list[str]]:
    """Read a file; what is wrong with single objects comes as texts, each to continue the file's name.

    Raises UserError if the file as a whole cannot be used.
    """
    root = _parse(path)
    if root.tag != "annotation":
        other = f" ({_OTHER_XML[root.tag.lower()]})" if root.tag.lower() in _OTHER_XML else ""
        raise UserError(f"is not an annotation of PASCAL VOC: it begins <{root.tag}>{other}, not <annotation>")
    _refuse_objects_elsewhere(root)
    objects: list[DrawnObject] = []
    faults: list[str] = []
    notes: list[tuple[str, str]] = []
    for number, element in enumerate(root.findall("object")):
        if _MARKS.get(_text(element, "deleted").lower()):
            notes.append(("objects marked as <deleted>, left out", ""))
            continue
        try:
            objects.append(_read_object(number, element, notes))
        except UserError as fault:
            faults.append(f"box {number} {fault.sentence}")
    return VocAnnotation(_read_size(root, notes), _text(root, "filename"), tuple(objects), tuple(notes)), faults


def _refuse_objects_elsewhere(root: ElementTree.Element) -> None:
    """Raise UserError for objects that would not be read: their image would be background.

    The parts of a person in VOC's layout have a <bndbox> too, within an object.
    """
    for child in root:
        for element in child.iter():
            name = element.tag.rpartition("}")[2].lower()
            if child.tag == "object" and (element is child or name != "object"):
                continue
            if name in _OBJECT_TAGS:
                where = f"<{element.tag}>" if element is child else f"<{element.tag}> in <{child.tag}>"
                raise UserError(
                    f"has objects in another place ({where}): write each as <object> directly in <annotation>, in "
                    "small letters and without a namespace"
                )


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses a DOCTYPE: VOC files have none, and entities can blow up to gigabytes."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise UserError("has a DOCTYPE, which is not allowed here: remove it")


def _parse(path: Path) -> ElementTree.Element:
    parser = ElementTree.XMLParser(target=_NoDoctype())
    try:
        # The parser knows few encodings by itself, so it gets text. Space before a declaration is an error to it.
        parser.feed(_DECLARATION.sub("", decode_text(path.read_bytes()), count=1).lstrip())
        root: ElementTree.Element = parser.close()
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}") from error
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise UserError(f"is not well-formed XML: {error}") from error
    return root


def decode_text(content: bytes) -> str:
    """Decode XML or a list by its byte order mark, else as its declaration says, else as UTF-8; raises UserError."""
    if compressed := compression(content):
        raise UserError(f"is compressed ({compressed}): unpack it")
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return _decode_as(content.removeprefix(mark), encoding, f"begins with the mark of {encoding.upper()}")
    for beginning, encoding in ((b"<\0?\0", "utf-16-le"), (b"\0<\0?", "utf-16-be")):
        if content.startswith(beginning):
            return _decode_as(content, encoding, f"begins like {encoding.upper()}")
    declared = _ENCODING.match(content[:1000])
    if declared is None:
        return _decode_as(content, "utf-8", "names no other encoding")
    name = declared[1].decode("ascii", "replace").strip()
    # UTF-16 that can be read up to here is none.
    encoding = "utf-8" if name.lower().startswith(("utf-16", "ucs-2")) else _WIDER.get(name.lower(), name)
    return _decode_as(content, encoding, f"says that it is in the encoding {name}")


def _decode_as(content: bytes, encoding: str, why: str) -> str:
    try:
        return content.decode(encoding)
    except LookupError as error:
        raise UserError(f"{why}, which is not known: save it as UTF-8") from error
    except UnicodeError as error:
        at = f" at byte {error.start + 1:,}" if isinstance(error, UnicodeDecodeError) else ""
        raise UserError(f"{why}, but is no {encoding.upper()}{at}: save it as UTF-8, or say which it is in") from error


def _read_size(root: ElementTree.Element, notes: list[tuple[str, str]]) -> Size | None:
    """Take the size; many tools write none, or 0, when they did not open the image."""
    texts = [_text(root, f"size/{side}") for side in ("width", "height")]
    width, height = map(read_side, texts)
    if width is not None and height is not None:
        return width, height
    if any(text not in ("", "0", "None") for text in texts):
        notes.append(("sizes that are no whole numbers above 0", "the image's own is taken"))
    return None


def _read_object(number: int, element: ElementTree.Element, notes: list[tuple[str, str]]) -> DrawnObject:
    name = _text(element, "name")
    if not name:
        raise UserError("has no <name>")
    corners, degrees = _read_box(name, element, notes)
    if element.find("robndbox") is None and (_text(element, "angle") or _text(element, "bndbox/angle")):
        notes.append(("objects with an <angle>, which is not read", "their boxes were taken as they stand"))
    difficult = _MARKS.get(_text(element, "difficult").lower())
    if difficult is None:
        notes.append(("marks <difficult> that are neither 0 nor 1", "they count as 0"))
    return DrawnObject(f"box {number} ({name})", name, corners, degrees, bool(difficult))


def _read_box(name: str, element: ElementTree.Element, notes: list[tuple[str, str]]) -> tuple[Corners, float]:
    """Return an object's corners, and the degrees by which they are turned."""
    for tag in ("bndbox", "robndbox"):
        if len({_content(each) for each in element.findall(tag)}) > 1:
            raise UserError(f"({name}) has {len(element.findall(tag))} <{tag}>: write an <object> for each")
    texts = tuple(_text(element, f"bndbox/{corner}") for corner in _CORNERS)
    missing = [f"<{corner}>" for corner, text in zip(_CORNERS, texts, strict=True) if not text]
    try:
        if not missing and _encloses_area(texts):
            return read_corners(texts), _rotation(element)
        if element.find("robndbox") is not None:
            x, y, width, height, angle = _numbers(
                [_text(element, f"robndbox/{key}") for key in ("cx", "cy", "w", "h", "angle")]
            )
            return (x - width / 2, y - height / 2, x + width / 2, y + height / 2), math.degrees(angle)
        polygon = _around_polygon(element)
        if polygon is None and not missing:
            return read_corners(texts), _rotation(element)
        mask = [_text(element, f"segm/box/{corner}") for corner in _CORNERS]
        if polygon is None and all(mask):
            notes.append(("objects that are masks", "each was written as the <box> beside its mask"))
            return read_corners(mask), 0.0
        if polygon is not None and _text(element, "type") == "bounding_box":
            return polygon, _rotation(element)
    except UserError as fault:
        raise UserError(f"({name}) {fault.sentence}") from fault
    if polygon is None:
        raise UserError(f"({name}) has no {', '.join(missing)} in its <bndbox>")
    notes.append(("polygons without a box", "each was written as the box that encloses it"))
    return polygon, 0.0


def _encloses_area(texts: Sequence[str]) -> bool:
    try:
        return has_area(read_corners(texts))
    except UserError:
        return False


def _rotation(element: ElementTree.Element) -> float:
    """Return by how many degrees an object is turned: its attribute `rotation`, in VOC's XML or in LabelMe's.

    LabelMe's attributes are a text: `occluded, rotation=90.0`.
    """
    for attribute in element.iter("attribute"):
        if _text(attribute, "name").lower() == "rotation":
            return read_degrees(_text(attribute, "value"))
    for text in _text(element, "attributes").split(","):
        name, _, value = text.partition("=")
        if name.strip().lower() == "rotation":
            return read_degrees(value)
    return 0.0


def _around_polygon(element: ElementTree.Element) -> Corners | None:
    """Return the box around an object's <polygon>, be its points <x1><y1>, <pt> or <point>."""
    xs: list[float] = []
    ys: list[float] = []
    for polygon in element.iter("polygon"):
        for leaf in polygon.iter():
            if (axis := leaf.tag[:1].lower()) in ("x", "y") and not len(leaf):
                (xs if axis == "x" else ys).extend(_numbers([leaf.text or ""]))
    return around_points(xs, ys)


def _numbers(texts: list[str]) -> list[float]:
    try:
        numbers = [float(text) for text in texts]
    except ValueError as error:
        raise UserError(f"has a coordinate that is not a number: {', '.join(texts)}") from error
    if not all(map(math.isfinite, numbers)):
        raise UserError(f"has a coordinate that is not a number: {', '.join(texts)}")
    return numbers


def _text(element: ElementTree.Element, path: str) -> str:
    return " ".join((element.findtext(path) or "").split())


def _content(element: ElementTree.Element) -> tuple[tuple[str, str], ...]:
    return tuple((leaf.tag, " ".join((leaf.text or "").split())) for leaf in element.iter())


@dataclass(frozen=True, slots=True)
class _Listed:
    """An image of a split: `xml` is its annotation's path below the folder; if that is "", `image` is its own."""

    xml: str
    image: str = ""


def _legible(path: Path) -> str:
    """Return the text of a file, as far as it can be read."""
    try:
        content = path.read_bytes()
    except OSError:
        return ""
    try:
        return decode_text(content)
    except UserError:
        return content.decode("utf-8", "replace")


class _Source:
    """A folder of XML files with its folder of images."""

    def __init__(self, annotations: Path, images: ImageFolder) -> None:
        self.annotations = annotations
        self.images = images
        # Sorted folder by folder, as paths are.
        self.files = sorted(find_files(annotations, (".xml",)), key=lambda file: file.split("/"))
        # As images are found: macOS takes accents apart in files' names, and whoever wrote a list did not.
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for file in self.files:
            stem = composed(posixpath.splitext(file)[0])
            self._by_stem[stem].append(file)
            self._by_name[posixpath.basename(stem)].append(file)
        self._folders = Folders(self.files)
        # Images there have XML of their own, or none.
        self._taken = frozenset(composed(posixpath.dirname(file)) for file in self.files) - {""}
        self._places: dict[str, Path] = {}

    def image_of(self, file: str, filename: str) -> FoundImage:
        """Find the image of an XML that calls it `filename`; raises UserError."""
        return self.images.of_annotation(posixpath.splitext(file)[0], filename, self._taken)

    def place(self, image: str) -> Path:
        """Return where an image lies, by folders that are no links."""
        folder, name = posixpath.split(image)
        if folder not in self._places:
            self._places[folder] = (self.images.root / folder).resolve()
        return self._places[folder] / name

    @cached_property
    def claims(self) -> Mapping[str, Collection[str]]:
        """The XML files of each name that an XML has or names, as `name_key` writes it; first those that have it.

        Names are taken from the text, since an XML that is broken is still that of its image.
        """
        claims: dict[str, dict[str, None]] = defaultdict(dict)
        for file in self.files:
            claims[name_key(posixpath.splitext(file)[0])][file] = None
        for file in self.files:
            for name in _PICTURES.findall(_legible(self.annotations / file)):
                if key := name_key(html.unescape(name).strip()):
                    claims[key][file] = None
        return claims

    def annotations_of(self, image: str) -> list[str]:
        """Return the XML files whose image this one is, whatever they are called."""
        return [file for file in self.claims.get(name_key(image), ()) if self._image_of(file) == image]

    def _image_of(self, file: str) -> str:
        """Return the image of an XML; "" where there is none, or it may be several."""
        try:
            filename = read_annotation(self.annotations / file)[0].filename
        except UserError:
            filename = ""
        try:
            return self.image_of(file, filename).file
        except UserError:
            return ""

    def own(self, image: str) -> Path | None:
        """Return the XML that lies below its folder where an image lies below its own, if there is one."""
        files = self._by_stem.get(composed(posixpath.splitext(image)[0]))
        return self.annotations / files[0] if files else None

    @cached_property
    def _keys(self) -> frozenset[str]:
        return frozenset(map(name_key, [*(posixpath.splitext(file)[0] for file in self.files), *self.images.files]))

    def is_name(self, line: str) -> bool:
        """Whether a whole line of a list is the name of an XML or an image."""
        return name_key(posixpath.splitext(line)[0] if line.lower().endswith(".xml") else line) in self._keys

    def at(self, candidates: Sequence[str], line: str) -> str | None:
        """Find the XML that is where a line of a list says; raises UserError where there are several."""
        return self._only([self._by_stem.get(composed(stem), []) for stem in candidates], line, "remove all but one")

    def called(self, candidates: Sequence[str], line: str) -> tuple[str | None, list[str]]:
        """Find the XML that has the name of a line of a list; raises UserError where there are several.

        Beside it, those of the name that are not meant: where the folder of the line ends like one that holds XML
        files or images, an XML in another one is not, unless that is the top folder.
        """
        found, others = [], []
        for stem in candidates:
            namesakes = self._by_name.get(composed(posixpath.basename(stem)), [])
            folder = posixpath.dirname(stem)
            own_end, image_end = self._folders.end(folder), self.images.folders.end(folder)
            # Where images are in more folders than XML files, those of the XML files are the ends of theirs.
            longer = image_end if len(image_end) > len(own_end) else ""
            meant = self._folders.within(namesakes, longer or own_end) or [
                file for file in namesakes if _is_end(composed(posixpath.dirname(file)), longer)
            ]
            found.append(meant)
            others += [file for file in namesakes if file not in meant]
        return self._only(found, line, f"give its path below {self.annotations}"), others

    def _only(self, found: Iterable[list[str]], line: str, remedy: str) -> str | None:
        for files in found:
            if len(files) > 1:
                raise UserError(f"'{line}' may be {' or '.join(files[:3])}: {remedy}")
            if files:
                return files[0]
        return None


def _is_end(path: str, other: str) -> bool:
    """Whether a path is the end of another one, or has no name."""
    return not path or f"/{other}".endswith(f"/{path}")


def _candidates(line: str, *, columns: bool) -> list[str]:
    """What a line may mean, from the letter (names can hold spaces and dots) to its first column's stem.

    columns: whether numbers at its end are columns of the list, however many there are.
    """
    names = [line]
    words = line.rsplit(maxsplit=1)
    if len(words) == 2 and words[1] in _SECOND_COLUMN:
        names.append(words[0])
    while columns and _COLUMN.search(names[-1]):
        names.append(_COLUMN.sub("", names[-1]))
    # As Datumaro writes names with spaces.
    names += [name[1:-1] for name in names if len(name) > 2 and name[0] == name[-1] == '"']
    stems = []
    for name in names:
        for path in dict.fromkeys((name, name.replace("\\", "/"))):
            stem, ending = posixpath.splitext(path)
            stems.append(path)
            if ending.lower() in (*IMAGE_ENDINGS, ".xml"):
                stems.append(stem)
    return [posixpath.normpath(stem).lstrip("/") for stem in stems]


class _Reader:
    """Reads lists and XML files into images as drawn."""

    def __init__(self, findings: Findings, sources: Sequence[_Source], *, negatives: bool) -> None:
        self._findings = findings
        self._sources = sources
        self._negatives = negatives

    def read_list(self, path: Path, source: _Source) -> list[_Listed]:
        """Read a list of images, one a line."""
        try:
            content = path.read_bytes()
            lines = decode_text(content).splitlines()
        except OSError as error:
            self._findings.fault("list", f"{path} cannot be read: {error.strerror}")
            return []
        except UserError as fault:
            reason = fault.sentence if compression(content) else "is not UTF-8 text"
            self._findings.fault("list", f"{path} cannot be read: it {reason}")
            return []
        numbered = {number: line.strip() for number, line in enumerate(lines, start=1) if line.strip()}
        for number, line in list(numbered.items()):
            if line.startswith("#") and not source.is_name(line):
                self._findings.note(f"lines of {path} that begin with #", f"line {number}", "left out as comments")
                del numbered[number]
        # "photo 12" is a name where such names are there, and not the image photo with a number.
        columns = all(_COLUMN.search(line) and not source.is_name(line) for line in numbered.values())
        listed: dict[_Listed, None] = {}
        for number, line in numbered.items():
            place = f"{path}, line {number}"
            try:
                found = self._find(_candidates(line, columns=columns), line, source, place)
            except UserError as fault:
                self._findings.bad_image(place, "line", f"{place}: {fault.sentence}")
                continue
            if not found.xml and not self._negatives:
                self._note_without_xml(source, found.image)
            elif found in listed:
                self._findings.note(f"lines of {path} that repeat an image", f"line {number}", "left out")
            else:
                listed[found] = None
        return list(listed)

    def _find(self, candidates: Sequence[str], line: str, source: _Source, place: str) -> _Listed:
        if xml := source.at(candidates, line):
            return _Listed(xml)
        xml, others = source.called(candidates, line)
        if xml:
            self._note_folder(candidates, xml, line, place)
            return _Listed(xml)
        for stem in candidates:
            try:
                found = source.images.of_annotation(stem, "")
            except UserError:
                continue
            # Not an image of the same name, since the line does not mean the XML of that name either.
            if found.exact or not others:
                self._note_folder(candidates, found.file, line, place)
                return self._listed_image(found.file, source)
        for stem in candidates:
            source.images.refuse_other_ending(stem)
        missing = f"there is no {source.annotations / candidates[-1]}.xml"
        if others:
            raise UserError(
                f"{missing}, only {' and '.join(list(dict.fromkeys(others))[:3])} of that name, in another folder: "
                f"give its path below {source.annotations}, or take the line out of the list"
            )
        raise UserError(f"{missing}, and no image of this name")

    def _note_folder(self, candidates: Sequence[str], found: str, line: str, place: str) -> None:
        """Say that what a line means is in another folder than it gives."""
        own = composed(posixpath.dirname(found))
        folders = [composed(posixpath.dirname(stem)) for stem in candidates]
        if not any(_is_end(own, folder) or _is_end(folder, own) for folder in folders):
            self._findings.note(
                "lines of lists that give another folder, found by their names alone", f"{place} ({line}): {found}"
            )

    def _listed_image(self, image: str, source: _Source) -> _Listed:
        """Return what a list means by an image that no XML is called like.

        That is the XML whose image it is all the same, by capitals, an ending within the name or <filename>; else the
        image alone. Raises UserError where an XML may mean it: it is no background, nor may it be passed over.
        """
        path = source.images.root / image
        annotations = source.annotations_of(image)
        if len(annotations) > 1:
            named = " and ".join(str(source.annotations / file) for file in annotations[:3])
            raise UserError(f"{path} is the image of {named}: remove all but one")
        if annotations:
            return _Listed(annotations[0])
        if claiming := self._claiming(source, image):
            raise UserError(
                f"{path} has no XML of its own, and {claiming[1]} has its name or names it: write an XML for it, "
                "without objects where it shows none, or take it out of the list"
            )
        return _Listed("", image)

    def without_xml(self, source: _Source, drawn: Iterable[DrawnImage]) -> dict[_Listed, DrawnImage]:
        """Return the images of a folder that have no XML, or say how many were left out. `drawn`: those that have."""
        by_root = {each.images.root: each for each in self._sources}
        used = {by_root[image.folder].place(image.found.file) for image in drawn}
        rest = []
        for image in source.images.files:
            if source.place(image) in used or self._is_claimed(source, image):
                continue
            if _has_json(source.images.root, image):
                self._findings.note("images of a channel that has JSON for them, left out", source.images.root / image)
            else:
                rest.append(image)
        if self._negatives:
            return self.draw([_Listed("", image) for image in rest], source)
        for image in rest:
            self._note_without_xml(source, image)
        return {}

    def _claiming(self, source: _Source, image: str) -> tuple[_Source, Path] | None:
        """Return an XML that may mean an image without an XML of its own, which then is no background, and its source.

        The XML may be broken, or mean several images, or the image be a mask or a copy of the one that it is of.
        """
        path = source.place(image)
        for other in self._sources:
            if path.is_relative_to(other.place("")) and (files := other.claims.get(name_key(image))):
                return other, other.annotations / next(iter(files))
        return None

    def _is_claimed(self, source: _Source, image: str) -> bool:
        """Whether an image that nothing names may be that of an XML, and no background; says so."""
        claiming = self._claiming(source, image)
        if claiming is None:
            return False
        other, xml = claiming
        # What is wrong with an XML is told of its image, too.
        if not self._findings.is_bad(other.own(image)):
            self._findings.note(
                "images that have the name of an XML, or of a picture that it names, without being its image, left out",
                f"{source.images.root / image} ({xml})",
                "an XML without objects for each keeps those that show none",
            )
        return True

    def _note_without_xml(self, source: _Source, image: str) -> None:
        self._findings.note(
            "images without an XML, left out",
            source.images.root / image,
            "--negatives keeps them as images without objects",
        )

    def draw(self, listed: Iterable[_Listed], source: _Source) -> dict[_Listed, DrawnImage]:
        """Read the XML files and find their images; those that cannot be used at all are missing."""
        drawn = {}
        for each in tqdm(listed, desc="reading", unit=" images", leave=False, disable=None):
            image = self._draw(each, source) if each.xml else _without_objects(each.image, source)
            if image is not None:
                drawn[each] = image
        return drawn

    def _draw(self, each: _Listed, source: _Source) -> DrawnImage | None:
        path = source.annotations / each.xml
        try:
            annotation, faults = read_annotation(path)
        except UserError as fault:
            self._findings.bad_image(path, kind_of(fault.sentence), f"{path}: {fault.sentence}")
            return None
        for text in faults:
            self._findings.bad_image(path, kind_of(text), f"{path}: {text}")
        for what, meaning in annotation.notes:
            self._findings.note(what, f"in {path}", meaning)
        try:
            found = source.image_of(each.xml, annotation.filename)
        except UserError as fault:
            self._findings.bad_image(path, "no image", f"{path}: {fault.sentence}")
            return None
        if found.other:
            self._findings.note(
                "images that are called like their XML, whose <filename> is another image that is there too",
                f"{path} (<filename> {found.other})",
                "the image that is called like the XML is taken",
            )
        return DrawnImage(path, str(path), str(path), source.images.root, found, annotation.size, annotation.objects)


def _has_json(root: Path, image: str) -> bool:
    """Whether an image lies in a channel with a JSON of its own, as this program writes them: it is a copy."""
    *folders, name = posixpath.splitext(image)[0].split("/")
    return any(
        root.joinpath(*folders[:number], f"{folder}_annotation", *folders[number + 1 :], f"{name}.json").is_file()
        for number, folder in enumerate(folders)
    )


def _without_objects(file: str, source: _Source) -> DrawnImage:
    path = source.images.root / file
    return DrawnImage(path, str(path), str(path), source.images.root, FoundImage(file, file, exact=True), None, ())


def _refuse_folders_without_xml(folders: Sequence[Path]) -> None:
    """Raise UserError for folders of XML files that hold other files instead."""
    faults = []
    for folder in dict.fromkeys(folders):
        files = find_files(folder, ("",))
        if not files or any(file.lower().endswith(".xml") for file in files):
            continue
        counts = Counter(posixpath.splitext(file)[1].lower() or "without an ending" for file in files)
        kinds = ", ".join(f"{ending} {count:,}" for ending, count in counts.most_common(3))
        remedy = "name the folder of the XML files, or export the data set as Pascal VOC or COCO"
        first = next((file for file in files if file.lower().endswith((".json", ".manifest"))), files[0])
        if other := other_tool_in(folder / first):
            remedy = f"that is {other[0]}: {other[1]}"
        found = in_words(len(files), "other file", "other files")
        faults.append(f"{folder} has no .xml, but {found} ({kinds}), such as {first}: {remedy}")
    if faults:
        raise UserError(problems(faults))


def read_voc(
    given: Splits,
    choices: Choices,
    findings: Findings,
    *,
    annotations: Path,
    validation_annotations: Path | None,
    negatives: bool,
) -> Dataset:
    """Read both splits, corners as they stand; raises UserError with everything that is wrong.

    No list for training means all XML files that the other list does not name; none for validation means all of
    `validation_annotations`, or without that folder a part of the first that is split off. negatives: images without an
    XML are images without objects.
    """
    _refuse_folders_without_xml([each for each in (annotations, validation_annotations) if each])
    folder = ImageFolder(given.images)
    own_folder = given.validation_images != given.images
    source = _Source(annotations, folder)
    validation_source = source
    if own_folder or validation_annotations:
        validation_source = _Source(
            validation_annotations or annotations, ImageFolder(given.validation_images) if own_folder else folder
        )
    reader = _Reader(findings, list(dict.fromkeys((source, validation_source))), negatives=negatives)
    split_later = given.validation is None and validation_annotations is None

    if given.validation:
        chosen = reader.read_list(given.validation, validation_source)
    else:
        chosen = [] if split_later else [_Listed(file) for file in validation_source.files]
    if given.train:
        stems = reader.read_list(given.train, source)
    else:
        others = set(chosen) if validation_annotations is None else set()
        stems = [each for each in map(_Listed, source.files) if each not in others]
    drawn, drawn_for_validation = reader.draw(stems, source), reader.draw(chosen, validation_source)
    everything = [*drawn.values(), *drawn_for_validation.values()]
    if not given.train:
        rest = reader.without_xml(source, everything)
        stems += rest
        drawn |= rest
    if not given.validation and not split_later and own_folder:
        rest = reader.without_xml(validation_source, everything)
        chosen += rest
        drawn_for_validation |= rest
    if split_later:
        stems, chosen = split_off(stems, given.fraction, given.seed)
        drawn_for_validation = drawn
    splits = (
        [drawn[each] for each in stems if each in drawn],
        [drawn_for_validation[each] for each in chosen if each in drawn_for_validation],
    )
    names = sorted({each.name for split in splits for image in split for each in image.objects})
    return make_dataset(*splits, names=names, choices=choices, findings=findings)
