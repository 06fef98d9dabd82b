"""report.html of small figures: whole, safe, bounded, and true to what was worked out by hand."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sagemaker_ssd.report import write_report
from sagemaker_ssd.report.matching import best_threshold, confusion, match, rows_by_image
from sagemaker_ssd.report.words import what_stands_out

VOID = {"meta", "img", "br", "path", "use", "image"}
NAMES = ["cat", "<script>alert(1)</script>"]


def truth(images: int) -> dict[str, Any]:
    """A cat at the upper left of every image."""
    return {
        "images": [{"id": i, "file_name": f"a/<{i}>.jpg", "width": 100, "height": 50} for i in range(images)],
        "annotations": [
            {
                "id": i + 1,
                "image_id": i,
                "category_id": 0,
                "bbox": [0, 0, 20, 20],
                "area": 400,
                "ignore": 0,
                "iscrowd": 0,
            }
            for i in range(images)
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(NAMES)],
    }


def result(image: int, category: int, box: list[float], score: float) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}


# Image 0: found, and found again. Image 1: taken for the other class. Image 2: nothing, but one where nothing is.
RESULTS = [
    result(0, 0, [0, 0, 20, 20], 0.9),
    result(0, 0, [1, 0, 20, 20], 0.5),
    result(1, 1, [0, 0, 20, 18], 0.8),
    result(2, 1, [60, 20, 20, 20], 0.7),
]


def figures(images: int, **more: Any) -> dict[str, Any]:
    classes = [
        {
            "class_id": number,
            "name": name,
            "objects": images * (number == 0),
            "detections": 2,
            "average_precision": 0.3 if number == 0 else None,
            "all_points": 0.3,
            "coco": None,
            "recall": 0.33,
        }
        for number, name in enumerate(NAMES)
    ]
    coco = dict.fromkeys(("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"))
    return {
        "mAP": 0.3,
        "coco": coco,
        "images": images,
        "objects": images,
        "detections": 4,
        "unmatched_objects": 0,
        "classes": classes,
        "definitions": {"mAP": "VOC"},
        **more,
    }


class Checker(HTMLParser):
    """Fails on tags that do not fit; collects addresses and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.scripts = 0
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(path: Path) -> Checker:
    checker = Checker()
    checker.feed(path.read_text(encoding="utf-8"))
    assert checker.open == []
    assert checker.scripts == 0
    assert all(address.startswith(("data:", "#")) for address in checker.addresses)
    assert "url(http" not in path.read_text()
    return checker


def picture(number: int) -> Image.Image:
    return Image.fromarray(np.full((50, 100, 3), 40 * number, np.uint8))


def test_the_page_is_whole_and_tells_what_is_there(tmp_path: Path):
    path = tmp_path / "report.html"
    epochs = [
        {"epoch": i, "train": {"cross_entropy": 2.0 - i, "smooth_l1": 1.0}, "validation": {"mAP": 0.1 * i}}
        for i in range(2)
    ]
    metrics = {"best": figures(3), "epochs": epochs, "best_epoch": 1, "data": {"train": {"images": 12}}}
    write_report(path, metrics, truth(3), RESULTS, picture)
    page = read(path)
    for text in (
        "The validation data are only 3 images",
        "<script>alert(1)</script>",
        "a/<1>.jpg",
        "1 of 1 objects missed",
    ):
        assert text in page.text
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    before = path.read_bytes()
    write_report(path, metrics, truth(3), RESULTS, picture)
    assert path.read_bytes() == before


@pytest.mark.parametrize(("images", "results"), [(0, []), (3, []), (3, RESULTS)])
def test_whatever_is_missing_is_left_out(tmp_path: Path, images: int, results: list[dict[str, Any]]):
    def unreadable(number: int) -> Image.Image:
        raise OSError("the disk is gone")

    path = tmp_path / "report.html"
    write_report(path, {"best": figures(images, detections=len(results))}, truth(images), results, unreadable)
    page = read(path)
    assert ("Nothing at all is detected" in page.text) == (not results)
    assert ("could not be read: the disk is gone" in page.text) == (images > 0)


