"""What stands out: sentences on sets whose figures are worked out by hand."""

import re
from typing import Any

import pytest
from report_samples import Instances, epochs, report

BOX = [50.0, 50.0, 100.0, 100.0]
ASIDE = [250.0, 150.0, 100.0, 100.0]


def detected(images: int = 120, *, score: float = 0.9) -> Instances:
    """One cat in every image, each found."""
    instances = Instances(images, ("cat",))
    for image in range(images):
        instances.object(image, 0, BOX)
        instances.detection(image, 0, BOX, score)
    return instances


def sentences(tmp_path, instances: Instances, metrics: dict[str, Any] | None = None) -> str:
    text = report(tmp_path, instances, metrics).text
    begin = text.rindex("What stands out")
    return text[begin : text.index("Classes ", begin) if "Classes " in text[begin:] else None]


def test_nothing_unusual(tmp_path):
    scores = [0.5, 0.9, 0.89]
    found = sentences(tmp_path, detected(), {"epochs": epochs(scores), "best_epoch": 1})
    assert "Nothing unusual was found." in found


def test_small_sets_and_rare_classes(tmp_path):
    instances = detected(99)
    instances.truth["categories"] += [{"id": 1, "name": "dog"}, {"id": 2, "name": "owl"}]
    for image in range(19):
        instances.object(image, 1, ASIDE)
        instances.detection(image, 1, ASIDE, 0.9)
    metrics = {"data": {"train": {"boxes_per_class": [50, 49, 0]}}}
    found = sentences(tmp_path, instances, metrics)
    assert "The validation set is small (99 images)" in found
    assert "AP is uncertain: “dog” (19)." in found
    assert "Without a box in the validation data, and so left out of the mAP: “owl”." in found
    assert "to learn from in the training data: “owl” (0) and “dog” (49)." in found


def test_a_class_with_only_difficult_boxes_has_boxes(tmp_path):
    instances = detected()
    instances.truth["categories"].append({"id": 1, "name": "dog"})
    for image in range(30):
        instances.object(image, 1, ASIDE)
        instances.truth["annotations"][-1] |= {"ignore": 1, "iscrowd": 1}
    found = sentences(tmp_path, instances)
    assert "With only difficult boxes in the validation data, and so left out of the mAP: “dog”." in found
    assert "Without a box" not in found


def test_classes_that_are_never_or_badly_detected(tmp_path):
    instances = detected()
    instances.truth["categories"] += [{"id": 1, "name": "dog"}, {"id": 2, "name": "owl"}]
    for image in range(40):
        instances.object(image, 1, ASIDE)
        instances.object(image, 2, [0, 0, 30, 30])
        if image < 8:
            instances.detection(image, 1, ASIDE, 0.9)
    found = sentences(tmp_path, instances)
    assert "Never detected: “owl”." in found
    # dog: recall 0.2 at precision 1, so 3 of 11 points; the mean is (1 + 3/11 + 0) / 3 = 0.424, half of it 0.212,
    # below dog's 0.273.
    assert "AP below half" not in found
    for image in range(40, 42):
        instances.detection(image, 1, ASIDE, 0.99)
    # Two wrong ones before: precision at the 8th of 10 is 0.8, 3/11 of it is 0.218; the mean (1 + 0.218 + 0) / 3 is
    # 0.406, half of it 0.203. With twelve wrong ones precision is 0.4, AP 0.109, the mean 0.370.
    for image in range(42, 52):
        instances.detection(image, 1, ASIDE, 0.99)
    assert "AP below half of the mean (0.370): “dog” (0.109)." in sentences(tmp_path, instances)


def test_a_class_of_low_scores_alone_is_not_called_never_detected(tmp_path):
    """Where metrics.json counts more detections than are listed, its counts are those of the page."""
    instances = detected()
    instances.truth["categories"] += [{"id": 1, "name": "dog"}, {"id": 2, "name": "owl"}]
    for image in range(40):
        instances.object(image, 1, ASIDE)
        instances.object(image, 2, [0, 0, 30, 30])
    classes = [
        {"class_id": number, "average_precision": score, "detections": count}
        for number, score, count in ((0, 0.9, 1500), (1, 0.1, 300), (2, 0.0, 0))
    ]
    page = report(tmp_path, instances, {"best": {"mAP": 1 / 3, "classes": classes}})
    assert "Never detected: “owl”." in page.text
    assert "AP below half of the mean (0.333): “dog” (0.100)." in page.text
    assert "Of the 1,800 detections the 120 with the highest scores are counted and drawn on this page" in page.text
    text = (tmp_path / "report.html").read_text()
    for name, count in (("cat", "1,500"), ("dog", "300"), ("owl", "0")):
        (row,) = re.findall(rf'<th scope="row">{name}</th><td class="bar">.*</tr>', text)
        assert row.endswith(f"<td>{count}</td></tr>")


