"""Images with an annotation each, checked and packed as image records, wherever they come from.

A channel of image files with one JSON each, checked and packed into one RecordIO file.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd import boxes
from sagemaker_ssd.channels.annotations import Annotation, Pairing, find_files, pair, read_annotation
from sagemaker_ssd.channels.check import COUNTED_FROM_0, Alone, CheckProgress, Examiner, conclude, usable_image
from sagemaker_ssd.channels.findings import ChannelFindings
from sagemaker_ssd.channels.images import ImageFacts, Judge, examine_image
from sagemaker_ssd.channels.record_file import CopiedRecords, RecordFile, Tally
from sagemaker_ssd.channels.recordio import Payload, join_payload, label_of
from sagemaker_ssd.errors import bytes_in_words, in_words
from sagemaker_ssd.files import bytes_of


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """An image that was looked at, with its annotation.

    name: the image's in a list. where: the annotation's in a sentence; its `path` is its name in a list.
    """

    name: str
    where: str
    annotation: Annotation
    facts: ImageFacts


def pack_annotated(
    images: Iterable[AnnotatedImage],
    target: CopiedRecords,
    findings: ChannelFindings,
    tally: Tally,
    progress: CheckProgress,
) -> None:
    """Write the images as records in the order they come, count them, and note what is wrong."""
    for image in images:
        progress.step()
        label = _check(image, findings)
        if label is None or findings.faulty:
            continue
        class_ids = label[2::5] if len(image.annotation.boxes) else np.empty(0, np.float32)
        offset = target.append(join_payload(Payload(tally.images, label, image.facts.image)))
        tally.add(offset, class_ids, len(label), image.name)


def _check(image: AnnotatedImage, findings: ChannelFindings) -> NDArray[np.float32] | None:
    """Return the label of an image, or None for one to leave out or with a fault."""
    annotation, facts = image.annotation, image.facts
    if not usable_image(facts, image.name, findings):
        return None
    own_size = float(facts.width), float(facts.height)
    size = annotation.size or own_size
    if size != own_size:
        findings.warn(
            "image_size is not the image's own size, boxes are scaled by image_size",
            f"{annotation.path} ({size[0]:g}x{size[1]:g} for {facts.width}x{facts.height} px)",
        )
    if not len(annotation.boxes):
        return label_of(annotation.boxes.astype(np.float32))
    left_top, sides = annotation.boxes[:, 1:3], annotation.boxes[:, 3:5]
    corners = np.hstack([left_top, left_top + sides]) / (*size, *size)
    outside = boxes.pixels_outside(corners, *size)
    far = np.flatnonzero(boxes.too_far_outside(outside))
    for number in far:
        _, left, top, width, height = annotation.boxes[number]
        findings.fault(
            f"{image.where}: box {number} (left {left:g}, top {top:g}, width "
            f"{width:g}, height {height:g}) is {outside[number]:,.0f} px past the border of {size[0]:g}x{size[1]:g}",
            COUNTED_FROM_0,
        )
    return None if len(far) else _correct(annotation, corners, outside, findings)


def _correct(
    annotation: Annotation, corners: NDArray[np.float64], outside: NDArray[np.float64], findings: ChannelFindings
) -> NDArray[np.float32] | None:
    """Clip what lies past the border and drop boxes without area; None if that leaves none."""
    fractions = corners.clip(0, 1).astype(np.float32)
    for number in np.flatnonzero(outside):
        findings.warn(boxes.CLIPPED, f"{annotation.path} box {number}")
    with_area = boxes.with_area(fractions)
    for number in np.flatnonzero(~with_area):
        findings.warn(boxes.NO_AREA, f"{annotation.path} box {number}")
    if not with_area.any():
        findings.warn(boxes.ONLY_NO_AREA, annotation.path)
        return None
    class_ids = annotation.boxes[:, :1].astype(np.float32)
    return label_of(np.hstack([class_ids, fractions])[with_area])


IMAGE_ENDINGS = (".jpg", ".jpeg", ".png")
_log = logging.getLogger(__name__)


def pack_images(
    images: Path,
    annotations: Path,
    *,
    name: str,
    num_classes: int,
    scratch: Path,
    max_bad_images: float,
    label_width: int,
    examiner: Examiner | None = None,
    keep_names: bool = False,
) -> RecordFile:
    """Pack the images of the channel `name`, with the JSONs of `<name>_annotation`, in the order of their paths.

    examiner: None for a channel that this host alone examines. Raises UserError with the first ten faults and their
    number.
    """
    findings, tally, progress = ChannelFindings(name), Tally(num_classes, keep_names=keep_names), CheckProgress(name)
    pairing = _pair(images, annotations, findings, num_classes)
    needed = sum(bytes_of(images / path) for path in pairing.annotations)
    found = in_words(len(pairing.annotations), "image with a JSON", "images with one JSON each")
    _log.info("%s: %s, %s", name, found, bytes_in_words(needed))
    with CopiedRecords(scratch / f"{name}.rec", what=f"{name}'s images in one file", needed=needed) as target:
        read = _read_in_turn(images, pairing, findings)
        examined = (examiner or Alone()).in_order(_examine, read, lambda item: item[3])
        pack_annotated(examined, target, findings, tally, progress)
        conclude(findings, tally, images=progress.images, max_bad_images=max_bad_images, label_width=label_width)
        file = target.finish(tally)
    _log.info("%s", file.summary(name))
    return file


def _pair(images: Path, annotations: Path, findings: ChannelFindings, num_classes: int) -> Pairing:
    """Read every JSON and find its image; note what is wrong and what is left over."""
    name = findings.name
    read = []
    for path in find_files(annotations, (".json",)):
        annotation, faults = read_annotation(annotations, path, num_classes=num_classes)
        read.append(annotation)
        for fault in faults:
            findings.fault(f"{name}_annotation/{path}: {fault}", *([COUNTED_FROM_0] if fault.startswith("box") else []))
    found = find_files(images, IMAGE_ENDINGS)
    if not found:
        findings.fault(f"{name}: no image ({', '.join(IMAGE_ENDINGS)}) in the channel")
    if not read:
        findings.fault(f"{name}_annotation: no .json in the channel; every image needs one of the same name")
    pairing = pair(found, read)
    for path in pairing.images_without_json:
        findings.warn("image without JSON, skipped", path)
    for path in pairing.jsons_without_image:
        findings.warn("JSON without image, skipped", path)
    for path, image in pairing.second:
        findings.warn("JSON whose image has another JSON, skipped", f"{path} ({image})")
    return pairing


def _read_in_turn(
    root: Path, pairing: Pairing, findings: ChannelFindings
) -> Iterator[tuple[str, str, Annotation, bytes]]:
    for path, annotation in pairing.annotations.items():
        try:
            image = (root / path).read_bytes()
        except OSError as error:
            findings.fault(f"{findings.name}/{path}: cannot be read: {error.strerror}")
            continue
        yield path, f"{findings.name}_annotation/{annotation.path}", annotation, image


def _examine(read: tuple[str, str, Annotation, bytes], judge: Judge) -> AnnotatedImage:
    name, where, annotation, image = read
    return AnnotatedImage(name, where, annotation, examine_image(image, annotation.size, judge))
