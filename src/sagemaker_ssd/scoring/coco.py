"""COCO's formats: a channel's objects as its ground truth, a network's detections as its results, the figures of both.

The figures are computed from the very numbers that are written to files, so that anybody gets them from the files.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.batches.reader import LoaderOptions, evaluation_batches
from sagemaker_ssd.boxes import box_iou
from sagemaker_ssd.channels.images import upright_size
from sagemaker_ssd.channels.record_file import RecordFile
from sagemaker_ssd.channels.recordio import objects_with_area, read_payload, split_label, split_payload
from sagemaker_ssd.contract.environment import BEST_CLASS
from sagemaker_ssd.progress import images_line, progress_lines
from sagemaker_ssd.scoring.average_precision import AveragePrecision
from sagemaker_ssd.scoring.detector import Detector

GROUND_TRUTH_FILE, RESULTS_FILE = "ground_truth.json", "detections.json"
_PIXEL_DIGITS, _SCORE_DIGITS = 3, 7
# Of the file: pycocotools takes 3 kB for each, and whoever reads the file wants to have the memory for it.
MAX_RESULTS: Final = 300_000
# By the image's id its detections (D, 6): class_id, score, left, top, width, height in pixels, by falling score.
Detections = dict[int, NDArray[np.float64]]


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


def coco_ground_truth(
    file: RecordFile, class_names: Sequence[str], numbers: Sequence[int] | None = None
) -> dict[str, Any]:
    """Return images, annotations and categories; boxes in pixels of the image as a viewer shows it.

    Image ids are the images' numbers in the channel. A difficult object has `ignore` and `iscrowd` 1. numbers: of the
    images that are wanted; None: all.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    numbers = range(file.images) if numbers is None else numbers
    for number, (image, objects) in zip(numbers, _records(file, numbers), strict=True):
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
                    "area": round(bbox[2] * bbox[3], _PIXEL_DIGITS),
                    # pycocotools looks at this alone.
                    "iscrowd": int(difficult),
                    "ignore": int(difficult),
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(class_names)]
    # pycocotools 2.0.9 and later want to find info and licenses.
    return {
        "info": {"description": f"{len(images)} images of a checked channel, and their objects"},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }


def _records(file: RecordFile, numbers: Sequence[int]) -> Iterator[tuple[bytes, NDArray[np.float32]]]:
    """Yield each image and its objects (G, 5 or more), without those that have no area."""
    for number in numbers:
        begin, end = file.offsets[number : number + 2].tolist()
        payload = split_payload(read_payload(file.path, begin, end))
        yield payload.image, objects_with_area(split_label(payload.label))


def detect_channel(
    detector: Detector,
    file: RecordFile,
    ground_truth: dict[str, Any],
    options: LoaderOptions,
) -> Detections:
    """Detect on every image and return all that is found.

    ground_truth: the file's own, whose images tell their sizes. Raises UserError when a prediction of the network is
    not a finite number.
    """
    detections: Detections = {}
    images = iter(ground_truth["images"])
    with progress_lines(lambda seconds: images_line("Detection", len(detections), file.images, seconds)):
        for batch in evaluation_batches(file, options):
            for found in detector.detect(batch.data):
                image = next(images)
                detections[image["id"]] = to_coco_rows(found, image["width"], image["height"])
            detector.check_finite()
    return detections


def to_coco_rows(found: NDArray[np.floating[Any]], width: int, height: int) -> NDArray[np.float64]:
    """Return rows of class_id, score, left, top, width, height, in pixels, (D, 6), as the files have them.

    found: (D, 6) of an image of that size: class_id, score, xmin, ymin, xmax, ymax in fractions.
    """
    rows = found.astype(np.float64)
    corners = rows[:, 2:] * (width, height, width, height)
    rows[:, 1] = rows[:, 1].round(_SCORE_DIGITS)
    rows[:, 2:4] = corners[:, :2].round(_PIXEL_DIGITS)
    rows[:, 4:] = (corners[:, 2:] - corners[:, :2]).round(_PIXEL_DIGITS)
    return rows


def coco_results(detections: Detections, most: int = MAX_RESULTS) -> list[dict[str, Any]]:
    """Return the detections as COCO's results; of more than `most` those with the highest scores."""
    scores = np.concatenate([np.zeros(0), *(rows[:, 1] for rows in detections.values())])
    listed = np.ones(len(scores), np.bool_)
    if len(scores) > most:
        listed[np.argsort(-scores, kind="stable")[most:]] = False
    chosen = iter(listed.tolist())
    return [
        {"image_id": image_id, "category_id": int(class_id), "bbox": bbox, "score": score}
        for image_id, rows in detections.items()
        for class_id, score, *bbox in rows.tolist()
        if next(chosen)
    ]


