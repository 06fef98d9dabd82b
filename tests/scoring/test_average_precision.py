"""Average precision: cases worked out by hand."""

import warnings

import numpy as np
import pytest

from sagemaker_ssd.scoring.average_precision import AveragePrecision, Scores

LEFT = [0.0, 0.0, 0.25, 0.25]
RIGHT = [0.5, 0.5, 1.0, 1.0]
NOWHERE = [0.75, 0.0, 1.0, 0.25]
NO_DETECTIONS = np.zeros((0, 6))
NO_TRUTH = np.zeros((0, 5))


def score(*images, num_classes=1, overlap_threshold=0.5) -> Scores:
    metric = AveragePrecision(num_classes, overlap_threshold)
    for detections, truth in images:
        metric.add(np.array(detections), np.array(truth))
    return metric.result()


def test_right_wrong_right():
    truth = [[0, *LEFT], [0, *RIGHT]]
    detections = [[0, 0.7, *RIGHT], [0, 0.9, *LEFT], [0, 0.8, *NOWHERE]]
    scores = score((detections, truth))
    # By falling score: right, wrong, right. Precision 1, 1/2, 2/3; recall 1/2, 1/2, 1.
    # 11 points: 0 to 0.5 (6 of them) see 1, 0.6 to 1 (5) see 2/3.
    assert scores.mean == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)
    assert scores.all_points == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    # IoU is 1, so the ten overlaps agree; 101 points: 0 to 0.50 (51) see 1, the other 50 see 2/3.
    assert scores.coco == pytest.approx((51 + 50 * 2 / 3) / 101)
    (only,) = scores.per_class
    assert (only.class_id, only.boxes, only.detections) == (0, 2, 3)
    assert only.average_precision == scores.mean


def test_a_second_detection_of_an_object_is_wrong():
    truth = [[0, *LEFT], [0, *RIGHT]]
    detections = [[0, 0.9, *LEFT], [0, 0.8, *LEFT], [0, 0.7, *RIGHT]]
    # right, wrong (again LEFT), right: the curve of the case above
    assert score((detections, truth)).mean == pytest.approx((6 + 10 / 3) / 11)


def test_an_object_is_found_once_in_each_image():
    truth = [[0, *LEFT]]
    scores = score(([[0, 0.9, *LEFT]], truth), ([[0, 0.8, *LEFT]], truth))
    assert (scores.mean, scores.all_points, scores.coco) == pytest.approx((1, 1, 1))


def test_voc_looks_at_the_best_object_alone_and_coco_at_the_best_free_one():
    # IoU with the detection [0, 0, 1, .75]: first object 1, second (3/4 x 1) / 1 = 0.75.
    truth = [[0, 0, 0, 1, 0.75], [0, 0, 0, 1, 1]]
    detections = [[0, 0.9, 0, 0, 1, 0.75], [0, 0.8, 0, 0, 1, 0.75]]
    scores = score((detections, truth))
    # VOC: the second looks at the first object again and is wrong: recall 1/2 at precision 1.
    assert scores.mean == pytest.approx(6 / 11)
    assert scores.all_points == pytest.approx(0.5)
    # COCO: at 0.50 to 0.75 (6 overlaps) it takes the second object, all found; beyond: 51 of 101 points.
    assert scores.coco == pytest.approx((6 * 1 + 4 * 51 / 101) / 10)


def test_overlap_equal_to_the_threshold_is_enough():
    truth = [[0, 0, 0, 0.5, 0.5]]
    half = [[0, 0.9, 0, 0, 0.5, 0.25]]  # 0.125 / 0.25 = 0.5, exact in binary
    assert score((half, truth), overlap_threshold=0.5).mean == 1.0
    assert score((half, truth), overlap_threshold=0.51).mean == 0.0
    assert score((half, truth)).coco == pytest.approx(1 / 10)  # 0.50 alone of the ten


def test_difficult_objects_neither_help_nor_hurt():
    truth = [[0, *LEFT, 1], [0, *RIGHT, 0]]
    detections = [[0, 0.9, *LEFT], [0, 0.8, *LEFT], [0, 0.7, *RIGHT]]
    scores = score((detections, truth))
    # One object that counts, found; VOC leaves out both detections of the difficult one.
    assert scores.mean == pytest.approx(1.0)
    assert scores.per_class[0].boxes == 1
    assert scores.per_class[0].detections == 3
    # So does COCO, to which it is a crowd.
    assert scores.coco == pytest.approx(1.0)


def test_three_of_ten_objects_reach_recall_0_3():
    places = [[0.1 * i, 0, 0.1 * i + 0.05, 1] for i in range(10)]
    detections = [[0, 0.9, *place] for place in places[:3]]
    scores = score((detections, [[0, *place] for place in places]))
    assert scores.mean == pytest.approx(4 / 11)  # 0, 0.1, 0.2 and 0.3
    assert scores.all_points == pytest.approx(0.3)


def test_equal_scores_keep_the_order_added():
    right, wrong = ([[0, 0.5, *LEFT]], [[0, *LEFT]]), ([[0, 0.5, *LEFT]], NO_TRUTH)
    assert score(right, wrong).mean == pytest.approx(1.0)
    assert score(wrong, right).mean == pytest.approx(0.5)
    both = [[0, 0.5, *LEFT], [0, 0.5, *NOWHERE]]
    assert score((both, [[0, *LEFT]])).mean == pytest.approx(1.0)
    assert score((both[::-1], [[0, *LEFT]])).mean == pytest.approx(0.5)


