"""A channel of image files with one JSON each: paired, checked, and packed into one RecordIO file.

`pack_annotated` takes images and annotations that come in another way, too.
"""

import logging
import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd import boxes
from sagemaker_ssd.channels.annotations import Annotation, Pairing, find_files, pair_images, read_annotation
from sagemaker_ssd.channels.examination import read_in_threads
from sagemaker_ssd.channels.findings import COUNTED_FROM_0, ChannelFindings, CheckOptions
from sagemaker_ssd.channels.images import MAX_BYTES, Decode, ExaminedImage, examine_image, has_sides_swapped
from sagemaker_ssd.channels.record_file import RecordFile, RecordFileWriter
from sagemaker_ssd.channels.recordio import Payload, join_payload, label_of
from sagemaker_ssd.data_formats import IMAGE_ENDINGS, LOOKED_AT, OTHER_IMAGE_ENDINGS, ending_remedy
from sagemaker_ssd.errors import UserError, bytes_in_words, in_words, problems, some
from sagemaker_ssd.files import file_size

_SIZE_SCALED: Final = "image_size is not the image's own size, boxes are scaled by image_size"
_SIZE_SWAPPED: Final = "image_size has width and height the wrong way round, read as swapped"
_WAS_TURNED: Final = (
    "Its image_size has width and height the wrong way round: was the image turned after it was labelled?"
)
_SIDES: Final = (
    "Left and top must be a box's upper left corner, and width and height above 0, from there to the right and "
    "downwards"
)
_OWN_JSONS: Final = (
    'Give each channel only its own JSONs, one for each image, or write "file" relative to the folder of the channel'
)
_BY_NAME: Final = "JSON whose image has the name at the end of file and another folder, taken all the same"
_PASSED_OVER: Final = "JSON that is called like its image, while its file is another image that is there too"
# The image_size by which boxes are fractions of the image, and not pixels.
_FRACTIONS: Final = (1.0, 1.0)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _ImageFile:
    """An image file as read: its path below the channel, and its annotation, which `where` names in a sentence.

    fault: why it could not be read, else empty.
    """

    path: str
    where: str
    annotation: Annotation
    content: bytes
    fault: str = ""


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """An image that was examined, with its annotation.

    name: the image's in a list. where: the annotation's in a sentence; its `path` is its name in a list.
    """

    name: str
    where: str
    annotation: Annotation
    image: ExaminedImage


def pack_images(images: Path, annotations: Path, options: CheckOptions) -> RecordFile:
    """Pack the images of a channel, with the JSONs of its annotation channel, in the order of their paths.

    Raises UserError with the first ten faults and their number.
    """
    name = options.name
    findings = ChannelFindings(options)
    pairing = _pair(images, annotations, findings, options)
    needed = sum(file_size(images / path) for path in pairing.annotations)
    found = in_words(len(pairing.annotations), "image with a JSON", "images with one JSON each")
    _log.info("%s: %s, %s", name, found, bytes_in_words(needed))
    with options.writer(f"{name}'s images in one file", needed=needed) as writer:
        examined = options.examiner.map(
            _examine, pairing.annotations.items(), lambda image: image.content, lambda pair: _read(images, name, *pair)
        )
        pack_annotated(_readable(examined, findings), writer, findings)
        findings.conclude(writer)
        file = writer.finish(findings.checked, findings.class_names.names())
    _log.info("%s", file.summary(name))
    return file


