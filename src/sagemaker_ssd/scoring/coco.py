"""Boxes as they are written to files, between fractions of an image and COCO's pixels.

The objects of a checked channel as COCO's instances: the truth that detections are held against.

The detections of a network on a checked channel, as COCO's results.

The figures of detections, computed from the very dictionaries that are written to files.
"""

import contextlib
import copy
import io
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sagemaker_ssd.batches.reader import evaluation_batches
from sagemaker_ssd.boxes import pairwise_overlap
from sagemaker_ssd.channels.images import displayed_size
from sagemaker_ssd.channels.record_file import RecordFile
from sagemaker_ssd.channels.recordio import is_empty, is_padding, read_payload, split_label, split_payload
from sagemaker_ssd.scoring.average_precision import AveragePrecision
from sagemaker_ssd.scoring.detector import Detector

_PIXEL_DIGITS, _SCORE_DIGITS = 2, 6


def corners_to_box(corners: NDArray[np.float32], width: int, height: int) -> list[float]:
    """Return COCO's [left, top, width, height] in pixels of xmin, ymin, xmax, ymax in fractions."""
    left, top, right, bottom = (
        float(value) * side for value, side in zip(corners, (width, height, width, height), strict=True)
    )
    return [round(value, _PIXEL_DIGITS) for value in (left, top, right - left, bottom - top)]


def box_to_corners(box: Sequence[float], width: int, height: int) -> list[float]:
    """Return the fractions that a box in pixels stands for."""
    left, top, wide, high = box
    return [left / width, top / height, (left + wide) / width, (top + high) / height]


def written_score(score: float) -> float:
    """Return a score as it is written."""
    return round(float(score), _SCORE_DIGITS)


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
        objects = objects[:0] if is_empty(objects) else objects[~is_padding(objects)]
        with_area = (objects[:, 3] > objects[:, 1]) & (objects[:, 4] > objects[:, 2])
        yield payload.image, objects[with_area]


# Of each image as many as COCO looks at; of many images fewer, since pycocotools takes 3 kB for each.
_OF_AN_IMAGE: Final = 100
_IN_ALL: Final = 300_000