def test_many_images_and_classes_make_no_large_page(tmp_path: Path):
    random = np.random.RandomState(0)
    classes, images = 200, 1000
    names = [f"class {number}" for number in range(classes)]
    boxes = random.uniform(0, 600, (20 * images, 4)).round(1)
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 4000, "height": 3000} for i in range(images)],
        "annotations": [
            {"id": i + 1, "image_id": i % images, "category_id": i % classes, "bbox": box, "ignore": 0}
            for i, box in enumerate(boxes[: 5 * images].tolist())
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names)],
    }
    results = [result(i % images, i % classes, box, i / len(boxes)) for i, box in enumerate(boxes.tolist())]
    each = [
        {"class_id": i, "name": name, "objects": 25, "detections": 100, "average_precision": 0.1, "all_points": 0.1}
        for i, name in enumerate(names)
    ]
    found = figures(images, classes=[{**one, "coco": 0.1, "recall": 0.1} for one in each])
    noise = Image.fromarray(random.randint(0, 256, (3000, 4000, 3)).astype(np.uint8))
    path = tmp_path / "report.html"
    write_report(path, {"best": found}, content, results, lambda number: noise)
    read(path)
    assert path.stat().st_size < 5_000_000


def test_matching_is_as_by_hand():
    content = truth(3)
    matched = match(rows_by_image(content["annotations"], "ignore"), rows_by_image(RESULTS, "score"), 2)
    assert matched.scores.tolist() == [0.9, 0.8, 0.7, 0.5]
    assert matched.right.tolist() == [True, False, False, False]
    # The second one is on the cat, the third on nothing, the last on the cat that was found already.
    assert matched.on.tolist() == [0, 0, -1, 0]
    assert matched.counts.tolist() == [3, 0]
    # 1 right of 1, 3 objects: F1 = 2 / 4.
    assert best_threshold(matched) == 0.9
    table = confusion(matched, 0.6)
    # One cat is found, one taken for the other, one missed; the other class is found once where nothing is.
    assert table.tolist() == [[1, 1, 1], [0, 0, 0], [0, 1, 0]]


def test_a_difficult_object_is_neither_missed_nor_a_mistake():
    content = truth(1)
    content["annotations"][0]["ignore"] = 1
    matched = match(rows_by_image(content["annotations"], "ignore"), rows_by_image(RESULTS[:1], "score"), 2)
    assert (len(matched.scores), matched.counts.tolist()) == (0, [0, 0])


def epochs_of(scores: list[float], losses: list[float]) -> dict[str, Any]:
    return {
        "best_epoch": int(np.argmax(scores)),
        "epochs": [
            {"train": {"cross_entropy": loss, "smooth_l1": 0.0}, "validation": {"mAP": score}}
            for score, loss in zip(scores, losses, strict=True)
        ],
    }


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (epochs_of([0.1, 0.2, 0.3, 0.4], [4, 3, 2, 1]), "still rising"),
        (epochs_of([0.1, 0.4, 0.3, 0.2], [4, 3, 2, 1]), "by heart"),
        (epochs_of([0.1, 0.2, 0.1, 0.1], [1, 2, 2, 3]), "higher at the end"),
        ({"best": figures(3, unmatched_objects=2)}, "2 of 3 objects overlap no anchor by half"),
        ({"best": figures(500)}, "Without an object in the validation data"),
    ],
)
def test_what_stands_out_is_said(metrics: dict[str, Any], said: str):
    assert re.search(said, " ".join(what_stands_out(metrics, None, None)))


def test_nothing_is_said_where_nothing_stands_out():
    good = figures(500)
    good["classes"] = good["classes"][:1]
    assert what_stands_out({"best": good, **epochs_of([0.1, 0.2, 0.4, 0.39], [4, 3, 2, 1])}, None, None) == []