def _pair(images: Path, annotations: Path, findings: ChannelFindings, options: CheckOptions) -> Pairing:
    """Read every JSON and find its image; note what is wrong and what is left over.

    Raises UserError for folders that cannot be listed: without what is in them nothing can be said of the rest.
    """
    name = findings.name
    listings, unlisted = [], []
    for root, channel, endings in ((images, name, IMAGE_ENDINGS), (annotations, f"{name}_annotation", (".json",))):
        try:
            listings.append(find_files(root, endings))
        except OSError as error:
            below = os.path.relpath(error.filename or root, root)
            unlisted.append(f"{posixpath.normpath(f'{channel}/{below}')}: cannot be read: {error.strerror}")
    if unlisted:
        raise UserError(problems(unlisted))
    found, jsons = listings
    read = []
    faulty = set()

    def read_one(path: str) -> tuple[str, Annotation, list[str]]:
        return path, *read_annotation(annotations, path, num_classes=options.num_classes)

    for path, annotation, faults in read_in_threads(read_one, jsons):
        read.append(annotation)
        if faults:
            faulty.add(path)
        for fault in faults:
            findings.fault(f"{name}_annotation/{path}: {fault}", *([COUNTED_FROM_0] if fault.startswith("box") else []))
    if not found:
        others = find_files(images, OTHER_IMAGE_ENDINGS)
        but = f", but {others[0]}: {LOOKED_AT}; {ending_remedy(others[0])}" if others else ""
        findings.fault(f"{name}: no image ({', '.join(IMAGE_ENDINGS)}) in the channel{but}")
    if not read:
        findings.fault(f"{name}_annotation: no .json in the channel; every image needs one of the same name")
    pairing = pair_images(found, read, is_part=options.sharded)
    # What boxes a JSON with a fault will have is not known.
    if contested := [f"{image} ({some(paths, 3)})" for image, paths in pairing.contested if faulty.isdisjoint(paths)]:
        findings.fault(
            f"{name}: {in_words(len(contested), 'image', 'images')} that several JSONs of {name}_annotation mean with "
            f"equal right and with different boxes: {some(contested)}",
            _OWN_JSONS,
        )
    if options.pairs_sharded and pairing.images_without_json and pairing.jsons_without_image:
        findings.fault(
            f"{name}: {in_words(len(pairing.images_without_json), 'image', 'images')} without JSON, such as "
            f"{pairing.images_without_json[0]}, and "
            f"{in_words(len(pairing.jsons_without_image), 'JSON', 'JSONs')} without image, such as "
            f"{pairing.jsons_without_image[0]}: S3DistributionType ShardedByS3Key may have cut the two channels in "
            f"different places. Set {name}_annotation's S3DistributionType to FullyReplicated, so that each host has "
            "the JSONs of its images, or take out of both channels what has no partner"
        )
    elif options.sharded and found and read and not pairing.annotations and not pairing.contested:
        findings.fault(
            f"{name}: not one of {in_words(len(found), 'image', 'images')} of this host's part has a JSON, such as "
            f'{found[0]}. Where hosts have parts, the name at the end of "file" alone does not tell an image in a '
            'folder: write its whole folder into "file", or give the JSON the image\'s own path'
        )
    for path in pairing.images_without_json:
        findings.warn("image without JSON, skipped", path)
    # Beside images that are shared out the annotations are best left whole: then each host has the others' too.
    elsewhere = " on this host, which another host may have" if options.sharded and not options.pairs_sharded else ""
    _warn_without_image(images, pairing, read, findings, options, f"JSON without image{elsewhere}, skipped")
    for path, image in pairing.duplicates:
        findings.warn("JSON whose image has another JSON, skipped", f"{path} ({image})")
    for path, image in pairing.by_name:
        findings.warn(_BY_NAME, f"{path} ({image})")
    for path, image, named in pairing.passed_over:
        findings.warn(_PASSED_OVER, f"{path} ({image}, file {named})")
    return pairing


def _warn_without_image(
    images: Path,
    pairing: Pairing,
    annotations: Sequence[Annotation],
    findings: ChannelFindings,
    options: CheckOptions,
    kind_of_others: str,
) -> None:
    """Say which JSONs have no image, and whose image is there under a name that is not looked at."""
    missing = set(pairing.jsons_without_image)
    if not missing:
        return
    alone = [annotation for annotation in annotations if annotation.path in missing]
    others = pair_images(find_files(images, OTHER_IMAGE_ENDINGS), alone, is_part=options.sharded)
    for image, annotation in others.annotations.items():
        missing.remove(annotation.path)
        kind = f"JSON whose image is there, but {LOOKED_AT}, skipped; {ending_remedy(image)}"
        findings.warn(kind, f"{annotation.path} ({image})")
    for path in pairing.jsons_without_image:
        if path in missing:
            findings.warn(kind_of_others, path)


