"""The file as a whole: well-formed, self-contained, small, the same every time, whatever is in the data."""

import numpy as np
import pytest
from PIL import Image
from report_samples import METRICS, Instances, check, epochs, image_of, mixed, report

from sagemaker_ssd.report.write import write_report

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
