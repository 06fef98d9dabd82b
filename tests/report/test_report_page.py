"""The file as a whole: well-formed, self-contained, small, the same every time, whatever is in the data."""

import re

import numpy as np
import pytest
from PIL import Image
from report_samples import Instances, epochs, image_of, report

from sagemaker_ssd.report import write_report

BOX = [50.0, 50.0, 100.0, 100.0]
EVIL = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</svg></table></style>",
    "$x^2$ & _so on_",
    "_hidden",
    "a\nb\0c\ud800\u202ed",
    "日本語",
    "x" * 500,
)


def mixed(names: tuple[str, ...], images: int = 8, size: tuple[int, int] = (400, 300)) -> Instances:
    """Objects that are found, missed, and taken for the next class."""
    instances = Instances(images, names, size)
    for image in range(images):
        for row in range(3):
            class_id = (3 * image + row) % len(names)
            box = [20.0 + 130 * row, 40.0, 90.0, 80.0]
            instances.object(image, class_id, box)
            if row < 2:
                instances.detection(image, (class_id + (image % 2) * row) % len(names), box, 0.5 + 0.05 * image)
    return instances


METRICS = {
    "hyperparameters": {"base_network": "vgg-16", "image_shape": "300", "overlap_threshold": "0.5", "x": "<b>"},
    "versions": {"mxnet": "1.9.1"},
    "data": {"train": {"images": 9, "boxes": 12, "boxes_per_class": [4, 4, 4], "images_without_objects": 0}},
    "best_epoch": 1,
    "epochs": epochs([0.1, 0.5, 0.4]),
}


def check(page) -> None:
    """Whatever the data: closed tags, ids once, links that lead somewhere, nothing from elsewhere, described images."""
    assert len(set(page.ids)) == len(page.ids)
    inside = re.compile(r"#(.+)")
    for tag in ("a", "use"):
        for link in page.values(tag, "href"):
            assert inside.fullmatch(link)[1] in page.ids
    assert all(value.startswith("data:image/jpeg;base64,") for value in page.values("image", "href"))
    assert not {"script", "img", "link", "iframe", "object", "foreignobject", "a:href"} & set(page.tags)
    assert not [value for _, name, value in page.attributes if name.startswith("on") or "://" in value]
    drawings = [value for value in page.values("svg", "class") if value]
    described = page.values("svg", "aria-label") + page.values("svg", "aria-hidden")
    assert len(described) == len(drawings) == page.tags.count("svg")
    assert all(described)
    assert page.tags.count("table") == page.values("div", "class").count("scroll")
    assert page.tags.count("h1") == 1
    assert "nan" not in page.text.lower().replace("finance", "")
    assert "default-src 'none'" in page.values("meta", "content")[1]


def test_a_usual_report(tmp_path):
    page = report(tmp_path, mixed(("cat", "dog", "owl")), METRICS)
    check(page)
    assert page.text.startswith("Training of vgg-16 at 300 pixels: object detection")
    headings = ["What stands out", "Training", "Classes", "Right and wrong", "Pictures", "Settings and data"]
    assert [page.text.count(heading) >= 1 for heading in headings] == [True] * 6
    assert "validation mAP (VOC 2007) 0.500" in page.text
    assert "best epoch, of 0 to 2 1" in page.text


@pytest.mark.parametrize("name", EVIL)
def test_names_are_shown_and_do_nothing(tmp_path, name):
    instances = mixed((name, "dog", "owl"))
    for image in instances.truth["images"]:
        image["file_name"] = name
    metrics = {**METRICS, "hyperparameters": {**METRICS["hyperparameters"], "base_network": name}}
    page = report(tmp_path, instances, metrics)
    check(page)
    shown = " ".join(name.replace("\0", "\ufffd").replace("\ud800", "\ufffd").replace("\u202e", "\ufffd").split())
    assert (shown if len(shown) <= 60 else "x" * 30 + "…" + "x" * 29) in page.text
    # In the legend of the curves too, where matplotlib would read formulas and leave names out.
    assert any(text.strip() == (shown if len(shown) <= 18 else f"{shown[:9]}…{shown[-8:]}") for text in page.drawn)


def test_the_same_input_gives_the_same_bytes(tmp_path):
    instances = mixed(("cat", "dog", "owl"))
    written = []
    for _ in range(2):
        report(tmp_path, instances, METRICS)
        written.append((tmp_path / "report.html").read_bytes())
    assert written[0] == written[1]


def test_a_file_stays_whole_when_writing_fails(tmp_path):
    report(tmp_path, mixed(("cat",)))
    before = (tmp_path / "report.html").read_bytes()
    with pytest.raises(KeyError):
        write_report(tmp_path / "report.html", {}, {"images": [{}]}, [], lambda image_id: image_of())
    assert (tmp_path / "report.html").read_bytes() == before


