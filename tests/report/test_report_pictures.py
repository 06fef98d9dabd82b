"""The pictures: what is chosen, what is drawn where, and what happens to images that cannot be read."""

import base64
import io
from pathlib import Path

import pytest
from PIL import Image
from report_samples import Instances, Page, image_of, report

SQUARE = [100.0, 100.0, 100.0, 100.0]


def one_of_each() -> Instances:
    """Image 0: all found; 1: an owl taken for a dog; 2: a missed cat; 3: nothing but a detection."""
    instances = Instances(4)
    instances.object(0, 0, SQUARE)
    instances.detection(0, 0, SQUARE, 0.9)
    instances.object(1, 2, SQUARE)
    instances.detection(1, 1, SQUARE, 0.97)
    instances.object(2, 0, [40.0, 50.0, 60.0, 40.0])
    instances.detection(3, 2, SQUARE, 0.95)
    return instances


def pictures(page: Page) -> list[str]:
    return [value for value in page.values("svg", "aria-label") if ".jpg: " in value]


def test_what_is_chosen_and_said(tmp_path):
    assert pictures(report(tmp_path, one_of_each())) == [
        "0.jpg: The only object is found, nothing wrong.",
        "1.jpg: “dog” with a score of 0.97: the object is labelled “owl” (overlap 1.00).",
        "3.jpg: “owl” with a score of 0.95: nothing is labelled there.",
        "2.jpg: “cat” of 60 × 40 pixels is not found at any score. Part of the image.",
        "1.jpg: “owl” of 100 × 100 pixels is taken for “dog” (score 0.97).",
    ]


def test_an_object_that_is_found_with_a_low_score(tmp_path):
    instances = one_of_each()
    instances.detection(2, 0, [40.0, 50.0, 60.0, 40.0], 0.07)
    for image in range(3):
        for x in range(6):
            instances.detection(image, 0, [50.0 * x, 220.0, 40.0, 40.0], 0.1)
    assert "2.jpg: “cat” of 60 × 40 pixels is found with a score of 0.07 only. Part of the image." in pictures(
        report(tmp_path, instances)
    )


def test_an_object_that_a_detection_which_is_not_listed_may_have_found(tmp_path):
    """Three detections are listed, and metrics.json counts five."""
    instances = one_of_each()
    classes = [{"class_id": number, "detections": count} for number, count in enumerate((2, 1, 2))]
    said = pictures(report(tmp_path, instances, {"best": {"classes": classes}}))
    # The lowest score that is listed is 0.9.
    assert "2.jpg: “cat” of 60 × 40 pixels is not found at any score above 0.900. Part of the image." in said
    classes[0]["detections"] = 1
    said = pictures(report(tmp_path, instances, {"best": {"classes": classes[:2]}}))
    assert "2.jpg: “cat” of 60 × 40 pixels is not found at any score. Part of the image." in said


def test_missed_objects_are_of_every_class_and_of_images_not_shown_yet(tmp_path):
    instances = Instances(5, ("cat", "dog"))
    instances.object(0, 0, [0.0, 0.0, 200.0, 200.0])
    instances.detection(0, 1, [300.0, 200.0, 50.0, 50.0], 0.9)  # image 0 is shown for this one
    instances.object(4, 0, [0.0, 0.0, 100.0, 100.0])
    instances.detection(4, 0, [0.0, 0.0, 100.0, 100.0], 0.9)
    instances.object(1, 0, SQUARE)
    instances.object(2, 0, [0.0, 0.0, 90.0, 90.0])
    instances.object(3, 1, [0.0, 0.0, 50.0, 50.0])
    said = [value for value in pictures(report(tmp_path, instances)) if "not found" in value]
    assert [value[: value.index(" of")] for value in said] == [
        "1.jpg: “cat”",
        "3.jpg: “dog”",
        "2.jpg: “cat”",
        "0.jpg: “cat”",
    ]


def rectangles(page: Page) -> list[tuple[str, dict[str, str]]]:
    """Return every box over a picture: its class and its attributes."""
    found: list[tuple[str, dict[str, str]]] = []
    for tag, name, value in page.attributes:
        if tag == "rect" and name == "class":
            found.append((value, {}))
        elif tag == "rect" and found and name in ("x", "y", "width", "height"):
            found[-1][1].setdefault(name, value)
    return [(kind, place) for kind, place in found if kind.startswith("box ") and place["x"] != "5"]


@pytest.mark.parametrize("factor", [1, 2, 0.5])
def test_boxes_lie_on_the_picture_whatever_the_size_of_the_image(tmp_path, factor):
    instances = Instances(1)
    instances.object(0, 0, [100.0, 60.0, 200.0, 120.0])
    instances.detection(0, 0, [100.0, 60.0, 200.0, 120.0], 0.9)
    size = (int(400 * factor), int(300 * factor))
    page = report(tmp_path, instances, read_image=lambda image_id: image_of(*size))
    # 400 x 300 pixels are shown as 560 x 420 units, 1.4 a pixel.
    assert "0 0 560 420" in page.values("svg", "viewbox")
    place = {"x": "140.0", "y": "84.0", "width": "280.0", "height": "168.0"}
    assert rectangles(page) == [("box object", place), ("box right", place)]


def test_a_small_box_is_shown_with_its_surroundings(tmp_path):
    instances = Instances(1, size=(4000, 3000))
    instances.object(0, 0, [2000.0, 1000.0, 100.0, 50.0])
    image = image_of(4000, 3000)
    image.paste((255, 0, 0), (2000, 1000, 2100, 1050))
    page = report(tmp_path, instances, read_image=lambda image_id: image)
    # The window is 4 x 100 pixels wide, centred on the box: from (1850, 825) on; 560 / 400 = 1.4 units a pixel.
    assert rectangles(page) == [("box object focus", {"x": "210.0", "y": "245.0", "width": "140.0", "height": "70.0"})]
    (address,) = page.values("image", "href")
    part = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    assert part.size == (400, 400)  # no more pixels than the image has
    inside, outside = part.getpixel((200, 200)), part.getpixel((120, 200))
    assert inside[0] > 200
    assert outside[0] < 50


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "I;16", "CMYK"])
def test_every_kind_of_image_is_drawn(tmp_path, mode):
    page = report(tmp_path, one_of_each(), read_image=lambda image_id: Image.new(mode, (400, 300)))
    assert len(page.values("image", "href")) == 5


def test_an_image_that_cannot_be_read_leaves_a_sentence(tmp_path, caplog):
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "out").mkdir()

    def read_image(image_id: int) -> Image.Image:
        if image_id == 10:
            return Image.open(folder / "cut.jpg")
        if image_id == 11:
            raise MemoryError("too large")
        return image_of()

    page = report(Path(tmp_path / "out"), one_of_each(), read_image=read_image)
    assert page.text.count("This image could not be read.") == 3
    assert len(page.values("image", "href")) == 2
    assert "image 0.jpg cannot be read" in caplog.text


def test_pictures_are_few_whatever_the_set(tmp_path):
    instances = Instances(500)
    for image in range(500):
        instances.object(image, image % 3, SQUARE)
        instances.detection(image, image % 2, SQUARE, 0.5)
    reads = []
    report(tmp_path, instances, read_image=lambda image_id: reads.append(image_id) or image_of())
    assert len(reads) == 15
    assert len(set(reads)) == 15
