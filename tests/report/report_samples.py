"""Small sets of images, objects and detections for the tests of the report."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from PIL import Image

from sagemaker_ssd.report.write import write_report

VOID = {"meta", "br", "image", "rect", "path", "use", "line", "circle"}
NAMES = ("cat", "dog", "owl")


def image_of(width: int = 400, height: int = 300, mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (width, height))


class Instances:
    """Collects ground truth and detections in COCO's form; boxes are x, y, width, height in pixels."""

    def __init__(self, images: int, names: tuple[str, ...] = NAMES, size: tuple[int, int] = (400, 300)) -> None:
        self.truth: dict[str, Any] = {
            "images": [
                {"id": 10 + index, "file_name": f"{index}.jpg", "width": size[0], "height": size[1]}
                for index in range(images)
            ],
            "annotations": [],
            "categories": [{"id": index, "name": name} for index, name in enumerate(names)],
        }
        self.detections: list[dict[str, Any]] = []

    def object(self, image: int, class_id: int, box: list[float], *, difficult: bool = False) -> None:
        entry = {"id": len(self.truth["annotations"]) + 1, "image_id": 10 + image, "category_id": class_id, "bbox": box}
        area = box[2] * box[3]
        self.truth["annotations"].append({**entry, "area": area, "iscrowd": 0, **({"ignore": 1} if difficult else {})})

    def detection(self, image: int, class_id: int, box: list[float], score: float) -> None:
        self.detections.append({"image_id": 10 + image, "category_id": class_id, "bbox": box, "score": score})


def epochs(scores: list[float | None], losses: list[float] | None = None) -> list[dict[str, Any]]:
    losses = losses or [1 / (1 + epoch) for epoch in range(len(scores))]
    return [
        {
            "epoch": epoch,
            "train": {"cross_entropy": loss, "smooth_l1": loss / 2},
            **({} if score is None else {"validation": {"mAP": score}}),
        }
        for epoch, (score, loss) in enumerate(zip(scores, losses, strict=True))
    ]


class Page(HTMLParser):
    """A report that was read again: every tag closed in its order, its text, its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.parts: list[str] = []
        self.drawn: list[str] = []  # texts of drawings
        self.ids: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.parts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.append((tag, name, value or ""))
            if name == "id":
                self.ids.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.parts.append(data)
        if self.open and self.open[-1] == "text":
            self.drawn.append(data)

    def values(self, tag: str, name: str) -> list[str]:
        return [value for of, attribute, value in self.attributes if (of, attribute) == (tag, name)]


def report(folder: Path, instances: Instances, metrics: dict[str, Any] | None = None, read_image: Any = None) -> Page:
    """Write a report and read it again."""
    path = folder / "report.html"
    reader = read_image or (lambda image_id: image_of())
    write_report(path, metrics or {}, instances.truth, instances.detections, reader)
    assert [file.name for file in folder.iterdir()] == ["report.html"]
    return Page(path.read_text(encoding="utf-8"))


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


def check(page: Page) -> None:
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