def test_one_class_taken_for_another(tmp_path):
    instances = detected()
    instances.truth["categories"].append({"id": 1, "name": "dog"})
    for image in range(30):
        instances.object(image, 1, ASIDE)
        instances.detection(image, 0 if image < 12 else 1, ASIDE, 0.9)
    found = sentences(tmp_path, instances)
    assert "Taken for another class: “dog” for “cat” (12 of 30)." in found
    assert "100 % of the 12 wrong detections with a score of 0.90 or more lie on an object of another class." in found


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (BOX, "are second boxes on an object that is found already"),
        ([120.0, 50.0, 100.0, 100.0], "lie on an object of their class, but fit too loosely"),  # IoU 30 / 170
        (ASIDE, "lie where there is no object, or one that is not labelled"),
    ],
)
def test_kinds_of_wrong_detections(tmp_path, box, expected):
    instances = detected()
    for image in range(20):
        instances.detection(image, 0, box, 0.95 if box is not BOX else 0.9)
    assert f"100 % of the 20 wrong detections with a score of 0.90 or more {expected}" in sentences(tmp_path, instances)


def test_images_without_objects(tmp_path):
    instances = detected(130)
    kept = [entry for entry in instances.truth["annotations"] if entry["image_id"] < 10 + 120]
    instances.truth["annotations"] = kept
    instances.detections = instances.detections[:127]
    found = sentences(tmp_path, instances)
    assert "Something is detected in 7 of the 10 images without objects, with a score of 0.90 or more." in found


def test_small_objects(tmp_path):
    instances = detected()
    for image in range(20):
        instances.object(image, 0, [300, 200, 31, 32])
    instances.detection(0, 0, [300, 200, 31, 32], 0.9)
    found = sentences(tmp_path, instances)
    assert "5 % of the 20 below 32 × 32 pixels are found, 100 % of the larger ones." in found


def test_nothing_detected_and_nothing_right(tmp_path):
    instances = detected()
    instances.detections = []
    assert "The model detects nothing at all in the validation images." in sentences(tmp_path, instances)
    instances.detection(0, 0, ASIDE, 0.9)
    assert "Not one detection is right." in sentences(tmp_path, instances)


def test_anchors(tmp_path):
    metrics = {
        "hyperparameters": {"image_shape": "300"},
        "anchors": {"boxes": 1000, "unmatched": 120, "smallest": 30.0, "below_smallest": 5},
    }
    found = sentences(tmp_path, detected(), metrics)
    assert "12 % of the boxes (120 of 1,000) overlap no anchor of the network by half" in found
    assert "under 1 % of the boxes (5) are smaller at image_shape 300 than the smallest anchor (30 pixels)" in found


@pytest.mark.parametrize(
    ("scores", "losses", "expected"),
    [
        ([0.1, 0.2, 0.3], None, "The last epoch is the best one (mAP 0.300): training was still improving."),
        (
            [0.1, 0.6, 0.5, 0.5, 0.5],
            [1.0, 0.8, 0.6, 0.5, 0.4],
            "best in epoch 1 (0.600) and fell to 0.500, the mean of the last 3 epochs, while the training loss went on "
            "falling: overfitting.",
        ),
        ([0.1, 0.6, 0.5, 0.5, 0.5], [1.0, 0.8, 0.9, 1.0, 1.1], "training became unstable."),
        ([0.0, 0.0, 0.0], None, "No epoch has a validation mAP above 0"),
        (
            [None] * 8,
            [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3],
            "still falling at the end (from 0.500 to 0.300 in the last 2 epochs)",
        ),
    ],
)
def test_the_course_of_the_training(tmp_path, scores, losses, expected):
    metrics = {"epochs": epochs(scores, losses), "best_epoch": scores.index(max(scores, key=lambda score: score or 0))}
    assert expected in sentences(tmp_path, detected(), metrics)


