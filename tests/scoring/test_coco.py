"""The published figures, beside pycocotools on the files and GluonCV's metric on the same boxes."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sagemaker_ssd.scoring.average_precision import AveragePrecision
from sagemaker_ssd.scoring.coco import (
    GROUND_TRUTH_FILE,
    RESULTS_FILE,
    Detections,
    coco_results,
    figures,
    from_coco_bbox,
    to_coco_bbox,
    to_coco_rows,
)
from sagemaker_ssd.scoring.evaluate import Evaluation

CLASSES, IMAGES = 4, 40


def read_results(results: list[dict[str, Any]], ground_truth: dict[str, Any]) -> Detections:
    """Read COCO's results as detections (D, 6) of each image of a ground truth."""
    rows: dict[int, list[list[float]]] = {image["id"]: [] for image in ground_truth["images"]}
    for one in results:
        rows[one["image_id"]].append([one["category_id"], one["score"], *one["bbox"]])
    return {image_id: np.array(found, np.float64).reshape(-1, 6) for image_id, found in rows.items()}


def drawn(seed: int, *, difficult: bool) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Objects of all sizes, detections near them and elsewhere; the last class has no object."""
    random = np.random.RandomState(seed)
    images, annotations, results = [], [], []
    for image in range(IMAGES):
        width, height = int(random.randint(100, 900)), int(random.randint(100, 900))
        images.append({"id": image, "file_name": f"{image}.jpg", "width": width, "height": height})
        for _ in range(random.randint(0, 6)):
            corner = random.uniform(0, 0.7, 2)
            corners = np.append(corner, corner + random.uniform(0.03, 0.3, 2)).astype(np.float32)
            box = to_coco_bbox(corners, width, height)
            category = int(random.randint(0, CLASSES - 1))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": category,
                    "bbox": box,
                    "area": round(box[2] * box[3], 2),
                    **dict.fromkeys(("iscrowd", "ignore"), int(difficult and random.rand() < 0.2)),
                }
            )
            for _ in range(random.randint(0, 4)):
                shaken = corners + random.normal(0, 0.02, 4).astype(np.float32)
                shaken[2:] = np.maximum(shaken[2:], shaken[:2] + 0.01)
                found = category if random.rand() < 0.8 else int(random.randint(0, CLASSES))
                score = round(float(random.rand()), 6)
                box = to_coco_bbox(shaken, width, height)
                results.append({"image_id": image, "category_id": found, "bbox": box, "score": score})
    categories = [{"id": number, "name": f"class {number}"} for number in range(CLASSES)]
    truth = {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": categories}
    return truth, results


def theirs(folder: Path) -> COCOeval:
    """pycocotools on the two files in a folder."""
    with contextlib.redirect_stdout(io.StringIO()):
        data = COCO(str(folder / GROUND_TRUTH_FILE))
        evaluation = COCOeval(data, data.loadRes(str(folder / RESULTS_FILE)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


@pytest.mark.parametrize("difficult", [False, True])
def test_anybody_with_pycocotools_gets_the_same_figures_from_the_files(tmp_path: Path, difficult: bool) -> None:
    truth, results = drawn(1, difficult=difficult)
    published = figures(truth, read_results(results, truth), 0.5)
    Evaluation(truth, results, published, {}).write(tmp_path)
    evaluation = theirs(tmp_path)
    names = ("mAP_coco", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR_100")
    for name, value in zip(names, [*evaluation.stats[:6], evaluation.stats[8]], strict=True):
        assert published[name] == pytest.approx(value, abs=1e-6), name
    for number in range(CLASSES - 1):
        alone = evaluation.eval["precision"][:, :, number, 0, -1].mean()
        assert published["classes"][number]["coco"] == pytest.approx(alone, abs=1e-6)
    assert published["classes"][CLASSES - 1]["coco"] is None
    assert json.loads((tmp_path / GROUND_TRUTH_FILE).read_text()) == truth


def test_gluoncv_gets_the_same_voc_figures() -> None:
    from gluoncv.utils.metrics.voc_detection import VOC07MApMetric

    truth, results = drawn(2, difficult=False)
    published = figures(truth, read_results(results, truth), 0.5)
    metric = VOC07MApMetric(iou_thresh=0.5, class_names=[str(number) for number in range(CLASSES)])
    for image in truth["images"]:
        sides = image["width"], image["height"]

        def rows(entries: list[dict[str, Any]], number: int = image["id"], sides: tuple[int, int] = sides) -> Any:
            return [entry for entry in entries if entry["image_id"] == number], sides

        found, _ = rows(results)
        objects, _ = rows(truth["annotations"])
        # On large numbers the pixel that it adds to each side does not count.
        boxes = [
            mx.nd.array(
                [[10_000 * value for value in from_coco_bbox(one["bbox"], *sides)] for one in part] or [[-1] * 4]
            )
            for part in (found, objects)
        ]
        ids = [mx.nd.array([one["category_id"] for one in part] or [-1]) for part in (found, objects)]
        scores = mx.nd.array([one["score"] for one in found] or [-1])
        metric.update(boxes[0][None], ids[0][None], scores[None], boxes[1][None], ids[1][None])
    _, values = metric.get()
    for number in range(CLASSES - 1):
        assert published["classes"][number]["average_precision"] == pytest.approx(values[number], abs=1e-3)
    assert published["mAP"] == pytest.approx(np.mean(values[: CLASSES - 1]), abs=1e-3)


def test_counts_and_recall_are_as_by_hand() -> None:
    truth = {
        "images": [{"id": 0, "file_name": "a", "width": 100, "height": 100}],
        "annotations": [
            {
                "id": 1,
                "image_id": 0,
                "category_id": 0,
                "bbox": [20, 20, 40, 40],
                "area": 1600,
                "iscrowd": 0,
                "ignore": 0,
            },
            {"id": 2, "image_id": 0, "category_id": 0, "bbox": [90, 90, 5, 5], "area": 25, "iscrowd": 0, "ignore": 0},
        ],
        "categories": [{"id": 0, "name": "cat"}],
    }
    results = [{"image_id": 0, "category_id": 0, "bbox": [20, 20, 40, 38], "score": 0.02}]
    published = figures(truth, read_results(results, truth), 0.5)
    (of_class,) = published["classes"]
    assert (of_class["boxes"], of_class["detections"], of_class["recall"]) == (2, 1, 0.5)
    assert (published["boxes"], published["detections"], published["images"]) == (2, 1, 1)
    # Recall 0.5 with precision 1: six of eleven points.
    assert published["mAP"] == pytest.approx(6 / 11)
    assert published["mAP_all_points"] == pytest.approx(0.5)


def test_a_difficult_object_that_is_missed_costs_nothing_by_any_definition() -> None:
    box = {"image_id": 0, "category_id": 0, "area": 400}
    truth = {
        "images": [{"id": 0, "file_name": "a", "width": 100, "height": 100}],
        "annotations": [
            {**box, "id": 1, "bbox": [10, 10, 20, 20], "iscrowd": 0, "ignore": 0},
            {**box, "id": 2, "bbox": [60, 60, 20, 20], "iscrowd": 1, "ignore": 1},
        ],
        "categories": [{"id": 0, "name": "cat"}],
    }
    results = [{"image_id": 0, "category_id": 0, "bbox": [10, 10, 20, 20], "score": 0.9}]
    published = figures(truth, read_results(results, truth), 0.5)
    assert (published["mAP"], published["mAP_coco"], published["recall"]) == (1.0, pytest.approx(1.0), 1.0)


def crowded(objects: int) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """One image of many objects that do not touch; its labels; and detections of all, the best ones first."""
    corners = np.array([[x, y] for y in range(15) for x in range(20)][:objects]) / (20, 15)
    boxes = np.hstack([corners, corners + np.array([0.04, 0.05])]).astype(np.float32)
    labels = np.column_stack([np.zeros(objects), boxes, np.zeros(objects)])
    detections = np.column_stack([np.zeros(objects), np.linspace(0.9, 0.1, objects), boxes])
    annotations = [
        {"id": number + 1, "image_id": 0, "category_id": 0, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        | {"ignore": 0}
        for number, box in enumerate(to_coco_bbox(row, 640, 480) for row in boxes)
    ]
    images = [{"id": 0, "file_name": "a", "width": 640, "height": 480}]
    truth = {"images": images, "annotations": annotations, "categories": [{"id": 0, "name": "cat"}]}
    return truth, labels, detections


def test_more_than_100_detections_of_an_image_count_as_they_do_after_an_epoch() -> None:
    truth, labels, detections = crowded(150)
    of_epoch = AveragePrecision(1, 0.5)
    of_epoch.add(detections, labels)
    published = figures(truth, {0: to_coco_rows(detections, 640, 480)}, 0.5)
    scores = of_epoch.result()
    assert (published["mAP"], published["mAP_all_points"], published["recall"]) == (1.0, 1.0, 1.0)
    assert (published["mAP"], published["mAP_all_points"]) == (scores.mean, scores.all_points)
    assert published["mAP_coco"] == pytest.approx(scores.coco)
    # COCO's rule is 100 of each class, in both places.
    assert published["mAP_coco"] == pytest.approx(67 / 101, abs=1e-3)
    assert (published["detections"], published["classes"][0]["detections"]) == (150, 150)


@pytest.mark.parametrize("extra", [0, 1, 5])
@pytest.mark.parametrize("inside", [False, True])
def test_difficult_objects_mean_the_same_after_an_epoch_in_the_figures_and_to_pycocotools(
    tmp_path: Path, extra: int, inside: bool
) -> None:
    """The difficult object is found again and again, whole or in parts, with higher scores than the other one."""
    truth, labels, detections = crowded(2)
    labels[0, 5] = 1
    truth["annotations"][0] |= {"iscrowd": 1, "ignore": 1}
    more = np.repeat(detections[:1], extra, axis=0)
    if inside:
        # IoU 0.25, and all of the detection is in the object.
        more[:, 4:] = (more[:, 2:4] + more[:, 4:]) / 2
    detections = np.vstack([more, detections])
    of_epoch = AveragePrecision(1, 0.5)
    of_epoch.add(detections, labels)
    rows = {0: to_coco_rows(detections, 640, 480)}
    published = figures(truth, rows, 0.5)
    assert published["mAP_coco"] == pytest.approx(1.0)
    assert published["mAP_coco"] == pytest.approx(of_epoch.result().coco)
    Evaluation({**truth, "info": {}, "licenses": []}, coco_results(rows), published, {}).write(tmp_path)
    assert theirs(tmp_path).stats[0] == pytest.approx(1.0)


def test_a_file_of_many_detections_has_the_best_and_the_figures_are_of_all() -> None:
    truth, _, detections = crowded(150)
    rows = {0: to_coco_rows(detections, 640, 480)}
    listed = coco_results(rows, most=40)
    assert [one["score"] for one in listed] == rows[0][:40, 1].tolist()
    assert len(coco_results(rows)) == 150
    assert figures(truth, rows, 0.5)["detections"] == 150


@pytest.mark.parametrize("part", ["no detections", "no objects"])
def test_nothing_to_score_gives_no_figures(part: str) -> None:
    truth, results = drawn(3, difficult=False)
    if part == "no detections":
        results = []
    else:
        truth["annotations"] = []
    published = figures(truth, read_results(results, truth), 0.5)
    assert published["mAP"] == 0.0
    assert published["mAP_coco"] == (0.0 if part == "no detections" else None)
    json.dumps(published, allow_nan=False)