def test_noise_and_many_classes_stay_small(tmp_path):
    instances = mixed(tuple(f"class {number} {'x' * 100}" for number in range(200)), images=200, size=(2000, 1500))
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (1500, 2000, 3), np.uint8))
    metrics = {**METRICS, "epochs": epochs([0.5] * 3000)}
    reads = []
    page = report(tmp_path, instances, metrics, lambda image_id: reads.append(image_id) or noise)
    check(page)
    assert len(reads) == 15
    assert (tmp_path / "report.html").stat().st_size < 2_500_000
    assert "other classes" in page.text


@pytest.mark.parametrize("classes", [1, 2, 16, 301])
def test_numbers_of_classes(tmp_path, classes):
    page = report(tmp_path, mixed(tuple(f"class {number}" for number in range(classes))))
    check(page)
    assert "Classes, lowest AP first" in page.text
    assert ("300 of 301; metrics.json has all" in page.text) == (classes == 301)


def test_the_lowest_classes_come_first_and_those_without_boxes_last(tmp_path):
    instances = Instances(2, ("found", "absent", "missed"))
    for image in range(2):
        instances.object(image, 0, BOX)
        instances.detection(image, 0, BOX, 0.9)
    instances.object(0, 2, [200.0, 50.0, 50.0, 50.0])
    text = report(tmp_path, instances).text
    # Name, AP, AP of all points, COCO's, boxes, found, missed, wrong, detections.
    rows = "missed 0.000 0.000 – 1 0 1 0 0 found 1.000 1.000 – 2 2 0 0 2 absent – – – 0 0 0 0 0"
    assert rows in text


def test_figures_of_the_kept_model(tmp_path):
    classes = [
        {"class_id": 0, "average_precision": 0.25, "all_points": 0.5, "coco": 0.125, "recall": 1.0},
        {"class_id": 1, "average_precision": None, "all_points": None, "coco": None, "recall": None},
        {"class_id": 2, "average_precision": 0.75, "all_points": 0.5, "coco": 0.375, "recall": 1.0},
    ]
    coco = {"AP": 0.25, "AP50": 0.5, "AP_small": None, "AR100": 0.375}
    best = {"mAP": 0.5004, "coco": coco, "objects": 24, "unmatched_objects": 3, "overlap_threshold": 0.75}
    metrics = {
        **METRICS,
        "best_mAP": 0.5016,
        "best": {**best, "classes": classes, "definitions": {"coco": "<pycocotools>"}},
        "timings": {"checking": 1.25, "epochs": [{"epoch": 0, "steps": 2.0, "saving": None}, {"steps": 3.5}]},
    }
    page = report(tmp_path, mixed(("cat", "dog", "owl")), metrics)
    check(page)
    # The head has the figure of the log, the tables those of the kept model.
    assert "validation mAP (VOC 2007) 0.502 COCO AP 0.250 best epoch" in page.text
    assert (
        "figure value mAP (VOC 2007) 0.500 COCO AP 0.250 COCO AP at IoU 0.50 0.500 COCO AR, 100 detections an image "
        "0.375 How they are defined"
    ) in page.text
    assert "figure definition coco <pycocotools>" in page.text
    assert "12 % of the boxes (3 of 24) overlap no anchor" in page.text
    assert "cat 0.250 0.500 0.125" in page.text
    assert "dog – – –" in page.text
    assert "part seconds checking 1.2 epochs: steps 5.5 epochs: saving 0.0" in page.text
    assert "object of its class is 0.75 or more" in page.text


def test_without_validation(tmp_path):
    page = report(tmp_path, Instances(0, ()), {**METRICS, "epochs": epochs([None] * 3)})
    check(page)
    assert "There are no validation images" in page.text
    assert "validation mAP (VOC 2007) –" in page.text
    assert "Line chart over 3 epochs: cross-entropy (classes) from 1.000 to 0.333" in str(page.attributes)
    assert page.values("section", "aria-labelledby") == ["findings", "training", "settings"]


def test_without_anything(tmp_path):
    write_report(tmp_path / "report.html", {}, {}, [], lambda image_id: image_of())
    assert "Evaluation: object detection" in (tmp_path / "report.html").read_text()


def test_without_detections(tmp_path):
    instances = mixed(("cat", "dog", "owl"))
    instances.detections = []
    page = report(tmp_path, instances, METRICS)
    check(page)
    assert "not found at any score" in page.text


def test_without_objects(tmp_path):
    instances = mixed(("cat", "dog", "owl"))
    instances.truth["annotations"] = []
    page = report(tmp_path, instances, METRICS)
    check(page)
    assert "nothing is labelled there" in page.text


def test_figures_that_are_not_numbers_are_dashes(tmp_path):
    broken = [{"epoch": 0, "train": {"cross_entropy": float("nan")}, "validation": {"mAP": None}}, {"epoch": 1}]
    instances = mixed(("cat", "dog", "owl"))
    instances.detection(0, 0, [float("nan")] * 4, 0.9)
    instances.detection(0, 0, BOX, float("inf"))
    check(report(tmp_path, instances, {**METRICS, "epochs": broken, "best_mAP": float("nan"), "best_epoch": 0}))