def coco_results(
    detector: Detector,
    file: RecordFile,
    truth: dict[str, Any],
    *,
    batch_size: int,
    image_shape: int,
    mean: tuple[float, float, float],
    threads: int,
) -> list[dict[str, Any]]:
    """Detect on every image; return the best of each, by falling score: 100, fewer of more than 3,000 images.

    truth: the file's own, whose images tell their sizes.
    """
    results: list[dict[str, Any]] = []
    kept = max(1, min(_OF_AN_IMAGE, _IN_ALL // file.images))
    images = iter(truth["images"])
    batches = evaluation_batches(file, batch_size=batch_size, image_shape=image_shape, mean=mean, threads=threads)
    for batch in batches:
        for detections in detector.detect(batch.data):
            image = next(images)
            for class_id, score, *corners in detections[:kept].tolist():
                box = corners_to_box(corners, image["width"], image["height"])
                results.append(
                    {
                        "image_id": image["id"],
                        "category_id": int(class_id),
                        "bbox": box,
                        "score": written_score(score),
                    }
                )
    return results


# Which of COCOeval.stats is which.
_COCO: Final = {"mAP_coco": 0, "AP50": 1, "AP75": 2, "AP_small": 3, "AP_medium": 4, "AP_large": 5, "AR_100": 8}
_COCO_AP = "pycocotools on ground_truth.json and detections.json"
DEFINITIONS: Final = {
    "mAP": "VOC 2007: mean over the classes with objects of the 11-point average precision at IoU >= overlap_threshold",
    "mAP_all_points": "VOC 2010 and later: the same with the area under the curve",
    "mAP_coco": f"{_COCO_AP}: mean over IoU 0.50 to 0.95",
    "AP50": f"{_COCO_AP}: at IoU 0.50",
    "AP75": f"{_COCO_AP}: at IoU 0.75",
    "AP_small": f"{_COCO_AP}: objects below 32 x 32 pixels of the original image",
    "AP_medium": f"{_COCO_AP}: objects from 32 x 32 to 96 x 96 pixels",
    "AP_large": f"{_COCO_AP}: objects from 96 x 96 pixels on",
    "AR_100": f"{_COCO_AP}: recall, mean over IoU 0.50 to 0.95, with the best 100 detections of an image",
    "recall": "mean over the classes of the share of objects that a detection of their class, whatever its score, "
    "overlaps by overlap_threshold",
    "detections": "those in detections.json: the best 100 of each image, fewer of more than 3,000 images",
}


def figures(truth: dict[str, Any], results: list[dict[str, Any]], overlap_threshold: float) -> dict[str, Any]:
    """Return all figures of COCO's instances and results."""
    names = [category["name"] for category in truth["categories"]]
    objects, found = _by_image(truth, results)
    scores = AveragePrecision(len(names), overlap_threshold)
    for image in truth["images"]:
        scores.add(found[image["id"]], objects[image["id"]])
    result = scores.result()
    overall, of_class = _coco(truth, results)
    recalls = _recalls(objects, found, len(names), overlap_threshold)
    return {
        "mAP": result.mean,
        "mAP_all_points": result.all_points,
        **overall,
        "recall": float(np.mean([share for share in recalls if share is not None] or [0.0])),
        "overlap_threshold": overlap_threshold,
        "images": len(truth["images"]),
        "boxes": int(sum(one.boxes for one in result.per_class)),
        "detections": len(results),
        "classes": [
            {
                "class_id": one.class_id,
                "name": names[one.class_id],
                "boxes": one.boxes,
                "detections": one.detections,
                "average_precision": one.average_precision,
                "all_points": one.all_points,
                "coco": of_class[one.class_id],
                "recall": recalls[one.class_id],
            }
            for one in result.per_class
        ],
    }


def labels_of(truth: dict[str, Any]) -> list[Any]:
    """Return the objects (G, 6) of each image: class_id, corners in fractions, difficult."""
    return list(_by_image(truth, [])[0].values())


def _by_image(truth: dict[str, Any], results: list[dict[str, Any]]) -> tuple[dict[int, Any], dict[int, Any]]:
    """Return objects (G, 6) and detections (D, 6) of each image, in fractions of it."""
    sides = {image["id"]: (image["width"], image["height"]) for image in truth["images"]}
    objects: dict[int, list[Any]] = defaultdict(list)
    found: dict[int, list[Any]] = defaultdict(list)
    for one in truth["annotations"]:
        corners = box_to_corners(one["bbox"], *sides[one["image_id"]])
        objects[one["image_id"]].append([one["category_id"], *corners, one["ignore"]])
    for one in results:
        corners = box_to_corners(one["bbox"], *sides[one["image_id"]])
        found[one["image_id"]].append([one["category_id"], one["score"], *corners])
    return (
        {number: np.array(objects[number], np.float64).reshape(-1, 6) for number in sides},
        {number: np.array(found[number], np.float64).reshape(-1, 6) for number in sides},
    )


def _coco(truth: dict[str, Any], results: list[dict[str, Any]]) -> tuple[dict[str, float | None], list[float | None]]:
    """Return COCO's figures, and the AP of each class; None where there is nothing to count."""
    classes = [category["id"] for category in truth["categories"]]
    if not truth["annotations"]:
        return dict.fromkeys(_COCO), [None] * len(classes)
    if not results:
        # pycocotools takes no empty list. Whether there are objects of each size does not matter then.
        there = {one["category_id"] for one in truth["annotations"] if not one["iscrowd"]}
        return dict.fromkeys(_COCO, 0.0), [0.0 if number in there else None for number in classes]
    # pycocotools prints, and adds to what it is given.
    with contextlib.redirect_stdout(io.StringIO()):
        data = COCO()
        data.dataset = copy.deepcopy(truth)
        data.createIndex()
        evaluation = COCOeval(data, data.loadRes(copy.deepcopy(results)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # (overlaps, recalls, classes, sizes, numbers of detections); -1 where a class has no object.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    of_class = [float(part.mean()) if (part := precision[:, :, k]).max() > -1 else None for k in range(len(classes))]
    stats = {name: float(evaluation.stats[number]) for name, number in _COCO.items()}
    return {name: None if value < 0 else value for name, value in stats.items()}, of_class


def _recalls(
    objects: dict[int, Any], found: dict[int, Any], classes: int, overlap_threshold: float
) -> list[float | None]:
    """Return each class's share of objects, the difficult left out, that any detection of the class overlaps."""
    there, hit = np.zeros(classes), np.zeros(classes)
    for number, rows in objects.items():
        rows = rows[rows[:, 5] == 0]
        ids = rows[:, 0].astype(int)
        overlap = pairwise_overlap(found[number][:, 2:6], rows[:, 1:5])
        overlap[found[number][:, :1] != rows[:, 0]] = 0
        best = overlap.max(0, initial=0)
        there += np.bincount(ids, minlength=classes)
        hit += np.bincount(ids[best >= overlap_threshold], minlength=classes)
    return [float(hits / count) if count else None for hits, count in zip(hit, there, strict=True)]