def _read(root: Path, name: str, path: str, annotation: Annotation) -> _ImageFile:
    """Read the image at `path` below `root`, of the channel `name`."""
    where = f"{name}_annotation/{annotation.path}"
    try:
        with (root / path).open("rb") as file:
            # One byte more than an image may have: a file of many GB is found too large without taking its memory.
            return _ImageFile(path, where, annotation, file.read(MAX_BYTES + 1))
    except OSError as error:
        return _ImageFile(path, where, annotation, b"", f"{name}/{path}: cannot be read: {error.strerror}")


def _examine(read: _ImageFile, decode: Decode) -> AnnotatedImage | str:
    """Examine an image; the text says why it could not be read."""
    if read.fault:
        return read.fault
    image = examine_image(read.content, read.annotation.size, decode)
    return AnnotatedImage(read.path, read.where, read.annotation, image)


def _readable(examined: Iterable[AnnotatedImage | str], findings: ChannelFindings) -> Iterator[AnnotatedImage]:
    """Pass the images on, and note which could not be read."""
    for each in examined:
        if isinstance(each, str):
            findings.fault(each)
        else:
            yield each


def pack_annotated(images: Iterable[AnnotatedImage], writer: RecordFileWriter, findings: ChannelFindings) -> None:
    """Write the images as records in the order they come, and note what is wrong."""
    for each in images:
        findings.count_image()
        findings.class_names.note(each.annotation)
        if each.annotation.names_others:
            findings.warn(
                "JSON whose categories name other class_ids than its boxes have, not used", each.annotation.path
            )
        label = _check(each, findings)
        if label is None or findings.faulty:
            continue
        class_ids = label[2::5] if len(each.annotation.boxes) else np.empty(0, np.float32)
        writer.append(join_payload(Payload(writer.images, label, each.image.content)), label, class_ids, each.name)


def _check(each: AnnotatedImage, findings: ChannelFindings) -> NDArray[np.float32] | None:
    """Return the label of an image, whose boxes all have an area; None for an image to leave out or with a fault."""
    annotation, image = each.annotation, each.image
    if not findings.usable_image(image, each.name):
        return None
    own_size = float(image.width), float(image.height)
    size = annotation.size or own_size
    fractions, swapped = size == _FRACTIONS, has_sides_swapped(size, own_size)
    if size != own_size and not fractions:
        findings.warn(
            _SIZE_SWAPPED if swapped else _SIZE_SCALED,
            f"{annotation.path} ({size[0]:g}x{size[1]:g} for {image.width}x{image.height} px)",
        )
    if swapped:
        size = size[::-1]
    if not len(annotation.boxes):
        return label_of(annotation.boxes.astype(np.float32))
    left_top, sides = annotation.boxes[:, 1:3], annotation.boxes[:, 3:5]
    drawn = np.hstack([left_top, left_top + sides])

    def describe(number: int) -> str:
        _, left, top, width, height = annotation.boxes[number]
        return f"left {left:g}, top {top:g}, width {width:g}, height {height:g}"

    findings.count_inverted(drawn, lambda row: f"{each.where}: box {row} ({describe(row)})", _SIDES)
    if not fractions:
        findings.count_fractions(drawn, size, each.where, describe)
    corners = drawn / (*size, *size)
    outside = boxes.pixels_outside(corners, *(own_size if fractions else size))
    far = np.flatnonzero(boxes.too_far_outside(outside))
    for number in far:
        of = f"{own_size[0]:g}x{own_size[1]:g}, in fractions of it" if fractions else f"{size[0]:g}x{size[1]:g}"
        findings.fault(
            f"{each.where}: box {number} ({describe(number)}) is {outside[number]:,.0f} px past the border of {of}",
            *([_WAS_TURNED] if swapped else []),
            COUNTED_FROM_0,
        )
    if len(far):
        return None
    within = corners.clip(0, 1).astype(np.float32)
    with_area = findings.usable_boxes(within, np.arange(len(within)), outside > 0, annotation.path)
    if with_area is None:
        return None
    return label_of(np.hstack([annotation.boxes[:, :1].astype(np.float32), within])[with_area])