_LISTED = f"{RESULTS_FILE} has the {MAX_RESULTS:,} with the highest scores where there are more"
_COCO_AP = f"as pycocotools computes it from {GROUND_TRUTH_FILE} and {RESULTS_FILE}"
DEFINITIONS: Final = {
    "mAP": "VOC 2007: mean over the classes with objects of the 11-point average precision at IoU >= overlap_threshold",
    "mAP_all_points": "VOC 2010 and later: the same with the area under the curve",
    "mAP_coco": f"{_COCO_AP}: mean over IoU 0.50 to 0.95",
    "AP50": f"{_COCO_AP}: at IoU 0.50",
    "AP75": f"{_COCO_AP}: at IoU 0.75",
    "AP_small": f"{_COCO_AP}: objects below 32 x 32 pixels of the original image",
    "AP_medium": f"{_COCO_AP}: objects from 32 x 32 to 96 x 96 pixels",
    "AP_large": f"{_COCO_AP}: objects from 96 x 96 pixels on",
    "AR_100": f"{_COCO_AP}: recall, mean over IoU 0.50 to 0.95, with an image's best 100 detections of each class",
    "recall": "mean over the classes of the share of objects that a detection of their class, whatever its score, "
    "overlaps by overlap_threshold",
    "detections": "all that are left after non-maximum suppression, as after every epoch; all figures are of them. "
    f"{_LISTED}",
}


def definitions(detections: str) -> dict[str, str]:
    """Return the definitions of the figures of detections of that kind, BEST_CLASS or ALL_CLASSES."""
    if detections == BEST_CLASS:
        return DEFINITIONS
    return {
        **DEFINITIONS,
        "detections": "of every class of an anchor that scores enough, all that are left after non-maximum suppression "
        "within each class, at most nms_topk of an image; all figures are of them, where those of a training job are "
        f"of {BEST_CLASS}. {_LISTED}",
    }


def figures(ground_truth: dict[str, Any], detections: Detections, overlap_threshold: float) -> dict[str, Any]:
    """Return all figures of COCO's ground truth and of detections; `DEFINITIONS` says what they are."""
    names = [category["name"] for category in ground_truth["categories"]]
    objects, areas = _objects(ground_truth)
    precision = AveragePrecision(len(names), overlap_threshold, by_area=True)
    recall = _Recall(len(names), overlap_threshold)
    for image_id, rows in objects.items():
        found = detections[image_id]
        corners = np.hstack([found[:, :4], found[:, 2:4] + found[:, 4:]])
        precision.add(corners, rows, (found[:, 4] * found[:, 5], areas[image_id]))
        recall.add(corners, rows)
    scores, coco, recalls = precision.result(), precision.coco_figures(), recall.of_classes()
    return {
        "mAP": scores.mean,
        "mAP_all_points": scores.all_points,
        "mAP_coco": coco.mean,
        "AP50": coco.at_50,
        "AP75": coco.at_75,
        "AP_small": coco.small,
        "AP_medium": coco.medium,
        "AP_large": coco.large,
        "AR_100": coco.recall,
        "recall": float(np.mean([share for share in recalls if share is not None] or [0.0])),
        "overlap_threshold": overlap_threshold,
        "images": len(ground_truth["images"]),
        "boxes": int(sum(one.boxes for one in scores.per_class)),
        "detections": sum(len(rows) for rows in detections.values()),
        "classes": [
            {
                "class_id": one.class_id,
                "name": names[one.class_id],
                "boxes": one.boxes,
                "detections": one.detections,
                "average_precision": one.average_precision,
                "all_points": one.all_points,
                "coco": one.coco,
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


def _sizes(ground_truth: dict[str, Any]) -> dict[int, tuple[int, int]]:
    return {image["id"]: (image["width"], image["height"]) for image in ground_truth["images"]}


def _objects(ground_truth: dict[str, Any]) -> tuple[dict[int, NDArray[np.float64]], dict[int, NDArray[np.float64]]]:
    """Return each image's objects (G, 6), class_id, corners in pixels, difficult, and their areas (G,), by its id."""
    rows: dict[int, list[list[float]]] = defaultdict(list)
    areas: dict[int, list[float]] = defaultdict(list)
    for one in ground_truth["annotations"]:
        left, top, wide, high = one["bbox"]
        rows[one["image_id"]].append([one["category_id"], left, top, left + wide, top + high, one["ignore"]])
        areas[one["image_id"]].append(one["area"])
    ids = [image["id"] for image in ground_truth["images"]]
    return {number: _rows(rows[number]) for number in ids}, {number: np.array(areas[number]) for number in ids}


def _rows(rows: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    return np.array(rows, np.float64).reshape(-1, 6)


class _Recall:
    """Each class's share of objects, the difficult left out, that any detection of the class overlaps."""

    def __init__(self, classes: int, overlap_threshold: float) -> None:
        self._boxes, self._found = np.zeros(classes), np.zeros(classes)
        self._overlap_threshold = overlap_threshold

    def add(self, found: NDArray[np.float64], objects: NDArray[np.float64]) -> None:
        """Count an image's objects; found and objects as `AveragePrecision.add` takes them."""
        objects = objects[objects[:, 5] == 0]
        class_ids = objects[:, 0].astype(int)
        ious = box_iou(found[:, 2:6], objects[:, 1:5])
        ious[found[:, :1] != objects[:, 0]] = 0
        best = ious.max(0, initial=0)
        self._boxes += np.bincount(class_ids, minlength=len(self._boxes))
        self._found += np.bincount(class_ids[best >= self._overlap_threshold], minlength=len(self._boxes))

    def of_classes(self) -> list[float | None]:
        """Return the share of each class, None without objects."""
        return [float(found / boxes) if boxes else None for found, boxes in zip(self._found, self._boxes, strict=True)]
