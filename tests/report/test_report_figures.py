"""The figures: those of metrics.json where it has them, the report's own where it has none."""

import pytest
from report_samples import METRICS, Instances, check, mixed, report

BOX = [50.0, 50.0, 100.0, 100.0]


def test_the_lowest_classes_come_first_and_those_without_boxes_last(tmp_path):
    instances = Instances(2, ("found", "absent", "missed"))
    for image in range(2):
        instances.object(image, 0, BOX)
        instances.detection(image, 0, BOX, 0.9)
    instances.object(0, 2, [200.0, 50.0, 50.0, 50.0])
    text = report(tmp_path, instances).text
    # Name, AP, AP of all points, COCO's, boxes, found, recall, missed, wrong, detections.
    rows = "missed 0.000 0.000 – 1 0 0 % 1 0 0 found 1.000 1.000 – 2 2 100 % 0 0 2 absent – – – 0 0 – 0 0 0"
    assert rows in text


def test_figures_of_the_kept_model(tmp_path):
    classes = [
        {"class_id": 0, "average_precision": 0.25, "all_points": 0.5, "coco": 0.125, "recall": 1.0},
        {"class_id": 1, "average_precision": None, "all_points": None, "coco": None, "recall": None},
        {"class_id": 2, "average_precision": 0.75, "all_points": 0.5, "coco": 0.375, "recall": 1.0},
    ]
    best = {"mAP": 0.5004, "mAP_coco": 0.25, "AP50": 0.5, "AP_small": None, "AR_100": 0.375, "recall": 1.0}
    metrics = {
        **METRICS,
        "best_mAP": 0.5016,
        "best": {**best, "overlap_threshold": 0.75, "classes": classes},
        "definitions": {"source": "both files", "AP50": "COCO's at <0.50>"},
        "timings": {"checking": 1.25, "epochs": [{"epoch": 0, "steps": 2.0, "saving": None}, {"steps": 3.5}]},
    }
    page = report(tmp_path, mixed(("cat", "dog", "owl")), metrics)
    check(page)
    # The head has the figure of the log, the tables those of the kept model.
    assert "validation mAP (VOC 2007) 0.502 COCO AP 0.250 best epoch" in page.text
    assert (
        "figure value mAP (VOC 2007) 0.500 COCO AP 0.250 COCO AP at IoU 0.50 0.500 COCO AR, 100 detections 0.375 "
        "recall at any score 1.000 How they are defined"
    ) in page.text
    assert "figure definition source both files COCO AP at IoU 0.50 COCO's at <0.50>" in page.text
    assert "cat 0.250 0.500 0.125" in page.text
    assert "dog – – –" in page.text
    assert "part seconds checking 1.2 epochs: steps 5.5 epochs: saving 0.0" in page.text
    assert "object of its class is 0.75 or more" in page.text


@pytest.mark.parametrize("model", ["model.tar.gz", {"file": "model.tar.gz", "base_network": "vgg-16"}])
def test_an_evaluation_says_of_which_model(tmp_path, model):
    metrics = {"model": model, "best": {"mAP": 0.25}, "hyperparameters": {"base_network": "vgg-16"}}
    page = report(tmp_path, mixed(("cat", "dog", "owl")), metrics)
    check(page)
    assert page.text.startswith("Evaluation of vgg-16: object detection")
    assert "file model.tar.gz" in page.text
    assert "validation mAP (VOC 2007) 0.250" in page.text
    assert "best epoch" not in page.text
