"""COCO's formats: a channel's objects as its ground truth, a network's detections as its results, the figures of both.

The figures are computed from the very dictionaries that are written to files, so that anybody gets them from the files.
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

from sagemaker_ssd.batches.reader import LoaderOptions, evaluation_batches
from sagemaker_ssd.boxes import box_iou
from sagemaker_ssd.channels.images import upright_size
from sagemaker_ssd.channels.record_file import RecordFile
from sagemaker_ssd.channels.recordio import objects_with_area, read_payload, split_label, split_payload
from sagemaker_ssd.scoring.average_precision import COCO_MAX_DETECTIONS, AveragePrecision
from sagemaker_ssd.scoring.detector import Detector

GROUND_TRUTH_FILE, RESULTS_FILE = "ground_truth.json", "detections.json"
_PIXEL_DIGITS, _SCORE_DIGITS = 2, 6
# Of many images fewer results than COCO looks at, since pycocotools takes 3 kB for each.
_MAX_RESULTS: Final = 300_000


def to_coco_bbox(corners: Sequence[float] | NDArray[np.float32], width: int, height: int) -> list[float]:
    """Return COCO's [left, top, width, height] in pixels of xmin, ymin, xmax, ymax in fractions."""
    left, top, right, bottom = (
        float(value) * side for value, side in zip(corners, (width, height, width, height), strict=True)
    )
    return [round(value, _PIXEL_DIGITS) for value in (left, top, right - left, bottom - top)]


def from_coco_bbox(bbox: Sequence[float], width: int, height: int) -> list[float]:
    """Return xmin, ymin, xmax, ymax in fractions of COCO's [left, top, width, height] in pixels."""
    left, top, wide, high = bbox
    return [left / width, top / height, (left + wide) / width, (top + high) / height]


def coco_ground_truth(file: RecordFile, class_names: Sequence[str]) -> dict[str, Any]:
    """Return images, annotations and categories; boxes in pixels of the image as a viewer shows it.

    Image ids are the images' numbers in the channel. A difficult object has `ignore` and `iscrowd` 1.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (image, objects) in enumerate(_records(file)):
        width, height = upright_size(image)
        name = file.names[number] if file.names else f"record {number}"
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for class_id, *values in objects:
            bbox = to_coco_bbox(values[:4], width, height)
            difficult = len(values) > 4 and values[4] > 0
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": int(class_id),
                    "bbox": bbox,
                    "area": round(bbox[2] * bbox[3], 2),
                    # pycocotools looks at this alone.
                    "iscrowd": int(difficult),
                    "ignore": int(difficult),
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(class_names)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _records(file: RecordFile) -> Iterator[tuple[bytes, NDArray[np.float32]]]:
    """Yield each image and its objects (G, 5 or more), without those that have no area."""
    for begin, end in zip(file.offsets[:-1].tolist(), file.offsets[1:].tolist(), strict=True):
        payload = split_payload(read_payload(file.path, begin, end))
        yield payload.image, objects_with_area(split_label(payload.label))


def coco_results(
    detector: Detector,
    file: RecordFile,
    ground_truth: dict[str, Any],
    options: LoaderOptions,
) -> list[dict[str, Any]]:
    """Detect on every image; return the best of each, by falling score: 100, fewer of more than 3,000 images.

    ground_truth: the file's own, whose images tell their sizes.
    """
    results: list[dict[str, Any]] = []
    kept = max(1, min(COCO_MAX_DETECTIONS, _MAX_RESULTS // file.images))
    images = iter(ground_truth["images"])
    for batch in evaluation_batches(file, options):
        for detections in detector.detect(batch.data):
            image = next(images)
            for class_id, score, *corners in detections[:kept].tolist():
                results.append(
                    {
                        "image_id": image["id"],
                        "category_id": int(class_id),
                        "bbox": to_coco_bbox(corners, image["width"], image["height"]),
                        "score": round(float(score), _SCORE_DIGITS),
                    }
                )
    return results


# Which of COCOeval.stats is which.
_COCO_STATS: Final = {"mAP_coco": 0, "AP50": 1, "AP75": 2, "AP_small": 3, "AP_medium": 4, "AP_large": 5, "AR_100": 8}
_COCO_AP = f"pycocotools on {GROUND_TRUTH_FILE} and {RESULTS_FILE}"
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
    "detections": f"those in {RESULTS_FILE}: the best 100 of each image, fewer of more than 3,000 images",
}


def figures(ground_truth: dict[str, Any], results: list[dict[str, Any]], overlap_threshold: float) -> dict[str, Any]:
    """Return all figures of COCO's ground truth and results; `DEFINITIONS` says what they are."""
    names = [category["name"] for category in ground_truth["categories"]]
    objects, detections = ground_truth_arrays(ground_truth), _results_arrays(ground_truth, results)
    precision = AveragePrecision(len(names), overlap_threshold)
    for image_id, rows in objects.items():
        precision.add(detections[image_id], rows)
    scores = precision.result()
    stats, coco_of_class = _coco_figures(ground_truth, results)
    recalls = _recalls(objects, detections, len(names), overlap_threshold)
    return {
        "mAP": scores.mean,
        "mAP_all_points": scores.all_points,
        **stats,
        "recall": float(np.mean([share for share in recalls if share is not None] or [0.0])),
        "overlap_threshold": overlap_threshold,
        "images": len(ground_truth["images"]),
        "boxes": int(sum(one.boxes for one in scores.per_class)),
        "detections": len(results),
        "classes": [
            {
                "class_id": one.class_id,
                "name": names[one.class_id],
                "boxes": one.boxes,
                "detections": one.detections,
                "average_precision": one.average_precision,
                "all_points": one.all_points,
                "coco": coco_of_class[one.class_id],
                "recall": recalls[one.class_id],
            }
            for one in scores.per_class
        ],
    }