def test_classes_are_apart_and_only_those_with_ground_truth_count():
    detections = [[0, 0.9, *LEFT], [1, 0.8, *RIGHT], [2, 0.7, *LEFT]]
    scores = score(
        (
            detections,
            [
                [0, *LEFT],
                [1, *LEFT],
                [
                    3,
                    *LEFT,
                ],
            ],
        ),
        num_classes=5,
    )
    # Class 0 found, class 1 in the wrong place, class 3 missed, classes 2 and 4 without ground truth.
    assert [one.average_precision for one in scores.per_class] == [1.0, 0.0, None, 0.0, None]
    assert [one.boxes for one in scores.per_class] == [1, 1, 0, 1, 0]
    assert [one.detections for one in scores.per_class] == [1, 1, 1, 0, 0]
    assert scores.per_class[2].coco is None
    assert scores.per_class[2].all_points is None
    assert (scores.mean, scores.all_points, scores.coco) == pytest.approx((1 / 3, 1 / 3, 1 / 3))


def test_suppressed_and_padding_rows_are_left_out():
    detections = [[-1, 0.9, *NOWHERE], [0, 0.8, *LEFT]]
    scores = score((detections, [[0, *LEFT], [-1, -1, -1, -1, -1]]))
    assert scores.mean == 1.0
    assert (scores.per_class[0].boxes, scores.per_class[0].detections) == (1, 1)


def test_coco_reads_an_images_first_hundred_detections_of_each_class():
    misses = [[0, 0.9, *NOWHERE]] * 99
    other_class = [[1, 0.95, *LEFT]] * 50
    image = [*misses, *other_class, [0, 0.5, *LEFT]]
    truth = [[0, *LEFT], [1, *LEFT]]
    assert score((image, truth), num_classes=2).per_class[0].coco == pytest.approx(1 / 100)
    image = [[0, 0.9, *NOWHERE], *image]
    scores = score((image, truth), num_classes=2).per_class[0]
    assert scores.coco == 0.0
    assert scores.average_precision == pytest.approx(1 / 101)  # VOC has no limit
    assert scores.detections == 101


@pytest.mark.parametrize("images", [[], [(NO_DETECTIONS, NO_TRUTH)], [([[1, 0.5, *LEFT]], NO_TRUTH)]])
def test_nothing_to_find(images):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = score(*images, num_classes=2)
    assert (scores.mean, scores.all_points, scores.coco) == (0.0, 0.0, 0.0)
    assert [one.average_precision for one in scores.per_class] == [None, None]


def test_equal_overlaps_go_to_the_first_object_in_voc_and_to_the_last_in_coco():
    # The first detection lies midway: IoU 0.4375 / 0.5625 = 0.778 with both; the objects have 0.6 in common.
    truth = [[0, 0, 0, 0.5, 1], [0, 0.125, 0, 0.625, 1]]
    detections = [[0, 0.9, 0.0625, 0, 0.5625, 1], [0, 0.8, 0, 0, 0.5, 1]]
    scores = score((detections, truth))
    # VOC: both look at the first object, so the second detection is wrong.
    assert scores.mean == pytest.approx(6 / 11)
    # COCO: the first takes the second object, the second its own: all found at 0.50 to 0.75; at 0.80 to 0.95
    # the first is wrong and the second right: precision 1/2 up to recall 1/2 (51 points).
    assert scores.coco == pytest.approx((6 * 1 + 4 * 0.5 * 51 / 101) / 10)


def test_coco_prefers_an_object_that_counts_to_a_difficult_one():
    truth = [[0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 0.75, 0]]
    scores = score(([[0, 0.9, 0, 0, 1, 1]], truth))
    assert scores.mean == 0.0  # VOC: it overlaps the difficult one most, and is not counted
    assert scores.coco == pytest.approx(6 / 10)  # 0.75 with the other: right at 0.50 to 0.75


def test_only_difficult_objects_are_no_ground_truth():
    scores = score(([[0, 0.9, *LEFT]], [[0, *LEFT, 1]]))
    assert scores.mean == 0.0
    assert scores.per_class[0].average_precision is None


def test_detections_of_a_network_gone_astray_are_wrong_and_nothing_else():
    broken = [
        [0, np.nan, *RIGHT],
        [0, 0.9, np.nan, np.nan, np.nan, np.nan],
        [0, 0.8, -np.inf, -np.inf, np.inf, np.inf],
        [0, 0.7, 0.25, 0.25, 0.0, 0.0],
        [np.nan, 0.9, *LEFT],
        [0, 0.6, *LEFT],
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = score((broken, [[0, *LEFT]]))
    assert scores.mean == pytest.approx(1 / 4)  # three wrong ones before; the score that is no number is last


def test_a_box_that_is_not_finite_hides_no_other_object():
    scores = score(([[0, 0.9, *LEFT]], [[0, np.nan, 0, 1, 1], [0, *LEFT]]))
    assert scores.mean == pytest.approx(6 / 11)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="num_classes is 0"):
        AveragePrecision(0, 0.5)
    for threshold in (0.0, 1.1):
        with pytest.raises(ValueError, match="overlap_threshold"):
            AveragePrecision(1, threshold)
    with pytest.raises(ValueError, match=r"detections has shape \(1, 5\)"):
        score((np.zeros((1, 5)), NO_TRUTH))
    with pytest.raises(ValueError, match="truth: class_id 3, but num_classes is 3"):
        score((NO_DETECTIONS, [[3, *LEFT]]), num_classes=3)
