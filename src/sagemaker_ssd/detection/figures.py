"""The figures of detections, computed from the very dictionaries that are written to files."""

import contextlib
import copy
import io
from collections import defaultdict
from typing import Any, Final

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sagemaker_ssd.detection.rounding import box_to_corners
from sagemaker_ssd.engine.average_precision import AveragePrecision
from sagemaker_ssd.engine.detection_matching import pairwise_overlap

DEFINITIONS: Final = {
    "mAP": "VOC 2007: mean over the classes with objects of the 11-point average precision at IoU >= overlap_threshold",
    "mAP_all_points": "VOC 2010: the same with the area under the curve",
    "coco": "pycocotools on ground_truth.json and detections.json; sizes in pixels of the original image: small below "
    "32 x 32, large from 96 x 96 on; AR100 is the recall with the best 100 detections of an image",
    "recall": "objects found at IoU >= overlap_threshold by a detection of their class, whatever its score",
    "detections": "those that are written, the best 100 of each image",
    "unmatched_objects": "objects that overlap no anchor by half, so that only the best anchor of each learns them",
}
# The order of COCOeval.stats.
_COCO: Final = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR1", "AR10", "AR100")
_COCO_SIZES: Final = ("AR_small", "AR_medium", "AR_large")


def figures(
    truth: dict[str, Any], results: list[dict[str, Any]], *, overlap_threshold: float, anchors: Any
) -> dict[str, Any]:
    """Return all figures; anchors: (A, 4) corners as fractions of the image, for the objects that match none."""
    classes = [category["name"] for category in truth["categories"]]
    objects, found = _by_image(truth, results)
    scores = AveragePrecision(len(classes), overlap_threshold)
    for image in truth["images"]:
        scores.add(found[image["id"]], objects[image["id"]])
    result = scores.result()
    overall, of_class = _coco(truth, results)
    recall = _recalls(objects, found, len(classes), overlap_threshold)
    return {
        "mAP": result.mean,
        "mAP_all_points": result.all_points,
        "coco": overall,
        "images": len(truth["images"]),
        "objects": int(sum(one.boxes for one in result.per_class)),
        "detections": len(results),
        "overlap_threshold": overlap_threshold,
        "unmatched_objects": _unmatched(objects, anchors),
        "classes": [
            {
                "class_id": one.class_id,
                "name": classes[one.class_id],
                "objects": one.boxes,
                "detections": one.detections,
                "average_precision": one.average_precision,
                "all_points": one.all_points,
                "coco": of_class[one.class_id],
                "recall": recall[one.class_id],
            }
            for one in result.per_class
        ],
        "definitions": DEFINITIONS,
    }


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
    """Return COCO's twelve figures, and the AP of each class; None where there is nothing to count."""
    classes = [category["id"] for category in truth["categories"]]
    if not results or not truth["annotations"]:
        return dict.fromkeys((*_COCO, *_COCO_SIZES)), [None] * len(classes)
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
    stats = [None if value < 0 else float(value) for value in evaluation.stats]
    return dict(zip((*_COCO, *_COCO_SIZES), stats, strict=True)), of_class


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


def _unmatched(objects: dict[int, Any], anchors: Any) -> int:
    boxes = np.concatenate([rows[:, 1:5] for rows in objects.values()] or [np.zeros((0, 4))])
    pieces = [boxes[begin : begin + 256] for begin in range(0, len(boxes), 256)]
    return int(sum((pairwise_overlap(piece, anchors).max(1) < 0.5).sum() for piece in pieces))
