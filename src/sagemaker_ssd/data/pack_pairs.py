"""An augmented manifest: image and JSON by turns in one stream, checked and packed as image records.

Source: Amazon SageMaker developer guide, `augmented-manifest.md` and `object-detection.md`.
"""

from collections.abc import Iterable, Iterator

from sagemaker_ssd.data.annotated_images import AnnotatedImage, pack_annotated
from sagemaker_ssd.data.annotations import parse_annotation
from sagemaker_ssd.data.channel import COUNTED_FROM_0, Progress
from sagemaker_ssd.data.examination import Examiner
from sagemaker_ssd.data.findings import Findings
from sagemaker_ssd.data.images import Judge, examine_image
from sagemaker_ssd.data.payload_kind import kind_of
from sagemaker_ssd.data.record_file import Tally
from sagemaker_ssd.data.recordio import Record
from sagemaker_ssd.data.repack import CopiedRecords

TWO_ATTRIBUTES = (
    "AttributeNames must name two attributes of each line of the manifest, first the image and then its annotations, "
    'such as ["source-ref", "bounding-box"]'
)
BOUNDING_BOXES = (
    "Each annotation must be that of a bounding box job for images, "
    '{"image_size": [{"width": ..., "height": ...}], "annotations": [{"class_id": 0, "left": ..., "top": ..., '
    '"width": ..., "height": ...}]}; other output of Ground Truth, such as that for video frames, is none'
)


def pack_pairs(
    records: Iterable[Record],
    target: CopiedRecords,
    findings: Findings,
    tally: Tally,
    progress: Progress,
    *,
    num_classes: int,
    examiner: Examiner,
) -> None:
    """Pack the images of a stream in which each is followed by its JSON, in the order they come.

    What is out of turn is a fault, after which nothing more is read.
    """
    items = examiner.in_order(
        lambda pair, judge: _examine(*pair, num_classes, judge),
        _in_pairs(records, findings),
        lambda pair: pair[0].payload,
    )
    pack_annotated(_without_faults(items, findings), target, findings, tally, progress)


def _in_pairs(records: Iterable[Record], findings: Findings) -> Iterator[tuple[Record, Record]]:
    image: Record | None = None
    for record in records:
        kind = kind_of(record.payload)
        if image is None and kind == "JSON":
            wrong = "and so is the one before" if record.number else "but an image must come first"
            findings.fault(f"{record.where} is JSON, {wrong}", TWO_ATTRIBUTES, COUNTED_FROM_0)
            return
        if image is None:
            image = record
        elif kind == "image":
            findings.fault(
                f"{record.where} is an image, and so is the one before: its annotations are missing",
                TWO_ATTRIBUTES,
                COUNTED_FROM_0,
            )
            return
        else:
            yield image, record
            image = None
    if image is not None and not findings.faulty:
        findings.fault(
            f"{image.where} is the last one, an image without annotations behind it", TWO_ATTRIBUTES, COUNTED_FROM_0
        )


def _examine(image: Record, text: Record, num_classes: int, judge: Judge) -> tuple[AnnotatedImage, list[str]]:
    number = image.number // 2
    annotation, faults = parse_annotation(text.payload, f"pair {number}", num_classes=num_classes)
    where = f"{text.where} (pair {number})"
    facts = examine_image(image.payload, annotation.size, judge)
    return AnnotatedImage(f"pair {number}", where, annotation, facts), faults


def _without_faults(items: Iterable[tuple[AnnotatedImage, list[str]]], findings: Findings) -> Iterator[AnnotatedImage]:
    """Note what is wrong with the annotations, and pass on the images, which are counted and checked all the same."""
    for image, faults in items:
        for fault in faults:
            hint = COUNTED_FROM_0 if fault.startswith("box") else BOUNDING_BOXES
            findings.fault(f"{image.where}: {fault}", hint)
        yield image