def ground_truth_arrays(ground_truth: dict[str, Any]) -> dict[int, NDArray[np.float64]]:
    """Return the objects (G, 6) of each image by its id: class_id, corners in fractions of the image, difficult."""
    sizes = _sizes(ground_truth)
    rows: dict[int, list[list[float]]] = defaultdict(list)
    for one in ground_truth["annotations"]:
        corners = from_coco_bbox(one["bbox"], *sizes[one["image_id"]])
        rows[one["image_id"]].append([one["category_id"], *corners, one["ignore"]])
    return {image_id: np.array(rows[image_id], np.float64).reshape(-1, 6) for image_id in sizes}


def _results_arrays(ground_truth: dict[str, Any], results: list[dict[str, Any]]) -> dict[int, NDArray[np.float64]]:
    """Return the detections (D, 6) of each image by its id: class_id, score, corners in fractions of the image."""
    sizes = _sizes(ground_truth)
    rows: dict[int, list[list[float]]] = defaultdict(list)
    for one in results:
        corners = from_coco_bbox(one["bbox"], *sizes[one["image_id"]])
        rows[one["image_id"]].append([one["category_id"], one["score"], *corners])
    return {image_id: np.array(rows[image_id], np.float64).reshape(-1, 6) for image_id in sizes}


def _sizes(ground_truth: dict[str, Any]) -> dict[int, tuple[int, int]]:
    return {image["id"]: (image["width"], image["height"]) for image in ground_truth["images"]}


def _coco_figures(
    ground_truth: dict[str, Any], results: list[dict[str, Any]]
) -> tuple[dict[str, float | None], list[float | None]]:
    """Return COCO's figures, and the AP of each class; None where there is nothing to count."""
    classes = [category["id"] for category in ground_truth["categories"]]
    if not ground_truth["annotations"]:
        return dict.fromkeys(_COCO_STATS), [None] * len(classes)
    if not results:
        # pycocotools takes no empty list. Whether there are objects of each size does not matter then.
        there = {one["category_id"] for one in ground_truth["annotations"] if not one["iscrowd"]}
        return dict.fromkeys(_COCO_STATS, 0.0), [0.0 if number in there else None for number in classes]
    # pycocotools prints, and adds to what it is given.
    with contextlib.redirect_stdout(io.StringIO()):
        data = COCO()
        data.dataset = copy.deepcopy(ground_truth)
        data.createIndex()
        evaluation = COCOeval(data, data.loadRes(copy.deepcopy(results)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # (IoU thresholds, recalls, classes, sizes, numbers of detections); -1 where a class has no object.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    of_class = [float(part.mean()) if (part := precision[:, :, k]).max() > -1 else None for k in range(len(classes))]
    stats = {name: float(evaluation.stats[number]) for name, number in _COCO_STATS.items()}
    return {name: None if value < 0 else value for name, value in stats.items()}, of_class


def _recalls(
    objects: dict[int, NDArray[np.float64]],
    detections: dict[int, NDArray[np.float64]],
    classes: int,
    overlap_threshold: float,
) -> list[float | None]:
    """Return each class's share of objects, the difficult left out, that any detection of the class overlaps."""
    boxes, found = np.zeros(classes), np.zeros(classes)
    for image_id, rows in objects.items():
        rows = rows[rows[:, 5] == 0]
        class_ids = rows[:, 0].astype(int)
        ious = box_iou(detections[image_id][:, 2:6], rows[:, 1:5])
        ious[detections[image_id][:, :1] != rows[:, 0]] = 0
        best = ious.max(0, initial=0)
        boxes += np.bincount(class_ids, minlength=classes)
        found += np.bincount(class_ids[best >= overlap_threshold], minlength=classes)
    return [float(hits / count) if count else None for hits, count in zip(found, boxes, strict=True)]
