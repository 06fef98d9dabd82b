"""Matching and counting: against the engine's, and by hand."""

import numpy as np
import pytest
from report_samples import Instances

from sagemaker_ssd.boxes import best_iou_in_group, box_iou
from sagemaker_ssd.report.analysis import BACKGROUND, CLASSIFICATION, DUPLICATE, LOCALIZATION, analyse
from sagemaker_ssd.scoring.average_precision import AveragePrecision

BOX = [50.0, 50.0, 100.0, 100.0]


def random_set(seed: int, images: int = 30) -> Instances:
    """Crowded images with near misses, difficult objects, equal scores, and images without objects."""
    random = np.random.default_rng(seed)
    instances = Instances(images)
    for image in range(images):
        for _ in range(random.integers(0, 6)):
            box = [*random.uniform(0, 250, 2), *random.uniform(20, 120, 2)]
            class_id = int(random.integers(3))
            instances.object(image, class_id, box, difficult=random.random() < 0.2)
            for _ in range(random.integers(0, 4)):
                moved = (np.array(box) + random.normal(0, 15, 4)).clip(1).tolist()
                found = class_id if random.random() < 0.8 else int(random.integers(3))
                instances.detection(image, found, moved, float(random.integers(1, 20)) / 20)
    return instances


def corners(box: list[float]) -> list[float]:
    return [box[0] / 400, box[1] / 300, (box[0] + box[2]) / 400, (box[1] + box[3]) / 300]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("overlap_threshold", [0.5, 0.75])
def test_average_precision_is_the_engines(seed, overlap_threshold):
    instances = random_set(seed)
    metric = AveragePrecision(3, overlap_threshold)
    for image in instances.truth["images"]:
        found = [entry for entry in instances.detections if entry["image_id"] == image["id"]]
        objects = [entry for entry in instances.truth["annotations"] if entry["image_id"] == image["id"]]
        metric.add(
            np.array([[entry["category_id"], entry["score"], *corners(entry["bbox"])] for entry in found]),
            np.array([[e["category_id"], *corners(e["bbox"]), float(e.get("ignore", 0))] for e in objects]),
        )
    analysis = analyse(instances.truth, instances.detections, overlap_threshold)
    for expected, curve, boxes, detections in zip(
        metric.result().per_class, analysis.curves, analysis.boxes, analysis.detections, strict=True
    ):
        assert curve is not None
        assert (boxes, detections) == (expected.boxes, expected.detections)
        assert curve.voc07 == pytest.approx(expected.average_precision)
        assert curve.all_points == pytest.approx(expected.all_points)


def test_parts_of_a_large_set_are_one_set():
    """1,100 objects and 1,200 boxes in a group are more pairs than are compared at once."""
    random = np.random.default_rng(0)
    low = random.uniform(0, 200, (2300, 2))
    boxes = np.concatenate([low, low + random.uniform(10, 100, (2300, 2))], axis=1)
    groups = np.repeat([0, 7, 0, 9], [1100, 30, 1200 - 60, 30])
    overlaps, nearest = best_iou_in_group(boxes[1100:], groups[1100:], boxes[:1100], groups[:1100])
    expected = box_iou(boxes[1100:], boxes[:1100])
    alone = groups[1100:] != 0
    assert alone.sum() == 60
    np.testing.assert_allclose(overlaps[~alone], expected.max(axis=1)[~alone])
    np.testing.assert_array_equal(nearest[~alone], expected.argmax(axis=1)[~alone])
    np.testing.assert_array_equal(overlaps[alone], 0)
    np.testing.assert_array_equal(nearest[alone], -1)


def test_the_score_with_the_best_balance():
    instances = Instances(4, ("cat",))
    for image in range(4):
        instances.object(image, 0, BOX)
    for image, score in enumerate([0.9, 0.8, 0.55, 0.2]):
        instances.detection(image, 0, BOX, score)
    for score in (0.5, 0.4, 0.3):
        instances.detection(0, 0, [250, 150, 50, 50], score)
    # F1 is 2 right / (4 + counted): 0.55 gives 6 / 7, 0.2 gives 8 / 11.
    analysis = analyse(instances.truth, instances.detections, 0.5)
    assert analysis.score_threshold == 0.55
    assert (analysis.true_positives.tolist(), analysis.false_positives.tolist()) == ([3], [0])


