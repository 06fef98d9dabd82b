"""A channel of image files with one JSON each, checked and packed into one RecordIO file."""

import logging
from collections.abc import Iterator
from pathlib import Path

from sagemaker_ssd.data.annotated_images import AnnotatedImage, pack_annotated
from sagemaker_ssd.data.annotations import Annotation, read_annotation
from sagemaker_ssd.data.channel import COUNTED_FROM_0, Progress, conclude
from sagemaker_ssd.data.examination import Alone, Examiner
from sagemaker_ssd.data.findings import Findings, bytes_in_words, in_words
from sagemaker_ssd.data.images import Judge, examine_image
from sagemaker_ssd.data.pairing import Pairing, find_files, pair
from sagemaker_ssd.data.record_file import RecordFile, Tally
from sagemaker_ssd.data.repack import CopiedRecords
from sagemaker_ssd.data.scratch import bytes_of

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
    findings, tally, progress = Findings(name), Tally(num_classes, keep_names=keep_names), Progress(name)
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


def _pair(images: Path, annotations: Path, findings: Findings, num_classes: int) -> Pairing:
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


def _read_in_turn(root: Path, pairing: Pairing, findings: Findings) -> Iterator[tuple[str, str, Annotation, bytes]]:
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
