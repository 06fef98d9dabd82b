"""The objects of a checked channel as COCO's instances: the truth that detections are held against."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.data import RecordFile
from sagemaker_ssd.data.images import displayed_size
from sagemaker_ssd.data.labels import filling, is_empty, split_label, split_payload
from sagemaker_ssd.data.recordio import read_payload
from sagemaker_ssd.detection.rounding import corners_to_box

_DIFFICULT_COLUMN = 5


def coco_truth(file: RecordFile, class_names: Sequence[str]) -> dict[str, Any]:
    """Return images, annotations and categories; boxes in pixels of the image as a viewer shows it.

    Image ids are the images' numbers in the channel. A difficult object has `ignore` and `iscrowd` 1.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (image, objects) in enumerate(_records(file)):
        width, height = displayed_size(image)
        name = file.names[number] if file.names else f"record {number}"
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for row in objects:
            box = corners_to_box(row[1:5], width, height)
            difficult = len(row) > _DIFFICULT_COLUMN and row[_DIFFICULT_COLUMN] > 0
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": int(row[0]),
                    "bbox": box,
                    "area": round(box[2] * box[3], 2),
                    # pycocotools looks at this alone.
                    "iscrowd": int(difficult),
                    "ignore": int(difficult),
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(class_names)]
    return {"images": images, "annotations": annotations, "categories": categories}


def image_of(file: RecordFile, number: int) -> bytes:
    """Return the image file of one record."""
    begin, end = (int(offset) for offset in file.offsets[number : number + 2])
    return split_payload(read_payload(file.path, begin, end)).image


def _records(file: RecordFile) -> Iterator[tuple[bytes, NDArray[np.float32]]]:
    """Yield each image and its objects (G, 5 or more), without those that have no area."""
    for begin, end in zip(file.offsets[:-1].tolist(), file.offsets[1:].tolist(), strict=True):
        payload = split_payload(read_payload(file.path, begin, end))
        objects = split_label(payload.label)
        objects = objects[:0] if is_empty(objects) else objects[~filling(objects)]
        with_area = (objects[:, 3] > objects[:, 1]) & (objects[:, 4] > objects[:, 2])
        yield payload.image, objects[with_area]