@pytest.mark.parametrize(
    ("optimizer", "remedy"),
    [("sgd", "A lower learning_rate, or lr_scheduler_step,"), ("adadelta", "Another optimizer, such as sgd,")],
)
def test_what_helps_an_unstable_training_depends_on_its_optimizer(tmp_path, optimizer, remedy):
    course = epochs([0.1, 0.6, 0.5, 0.5, 0.5], [1.0, 0.8, 0.9, 1.0, 1.1])
    metrics = {"epochs": course, "best_epoch": 1, "hyperparameters": {"optimizer": optimizer}}
    assert f"training became unstable. {remedy} may help." in sentences(tmp_path, detected(), metrics)


def test_a_steady_training_is_not_called_a_fall(tmp_path):
    scores = [0.1, 0.6, 0.57, 0.58, 0.56]
    found = sentences(tmp_path, detected(), {"epochs": epochs(scores), "best_epoch": 1, "ended_early": True})
    assert "fell to" not in found
    assert "Early stopping ended the job after 5 epochs." in found


def test_the_model_that_is_kept_is_named(tmp_path):
    course = epochs([0.1, 0.6, 0.4, 0.45, 0.4], [1.0, 0.8, 0.7, 0.6, 0.5])
    found = sentences(tmp_path, detected(), {"epochs": course, "best_epoch": 1})
    assert "overfitting. The model kept is that of the best epoch; more" in found


def test_a_kept_model_that_is_not_the_best_is_explained(tmp_path):
    course = epochs([0.1, 0.82, 0.3, 0.35, 0.4], [1.0, 0.8, 0.7, 0.6, 0.5])
    found = sentences(tmp_path, detected(), {"epochs": course, "best_epoch": 4, "ended_early": True})
    assert "The model kept is that of epoch 4, although epoch 1 has the highest mAP (0.820): that one's file" in found
    for verdict in ("overfitting", "still improving", "unstable"):
        assert verdict not in found
    assert "Early stopping ended the job after 5 epochs." in found


@pytest.mark.parametrize(
    ("scores", "since", "kept", "verdict"),
    [
        # The first three are of other data, and the .3 is the second one's of now, or the fourth epoch is better.
        ([0.9, 0.3, 0.8, 0.2, 0.1], 3, 1, None),
        ([0.9, 0.3, 0.8, 0.2, 0.1, 0.1], 3, 1, "The mAP was best in epoch 1 (0.300) and fell to 0.133"),
        ([0.9, 0.3, 0.8, 0.2, 0.4], 3, 4, "The last epoch is the best one (mAP 0.400)"),
        ([0.9, 0.3, 0.8, 0.4, 0.1, 0.1, 0.1, 0.1], 3, 3, "The mAP was best in epoch 3 (0.400) and fell to 0.100"),
        ([0.9, 0.0, 0.8, 0.0, 0.0], 3, 1, "No epoch has a validation mAP above 0"),
        # The one before the change has no figure but its losses.
        ([0.9, 0.3], 1, 1, "The last epoch is the best one (mAP 0.300)"),
    ],
)
def test_epochs_on_other_validation_data_are_not_compared(tmp_path, scores, since, kept, verdict):
    metrics = {"epochs": epochs(scores), "best_epoch": kept, "validation_since": since}
    found = sentences(tmp_path, detected(), metrics)
    said = [
        each for each in ("was best in", "last epoch is the best", "No epoch has", "model kept is") if each in found
    ]
    if verdict is None:
        assert not said, found
    else:
        assert verdict in found
        assert "although" not in found
    text = report(tmp_path, detected(), metrics).text
    earlier = "Epoch 0 was" if since == 1 else "Epochs 0 to 2 were"
    assert f"{earlier} scored on other validation data" in text
    assert (f"left out, but for that of epoch {kept}, which was scored anew." in text) == (kept < since)
    # In the table of the epochs: the .9 is of other data.
    assert re.search(r"\b0 1\.000 0\.500 – –", text), text
    assert "0.900" not in text[: text.index("Classes ", text.rindex("The figures of the epochs"))]
