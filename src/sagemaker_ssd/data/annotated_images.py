"""Images with an annotation each, checked and packed as image records, wherever they come from."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.data import boxes
from sagemaker_ssd.data.annotations import Annotation
from sagemaker_ssd.data.channel import COUNTED_FROM_0, Progress, usable_image
from sagemaker_ssd.data.findings import Findings
from sagemaker_ssd.data.images import ImageFacts
from sagemaker_ssd.data.labels import Payload, join_payload, label_of
from sagemaker_ssd.data.record_file import Tally
from sagemaker_ssd.data.repack import CopiedRecords


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
    images: Iterable[AnnotatedImage], target: CopiedRecords, findings: Findings, tally: Tally, progress: Progress
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


def _check(image: AnnotatedImage, findings: Findings) -> NDArray[np.float32] | None:
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
    annotation: Annotation, corners: NDArray[np.float64], outside: NDArray[np.float64], findings: Findings
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