def test_confusions_by_hand():
    instances = Instances(4)
    places = [[0.0, 0.0, 80.0, 80.0], [100.0, 0.0, 80.0, 80.0], [200.0, 0.0, 80.0, 80.0]]
    for image in range(4):
        instances.object(image, 0, places[0])
        instances.object(image, 1, places[1])
    instances.object(3, 2, places[2], difficult=True)
    for image in range(4):
        instances.detection(image, 0, places[0], 0.9)  # right
    instances.detection(0, 0, places[0], 0.85)  # repeated
    instances.detection(0, 2, places[1], 0.9)  # a dog taken for an owl
    instances.detection(0, 0, places[1], 0.88)  # the same dog again: on no free object
    instances.detection(1, 1, [140.0, 0.0, 80.0, 80.0], 0.9)  # IoU 40 / 120: loose
    instances.detection(2, 1, [300.0, 200.0, 80.0, 80.0], 0.9)  # on nothing
    instances.detection(3, 1, places[1], 0.9)  # right
    instances.detection(3, 2, places[2], 0.9)  # difficult: does not count
    analysis = analyse(instances.truth, instances.detections, 0.5)
    # F1 from 0.9 on: 5 right, 8 objects, 8 detections that count: 10 / 16; lower scores add none that is right.
    assert analysis.score_threshold == 0.9
    matrix = {(truth, found): count for truth, found, count in analysis.mistakes.confusions.tolist()}
    assert matrix == {(0, 0): 4, (1, 1): 1, (1, 2): 1, (1, 3): 2, (3, 1): 2}
    assert sorted(analysis.mistakes.kinds.tolist()) == sorted([CLASSIFICATION, LOCALIZATION, BACKGROUND])


def test_a_detection_beside_its_object_is_no_confusion_of_a_class_with_itself():
    instances = Instances(1, ("cat",))
    for height in (75.0, 100.0):  # IoU 0.75 with one another
        instances.object(0, 0, [0.0, 0.0, 100.0, height])
    for score in (0.95, 0.9):
        instances.detection(0, 0, [0.0, 0.0, 100.0, 75.0], score)
    instances.object(0, 0, [200.0, 0.0, 50.0, 50.0])
    instances.detection(0, 0, [200.0, 0.0, 50.0, 50.0], 0.9)
    analysis = analyse(instances.truth, instances.detections, 0.5)
    # The second one looks at the first object again: wrong, and the second object is missed.
    assert analysis.mistakes.confusions.tolist() == [[0, 0, 2], [0, 1, 1], [1, 0, 1]]


def test_every_kind_of_mistake():
    instances = Instances(12, ("cat", "dog"))
    for image in range(12):
        instances.object(image, 0, BOX)
        instances.detection(image, 0, BOX, 0.6)
    for score, class_id, box in (
        (0.6, 0, BOX),
        (0.7, 1, BOX),
        (0.65, 0, [120.0, 50.0, 100.0, 100.0]),
        (0.8, 0, [300.0, 200.0, 50.0, 50.0]),
    ):
        instances.detection(0, class_id, box, score)
    analysis = analyse(instances.truth, instances.detections, 0.5)
    assert analysis.score_threshold == 0.6
    assert analysis.mistakes.kinds.tolist() == [BACKGROUND, CLASSIFICATION, LOCALIZATION, DUPLICATE]


@pytest.mark.parametrize("seed", range(5))
def test_the_matrix_has_every_object_and_every_detection_once(seed):
    analysis = analyse(random_set(seed).truth, random_set(seed).detections, 0.5)
    matrix = np.zeros((4, 4), int)
    truth, found, count = analysis.mistakes.confusions.T
    matrix[truth, found] = count
    np.testing.assert_array_equal(matrix[:3].sum(axis=1), analysis.boxes)
    np.testing.assert_array_equal(matrix[:, :3].sum(axis=0), analysis.true_positives + analysis.false_positives)
    np.testing.assert_array_equal(np.diag(matrix)[:3], analysis.true_positives)


def test_boxes_of_unknown_images_and_numbers_that_are_not_finite_are_left_out():
    instances = Instances(2)
    instances.detection(0, 0, [float("nan"), 0.0, 10.0, 10.0], 0.9)
    instances.detection(0, 0, BOX, float("inf"))
    instances.detection(0, 0, BOX, float("nan"))
    instances.object(5, 0, BOX)
    instances.detection(5, 0, BOX, 0.9)
    analysis = analyse(instances.truth, instances.detections, 0.5)
    assert (len(analysis.validation.objects), len(analysis.validation.scores)) == (0, 0)
