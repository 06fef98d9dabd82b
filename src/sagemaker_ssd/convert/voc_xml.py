"""One annotation file of PASCAL VOC. Source: VOCdevkit, `VOCreadxml` and the annotation guidelines of 2012."""

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

from sagemaker_ssd.errors import UserError

CORNERS = ("xmin", "ymin", "xmax", "ymax")


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
    corners = tuple(_text(element, f"bndbox/{corner}") for corner in CORNERS)
    missing = [f"<{corner}>" for corner, text in zip(CORNERS, corners, strict=True) if not text]
    if missing:
        raise UserError(f"({name}) has no {', '.join(missing)} in its <bndbox>")
    difficult = _text(element, "difficult") or "0"
    if difficult not in ("0", "1"):
        raise UserError(f"({name}) has <difficult> '{difficult}', which has to be 0 or 1")
    return VocObject(number, name, corners, difficult == "1")


def _text(element: ElementTree.Element, path: str) -> str:
    return " ".join((element.findtext(path) or "").split())
