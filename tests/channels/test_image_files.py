"""Image files with one JSON each become one RecordIO file: what is counted, warned of and refused."""

import gzip
import io
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from another_user import open_folder, said_as_another_user
from drawn_channels import (
    HEIGHT,
    WIDTH,
    encoded,
    json_box,
    noise,
    picture,
    png,
    read_rec,
    snapshot,
    write_annotation,
    write_image,
    write_rec,
)
from sagemaker_ssd.channels.check import check_recordio
from sagemaker_ssd.channels.findings import CheckOptions
from sagemaker_ssd.channels.image_files import pack_images
from sagemaker_ssd.channels.images import decode
from sagemaker_ssd.channels.record_file import RecordFile
from sagemaker_ssd.errors import UserError

BOX = json_box(1, 20, 10, 20, 20)
LABEL = [2, 5, 1, 0.25, 0.25, 0.5, 0.75]
TINY = encoded(np.zeros((1, 2, 3), np.uint8), ".png")


class Channel:
    """A drawn pair of channels and its packing."""

    def __init__(self, tmp_path: Path) -> None:
        self.root = tmp_path
        self.images = tmp_path / "input" / "train"
        self.annotations = tmp_path / "input" / "train_annotation"
        self.images.mkdir(parents=True)
        self.annotations.mkdir()

    def draw(self, stem: str, *boxes: Any, image: bytes | None = None, ending: str = ".png", **more: Any) -> None:
        write_image(self.images / f"{stem}{ending}", png(0) if image is None else image)
        write_annotation(self.annotations / f"{stem}.json", boxes, **more)

    def pack(self, **options: Any) -> RecordFile:
        chosen: dict[str, Any] = {"num_classes": 3, "max_bad_images": 0.0, "label_width": 350, **options}
        return pack_images(
            self.images, self.annotations, CheckOptions(name="train", scratch=self.root / "scratch", **chosen)
        )

    def faults(self, **options: Any) -> str:
        with pytest.raises(UserError) as raised:
            self.pack(**options)
        assert not list((self.root / "scratch").iterdir())
        return raised.value.sentence


@pytest.fixture
def channel(tmp_path: Path) -> Channel:
    return Channel(tmp_path)


def test_counts_order_and_bytes(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    jpeg = encoded(noise(1), ".jpg")
    channel.draw("b/2", BOX, image=jpeg, ending=".JPG")
    channel.draw("b/10", image=png(1))
    channel.draw("a", BOX, json_box(0, 0, 0, WIDTH, HEIGHT), image=png(2), ending=".Png")
    before = snapshot(channel.root / "input")
    file = channel.pack()
    assert read_rec(file.path) == [([*LABEL, 0, 0, 0, 1, 1], png(2)), ([2, 5], png(1)), (LABEL, jpeg)]
    assert (file.images, file.boxes, file.boxes_per_class) == (3, 3, (1, 2, 0))
    assert (file.images_without_objects, file.max_objects) == (1, 2)
    length = sum(map(len, (jpeg, png(1), png(2)))) / 1000
    assert caplog.messages == [
        f"train: 3 images with one JSON each, {length:.1f} kB",
        "train: 3 images, 3 boxes, 2 of 3 classes, 1 image without objects",
    ]
    assert file.path == channel.root / "scratch" / "train.rec"
    assert snapshot(channel.root / "input") == before


def test_the_same_pictures_as_rec_and_as_files_are_the_same(channel: Channel) -> None:
    drawn = [(number % 3, 5 * number, 2 * number, 10 + number, 12) for number in range(6)]
    images = [encoded(noise(number), ".jpg") for number in range(6)]
    for number, (class_id, *box) in enumerate(drawn):
        channel.draw(f"{number}", json_box(class_id, *box), image=images[number], ending=".jpeg")
    packed = channel.pack()
    labels = [
        [2, 5, i, left / WIDTH, top / HEIGHT, (left + width) / WIDTH, (top + height) / HEIGHT]
        for i, left, top, width, height in drawn
    ]
    path = write_rec(channel.root / "same.rec", list(zip(labels, images, strict=True)))
    options = CheckOptions(name="train", num_classes=3, scratch=channel.root, max_bad_images=0, label_width=350)
    checked = check_recordio(path, options)
    assert read_rec(packed.path) == read_rec(checked.path)
    np.testing.assert_array_equal(packed.offsets, checked.offsets)
    assert packed.boxes_per_class == checked.boxes_per_class == (2, 2, 2)


def test_what_packing_writes_needs_no_change(channel: Channel) -> None:
    for number in range(5):
        channel.draw(f"{number}", *([BOX] * number), image=png(number))
    packed = channel.pack()
    options = CheckOptions(name="train", num_classes=3, scratch=channel.root, max_bad_images=0, label_width=350)
    checked = check_recordio(packed.path, options)
    assert checked.path == packed.path
    assert checked.offsets.tolist() == packed.offsets.tolist()
    assert checked.summary("x") == packed.summary("x")


def test_numbers_may_be_strings_and_image_size_an_object(channel: Channel) -> None:
    channel.draw("a", json_box("1", "20", " 10.0", "2e1", 20), image_size={"width": "80", "height": "40"})
    channel.draw("b", BOX, image_size=None)
    channel.draw("c", BOX, image_size=[])
    channel.draw("d", BOX, categories=[{"class_id": 99, "name": "ignored"}])
    assert [label for label, _ in read_rec(channel.pack().path)] == [LABEL] * 4


def test_boxes_are_scaled_by_image_size(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    channel.draw("a", json_box(1, 200, 100, 200, 200), image_size=[{"width": 800, "height": 400, "depth": 3}])
    assert [label for label, _ in read_rec(channel.pack().path)] == [LABEL]
    assert (
        "train: image_size is not the image's own size, boxes are scaled by image_size (1): "
        "a.json (800x400 for 80x40 px)"
    ) in caplog.messages


FRACTION = json_box(1, 0.25, 0.25, 0.25, 0.5)
PIXEL = json_box(1, 0, 0, 1, 1)


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        # All of a channel, be it one box.
        ([[FRACTION]], "1 of 1 box lies within 0 to 1, such as train_annotation/00.json: box 0 (left 0.25, top 0.25,"),
        ([[json_box("1", "0.25", "0.25", "0.25", "0.5")]] * 3, "3 of 3 boxes lie"),
        ([[json_box(1, 0, 0, 1, 0.5)]] * 2, "2 of 2 boxes lie"),
        # What rounding adds to a fraction.
        ([[json_box(1, -0.0004, 0, 1.0009, 1)]] * 10, "10 of 10 boxes lie"),
        # Nine of ten, and ten or more, whole or not.
        ([[FRACTION] * 9 + [BOX], [FRACTION] * 9 + [BOX]], "18 of 20 boxes lie"),
        ([[PIXEL]] * 10, "10 of 10 boxes lie"),
        # All of a file.
        ([[BOX]] * 20 + [[FRACTION, PIXEL]], "1 JSON with boxes that all lie within 0 to 1, as fractions of the image"),
        ([[BOX]] * 20 + [[FRACTION]] * 3, "3 JSONs with boxes that all lie within 0 to 1"),
        ([[]] * 20 + [[FRACTION]], "1 of 1 box lies"),
        # None of them.
        ([[PIXEL]] * 9, ""),
        ([[PIXEL]] * 9 + [[BOX]], ""),
        ([[BOX, FRACTION], [BOX]], ""),
        ([[FRACTION] * 17 + [BOX] * 3], ""),
        ([[json_box(1, 0.5, 0.5, 0.51, 39)]] * 12, ""),
        ([[json_box(1, 0.2, 0.2, 0, 0), BOX]], ""),
    ],
)
def test_fractions_are_not_read_as_pixels(channel: Channel, boxes: list[Any], said: str) -> None:
    for number, of_image in enumerate(boxes):
        channel.draw(f"{number:02}", *of_image)
    if not said:
        assert channel.pack().images == len(boxes)
        return
    text = channel.faults()
    assert said in text
    assert text.startswith("train: ")
    assert "pixels are read" in text
    assert 'write "image_size": [{"width": 1, "height": 1}] into it' in text


def test_one_pixel_in_the_corner_is_read_as_such_with_a_word(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    channel.draw("a", BOX, PIXEL)
    channel.draw("b", PIXEL)
    assert [label for label, _ in read_rec(channel.pack().path)] == [
        pytest.approx([*LABEL, 1, 0, 0, 1 / WIDTH, 1 / HEIGHT]),
        pytest.approx([2, 5, 1, 0, 0, 1 / WIDTH, 1 / HEIGHT]),
    ]
    assert (
        "train: box of the one pixel in the upper left corner, or of the whole image in fractions; read as pixels (2): "
        "train_annotation/a.json box 1, train_annotation/b.json box 0"
    ) in caplog.messages


def test_an_image_size_of_one_pixel_means_fractions(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    one = [{"width": 1, "height": 1}]
    for number in range(12):
        channel.draw(f"{number}", FRACTION, image_size=one)
    channel.draw("whole", PIXEL, image_size=one)
    # Two pixels past the right border of 80.
    channel.draw("wide", json_box(1, 0, 0, 1.025, 1), image_size=one)
    # An image of one pixel is the same in both.
    channel.draw("tiny", PIXEL, image=encoded(picture(1, size=(1, 1))), image_size=one)
    channel.draw("tiny, too", PIXEL, image=encoded(picture(1, size=(1, 1))), image_size=None)
    assert [label for label, _ in read_rec(channel.pack().path)] == [LABEL] * 12 + [[2, 5, 1, 0, 0, 1, 1]] * 4
    assert [message for message in caplog.messages if "image_size" in message or "one pixel" in message] == []
    channel.draw("far", json_box(1, 0.5, 0, 0.75, 1), image_size=one)
    assert channel.faults().startswith(
        "train_annotation/far.json: box 0 (left 0.5, top 0, width 0.75, height 1) is 20 px past the border of 80x40, "
        "in fractions of it"
    )


@pytest.mark.parametrize("scale", [1, 2])
def test_an_image_size_with_its_sides_swapped_is_read_as_such(
    channel: Channel, caplog: pytest.LogCaptureFixture, scale: int
) -> None:
    size = [{"width": HEIGHT * scale, "height": WIDTH * scale}]
    channel.draw("a", json_box(1, 20 * scale, 10 * scale, 20 * scale, 20 * scale), image_size=size)
    assert [label for label, _ in read_rec(channel.pack().path)] == [LABEL]
    assert (
        "train: image_size has width and height the wrong way round, read as swapped (1): "
        f"a.json ({HEIGHT * scale}x{WIDTH * scale} for 80x40 px)"
    ) in caplog.messages
    channel.draw("b", json_box(1, 0, 0, HEIGHT * scale, WIDTH * scale), image_size=size)
    assert "was the image turned after it was labelled?" in channel.faults()


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_boxes_drawn_on_the_stored_pixels_stay_there(channel: Channel, kind: str, scale: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(noise(1)).save(file, kind, exif=exif)
    box = json_box(1, 20 * scale, 10 * scale, 20 * scale, 20 * scale)
    size = [{"width": WIDTH * scale, "height": HEIGHT * scale}]
    channel.draw("a", box, image=file.getvalue(), ending=".jpg", image_size=size)
    ((label, image),) = read_rec(channel.pack().path)
    assert label == LABEL
    assert decode(image).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    ("box", "said"),
    [
        (json_box(3, 1, 1, 2, 2), "has class_id 3 (ids run from 0 to 2; num_classes is 3)"),
        (json_box(-1, 1, 1, 2, 2), "has class_id -1 (ids"),
        (json_box(0.5, 1, 1, 2, 2), "has class_id 0.5 (ids"),
        (json_box("dog", 1, 1, 2, 2), 'has class_id "dog", not a number'),
        (json_box(True, 1, 1, 2, 2), "has class_id true, not a number"),
        (json_box(0, None, 1, [2], 2), "has left null, width [2], not a number"),
        (json_box(0, float("nan"), 1, 2, 10**400), "has left NaN, height 1000"),
        ({"class_id": 0, "left": 1, "width": 3}, "has no top, height"),
        ([0, 1, 2, 3, 4], "is [0, 1, 2, 3, 4], not an object with class_id, left, top, width, height"),
        (json_box(0, 70, 1, 13, 2), "(left 70, top 1, width 13, height 2) is 3 px past the border of 80x40"),
        (json_box(0, -3, 1, 4, 2), "(left -3, top 1, width 4, height 2) is 3 px past the border of 80x40"),
        (json_box(0, 1, 30, 4, 50), "(left 1, top 30, width 4, height 50) is 40 px past the border of 80x40"),
    ],
)
def test_a_wrong_box_is_named(channel: Channel, box: Any, said: str) -> None:
    channel.draw("sub/dog_17", BOX, BOX, box)
    channel.draw("good", BOX)
    text = channel.faults()
    assert text.startswith(f"train_annotation/sub/dog_17.json: box 2 {said}")
    assert text.endswith("Counting starts at 0")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON: Expecting"),
        ("", 'is empty; for an image without objects write {"annotations": []}'),
        ("[" * 100_000, "is not JSON: "),
        ("[1]", "holds no JSON object; write"),
        ('{"file": "a.png"}', 'has no list "annotations"; for an image without objects write "annotations": []'),
        ('{"annotations": {}}', 'has no list "annotations"'),
        ('{"annotations": [], "file": 7}', 'has the "file" 7, which is not a name'),
        ('{"annotations": [], "image_size": "big"}', 'has the "image_size" "big"; write [{"width": 500'),
        ('{"annotations": [], "image_size": [{"width": 0, "height": 4}]}', 'has an "image_size" without a width and'),
        ('{"annotations": [], "image_size": {"width": 10}}', 'has an "image_size" without a width and height'),
    ],
)
def test_a_json_that_is_none_is_named(channel: Channel, content: str, said: str) -> None:
    channel.draw("a", BOX)
    (channel.annotations / "a.json").write_text(content)
    channel.draw("b", BOX)
    assert channel.faults().startswith(f"train_annotation/a.json: {said}")


def test_a_class_id_of_two_names_is_told(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    for stem, names in (("a", ["dog", "cat"]), ("b", ["Dog"]), ("c", ["cat", "cat"]), ("d", [])):
        categories = [{"class_id": number, "name": name} for number, name in enumerate(names)]
        channel.draw(stem, json_box(0, 20, 10, 20, 20), categories=categories)
    assert channel.pack().class_names == {0: "dog", 1: "cat"}
    (line,) = [message for message in caplog.messages if "name" in message]
    assert line == "train: class_id that has another name elsewhere (1): c.json (class_id 0: cat, dog)"


def test_categories_that_are_not_those_of_the_boxes_name_nothing(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    # As AWS's notebook for COCO writes them: class ids from 0 on, beside COCO's category ids.
    person, bicycle = json_box(0, 20, 10, 20, 20), BOX
    names = [{"class_id": 1, "name": "person"}, {"class_id": 2, "name": "bicycle"}]
    channel.draw("a", person, categories=names[:1])
    channel.draw("b", person, bicycle, categories=names)
    # Names of some classes, and of more than the image has, are names.
    channel.draw("c", person, bicycle, categories=[{"class_id": 1, "name": "bicycle"}])
    channel.draw("d", categories=[{"class_id": 0, "name": "person"}])
    assert channel.pack().class_names == {0: "person", 1: "bicycle"}
    (line,) = [message for message in caplog.messages if "categories" in message]
    assert line == "train: JSON whose categories name other class_ids than its boxes have, not used (2): a.json, b.json"


def test_categories_that_count_from_one_name_nothing(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    names = [{"class_id": number, "name": name} for number, name in enumerate(["cat", "dog", "bird"], 1)]
    for stem, class_id in (("a", 1), ("b", 2)):
        channel.draw(stem, json_box(class_id, 20, 10, 20, 20), categories=names)
    assert channel.pack().class_names == {}
    (line,) = [message for message in caplog.messages if "categories" in message]
    assert line == "train: JSON whose categories name other class_ids than its boxes have, not used (2): a.json, b.json"


def test_categories_that_are_wrong_in_one_json_are_wrong_in_all(channel: Channel) -> None:
    # Of COCO's ids some are class ids too, by chance: there the list alone says nothing of being another's.
    names = [{"class_id": 1, "name": "person"}, {"class_id": 18, "name": "dog"}]
    channel.draw("a", json_box(1, 20, 10, 20, 20), categories=names)
    channel.draw("b", json_box(0, 20, 10, 20, 20), categories=names)
    channel.draw("c", json_box(0, 20, 10, 20, 20), categories=[{"class_id": 0, "name": "person"}])
    assert channel.pack().class_names == {0: "person"}


def test_the_time_of_finding_images_does_not_grow_with_the_square_of_the_folders(tmp_path: Path) -> None:
    # Exports name images by paths that begin elsewhere: of 2,000 folders each was compared with each.
    seconds = []
    for beginning in ("", "s3://bucket/train/"):
        channel = Channel(tmp_path / f"named{len(seconds)}")
        for number in range(2_000):
            name = f"clip_{number}/{number}"
            channel.draw(name, json_box(1, 20, 10, 20, 20), file=f"{beginning}{name}.png")
        begin = time.process_time()
        assert channel.pack().images == 2_000
        seconds.append(time.process_time() - begin)
    # It was seven times.
    assert seconds[1] < 3 * seconds[0]


def test_boxes_that_may_be_per_cent(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    large = encoded(picture(1, size=(300, 200)))
    for number in range(10):
        channel.draw(f"{number}", json_box(1, number, 10, 60, 90), image=large, image_size=None)
    channel.pack()
    assert "train: all 10 boxes lie within 0 to 100, although the images are larger." in caplog.text
    caplog.clear()
    channel.draw("another", json_box(1, 200, 10, 60, 90), image=large, image_size=None)
    channel.pack()
    assert "within 0 to 100" not in caplog.text


def test_objects_under_another_key_are_not_taken_for_none(channel: Channel) -> None:
    channel.draw("a", BOX)
    (channel.annotations / "a.json").write_text('{"file": "a.png", "marks": [{"box": [1, 2, 3, 4]}], "author": 1}')
    assert channel.faults() == (
        "train_annotation/a.json: has no list \"annotations\", but 'marks' and 'author': if another tool wrote it, "
        "export it as COCO or Pascal VOC, and turn that into channels with python -m sagemaker_ssd.convert"
    )
    (channel.annotations / "a.json").write_bytes(gzip.compress(b"{}"))
    assert channel.faults() == "train_annotation/a.json: is compressed (gzip): unpack it"


def test_byte_order_marks_and_utf_16_are_json(channel: Channel) -> None:
    channel.draw("a", BOX, file="ä.png")
    text = (channel.annotations / "a.json").read_text()
    (channel.annotations / "a.json").write_text(text, "utf-8-sig")
    channel.draw("b", BOX)
    (channel.annotations / "b.json").write_text(text, "utf-16")
    assert channel.pack().images == 2


def test_all_faults_are_told_at_once(channel: Channel) -> None:
    for number in range(8):
        channel.draw(f"{number}", json_box(0, 100, 0, 5, 5))
        channel.draw(f"class{number}", json_box(7, 0, 0, 5, 5))
    lines = channel.faults().splitlines()
    assert lines[0] == "10 problems:"
    assert lines[1].startswith("- train_annotation/class0.json: box 0 has class_id 7")
    assert lines[-2].startswith("- train_annotation/1.json: box 0 (left 100")
    assert lines[-1] == "... and 6 more"


def test_what_has_no_partner_is_skipped_and_said(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    channel.draw("a", BOX)
    write_image(channel.images / "lonely.png", png(1))
    write_annotation(channel.annotations / "gone.json", [BOX], file="gone.png")
    write_annotation(channel.annotations / "twin.json", [], file="a.png")
    file = channel.pack()
    assert (file.images, file.images_without_objects) == (1, 0)
    assert "train: image without JSON, skipped (1): lonely.png" in caplog.messages
    assert "train: JSON without image, skipped (1): gone.json" in caplog.messages
    assert "train: JSON whose image has another JSON, skipped (1): twin.json (a.png)" in caplog.messages


def test_jsons_that_mean_an_image_with_equal_right_stop(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    """Both annotation channels have one prefix, and the numbers of train and validation begin alike."""
    for number in range(7):
        write_image(channel.images / f"{number}.png", png(number))
        for split, left in (("train", 1), ("val", 2)):
            file = f"{split}/{number}.png"
            write_annotation(channel.annotations / f"{split}/{number}.json", [json_box(0, left, 1, 9, 9)], file=file)
    said = (
        "train: {} images that several JSONs of train_annotation mean with equal right and with different boxes: {}. "
        'Give each channel only its own JSONs, one for each image, or write "file" relative to the folder of the '
        "channel"
    )
    first = ", ".join(f"{number}.png (train/{number}.json, val/{number}.json)" for number in range(5))
    # They are no images that cannot be used.
    assert channel.faults(max_bad_images=1.0) == said.format(7, f"{first} and 2 more")
    assert "another JSON" not in caplog.text
    # Of a JSON with a fault the boxes are not known.
    for number in range(6):
        write_annotation(channel.annotations / f"val/{number}.json", ["no box"], file=f"val/{number}.png")
    lines = channel.faults().splitlines()
    assert lines[0] == "7 problems:"
    assert lines[-1] == f"- {said.format(1, '6.png (train/6.json, val/6.json)').replace('1 images', '1 image')}"
    for number in range(7):
        same = (channel.annotations / f"train/{number}.json").read_text().replace("train/", "val/")
        (channel.annotations / f"val/{number}.json").write_text(same)
    assert channel.pack().images == 7
    assert "train: JSON whose image has another JSON, skipped (7): val/0.json (0.png), " in caplog.text


def test_an_image_whose_ending_is_not_looked_at_is_told(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    channel.draw("a", BOX)
    for number, name in enumerate(("1.webp", "deep/2.BMP", "3.tif", "4.gif", "5.heic")):
        write_image(channel.images / name, png(1))
        write_annotation(channel.annotations / f"{number + 1}.json", [BOX], file=name)
    write_annotation(channel.annotations / "6.json", [BOX], file="6.png")
    assert channel.pack().images == 1
    why = "train: JSON whose image is there, but only .jpg, .jpeg and .png are looked at, skipped;"
    rename = "rename it to .jpg, since what it holds is read, or save it as JPEG or PNG"
    assert f"{why} {rename} (3): 1.json (1.webp), 3.json (3.tif), 2.json (deep/2.BMP)" in caplog.messages
    assert f"{why} save it as JPEG or PNG (2): 4.json (4.gif), 5.json (5.heic)" in caplog.messages
    assert "train: JSON without image, skipped (1): 6.json" in caplog.messages


def test_a_channel_of_other_endings_alone(channel: Channel) -> None:
    write_image(channel.images / "a.bmp", png(1))
    write_annotation(channel.annotations / "a.json", [BOX], file="a.bmp")
    assert channel.faults() == (
        "train: no image (.jpg, .jpeg, .png) in the channel, but a.bmp: only .jpg, .jpeg and .png are looked at; "
        "rename it to .jpg, since what it holds is read, or save it as JPEG or PNG"
    )


def test_cameras_that_number_alike_keep_their_own_boxes(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    """cam1's first images are in the other channel, and cam2's have no JSON."""
    for number in range(6):
        write_annotation(channel.annotations / f"cam1/{number:04d}.json", [BOX], file=f"cam1/{number:04d}.png")
        write_image(channel.images / f"{'cam2' if number < 4 else 'cam1'}/{number:04d}.png", png(number))
    file = channel.pack(keep_names=True)
    assert file.names == ("cam1/0004.png", "cam1/0005.png")
    jsons, images = (", ".join(f"{camera}/{number:04d}" for number in range(4)) for camera in ("cam1", "cam2"))
    assert f"train: JSON without image, skipped (4): {jsons.replace(',', '.json,')}.json" in caplog.messages
    assert f"train: image without JSON, skipped (4): {images.replace(',', '.png,')}.png" in caplog.messages


def test_images_found_by_their_names_alone_are_told(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(2):
        write_image(channel.images / f"images/{number}.png", png(number))
        write_annotation(channel.annotations / f"json{number}.json", [BOX], file=f"old/{number}.png")
    assert channel.pack().images == 2
    assert (
        "train: JSON whose image has the name at the end of file and another folder, taken all the same (2): "
        "json0.json (images/0.png), json1.json (images/1.png)" in caplog.messages
    )


def test_boxes_of_another_image_by_file_are_told(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    channel.draw("a", BOX, file="b.png")
    channel.draw("b", BOX, file="b.png")
    assert channel.pack().images == 2
    said = "train: JSON that is called like its image, while its file is another image that is there too (1): "
    assert f"{said}a.json (a.png, file b.png)" in caplog.messages


def test_every_json_gives_names_of_classes(channel: Channel) -> None:
    """Not only the first ones: those of a class can come last."""
    for number in range(2002):
        write_image(channel.images / f"{number:04d}.png", TINY)
        class_id, name = (2, "dog") if number == 2001 else (0, "cat")
        boxes, names = [json_box(class_id, 0, 0, 20, 20)], [{"class_id": class_id, "name": name}]
        write_annotation(channel.annotations / f"{number:04d}.json", boxes, categories=names)
    assert channel.pack().name_of_each_class() == ["cat", "1", "dog"]


def test_ten_of_a_kind_of_warning_are_named(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    channel.draw("a", BOX)
    for number in range(12):
        write_image(channel.images / f"{number:02}.png", png(1))
    channel.pack()
    named = ", ".join(f"{number:02}.png" for number in range(10))
    assert f"train: image without JSON, skipped (12): {named} and 2 more" in caplog.messages


def test_hidden_files_are_not_seen(channel: Channel) -> None:
    channel.draw("a", BOX)
    for name in ("._a.png", ".ipynb_checkpoints/a-checkpoint.png"):
        write_image(channel.images / name, b"rubbish")
    for name in ("._a.json", ".hidden/b.json"):
        write_image(channel.annotations / name, b"rubbish")
    assert channel.pack().images == 1


def test_boxes_past_the_border_without_area_and_left_out(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    channel.draw("a", json_box(0, -2, -1, WIDTH + 4, HEIGHT + 2), json_box(1, 5, 5, 0, 5), json_box(1, 5, 5, 3, -1))
    channel.draw("b", json_box(0, 5, 5, 0, 0))
    file = channel.pack()
    assert read_rec(file.path) == [([2, 5, 0, 0, 0, 1, 1], png(0))]
    assert (file.boxes, file.images_without_objects) == (1, 0)
    assert "train: box past the image's border by up to 2 px, clipped (1): a.json box 0" in caplog.messages
    assert (
        "train: box without area or inverted, dropped (3): a.json box 1, a.json box 2, b.json box 0" in caplog.messages
    )
    assert "train: image whose boxes all have no area, left out (1): b.json" in caplog.messages


def test_boxes_with_sides_below_0_stop(channel: Channel) -> None:
    """As from tools that subtract the corners the wrong way round."""
    for number in range(20):
        channel.draw(f"{number:02}", BOX if number % 2 else json_box(1, 40, 30, -20, -20))
    assert channel.faults() == (
        "train: 10 of 20 boxes are inverted, such as train_annotation/00.json: box 0 (left 40, top 30, width -20, "
        "height -20). Left and top must be a box's upper left corner, and width and height above 0, from there to the "
        "right and downwards. Counting starts at 0"
    )


def test_channels_that_were_cut_in_different_places_stop(channel: Channel) -> None:
    channel.draw("a", BOX)
    write_image(channel.images / "b.png", png(1))
    write_annotation(channel.annotations / "c.json", [BOX])
    assert channel.pack().images == 1
    assert channel.faults(pairs_sharded=True) == (
        "train: 1 image without JSON, such as b.png, and 1 JSON without image, such as c.json: S3DistributionType "
        "ShardedByS3Key may have cut the two channels in different places. Set train_annotation's S3DistributionType "
        "to FullyReplicated, so that each host has the JSONs of its images, or take out of both channels what has no "
        "partner"
    )
    (channel.annotations / "c.json").unlink()
    assert channel.pack(pairs_sharded=True).images == 1


def test_jsons_of_images_that_other_hosts_have_are_called_so(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    channel.draw("a", BOX)
    write_annotation(channel.annotations / "b.json", [BOX])
    assert channel.pack(sharded=True).images == 1
    assert "train: JSON without image on this host, which another host may have, skipped (1): b.json" in caplog.messages


def test_an_image_in_a_folder_is_not_found_by_its_name_alone_in_a_part(
    channel: Channel, caplog: pytest.LogCaptureFixture
) -> None:
    """What a host is given of cam1/ and cam2/, where cam1/0004.png is not annotated."""
    for number in (1, 4):
        write_image(channel.images / f"cam1/{number:04}.png", png(number))
    for name in ("cam1-0001", "cam2-0001", "cam2-0004"):
        write_annotation(channel.annotations / f"{name}.json", [BOX], file=f"{name.replace('-', '/')}.png")
    assert channel.pack(sharded=True, keep_names=True).names == ("cam1/0001.png",)
    elsewhere = "JSON without image on this host, which another host may have, skipped (2): cam2-0001.json, cam2-0004"
    assert f"train: {elsewhere}.json" in caplog.messages
    assert "train: image without JSON, skipped (1): cam1/0004.png" in caplog.messages
    (channel.annotations / "cam1-0001.json").unlink()
    assert channel.faults(sharded=True) == (
        "train: not one of 2 images of this host's part has a JSON, such as cam1/0001.png. Where hosts have parts, the "
        'name at the end of "file" alone does not tell an image in a folder: write its whole folder into "file", or '
        "give the JSON the image's own path"
    )


def test_a_jpeg_that_lacks_its_end_marker_alone_is_whole(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    image = encoded(noise(1), ".jpg")
    channel.draw("whole", BOX, image=image[:-2], ending=".jpg")
    channel.draw("cut", BOX, image=image[:-200], ending=".jpg")
    assert channel.pack().images == 2
    assert [line for line in caplog.messages if "cut off" in line] == [
        "train: JPEG that is cut off, used as far as it goes (1): cut.jpg"
    ]


def test_images_that_cannot_be_used(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(6):
        channel.draw(f"good{number}", BOX)
    channel.draw("empty", BOX, image=b"")
    channel.draw("sub/text", BOX, image=b"<html>not found</html>", ending=".jpg")
    channel.draw("half", BOX, image=encoded(noise(1))[:2000])
    channel.draw("no_pixel", BOX, image=png(1)[:16] + bytes(4) + png(1)[20:])  # of width 0
    channel.draw("without_json_does_not_count", BOX, image=b"")
    (channel.annotations / "without_json_does_not_count.json").unlink()
    bad = (
        "empty.png (empty, 0 bytes), half.png (damaged or cut off), no_pixel.png (0x40 px, without a pixel), "
        "sub/text.jpg (an HTML page: download the image again)"
    )
    assert channel.faults(max_bad_images=0.39) == (
        f"train: 4 of 10 images cannot be used, and max_bad_images (0.39) allows 3: {bad}. "
        "Replace these images or leave them out, or raise max_bad_images"
    )
    assert channel.pack(max_bad_images=0.4).images == 6
    assert f"train: image that cannot be used, left out (4): {bad}" in caplog.messages


@pytest.mark.parametrize(
    ("closed", "said"),
    [
        (["train/b"], "train/b: cannot be read: Permission denied"),
        (["train_annotation"], "train_annotation: cannot be read: Permission denied"),
        (
            ["train", "train_annotation/b/c"],
            "2 problems:\n- train: cannot be read: Permission denied\n"
            "- train_annotation/b/c: cannot be read: Permission denied",
        ),
    ],
)
def test_a_folder_that_cannot_be_listed_is_no_empty_one(closed: list[str], said: str) -> None:
    with open_folder() as folder:
        channel = Channel(folder)
        channel.draw("a", BOX)
        channel.draw("b/c/1", BOX)
        for path in closed:
            (folder / "input" / path).chmod(0)

        def fault() -> str:
            with pytest.raises(UserError) as raised:
                channel.pack()
            return raised.value.sentence

        assert said_as_another_user(fault) == said


def test_as_many_images_may_be_left_out_as_the_share_says(channel: Channel) -> None:
    """29 of 100 by 0.29, which is a little less in binary."""
    for number in range(100):
        channel.draw(f"{number:03}", BOX, image=png(0) if number >= 29 else b"")
    assert channel.pack(max_bad_images=0.29).images == 71
    channel.draw("029", BOX, image=b"")
    assert "30 of 100 images cannot be used, and max_bad_images (0.29) allows 29: " in channel.faults(
        max_bad_images=0.29
    )


@pytest.mark.parametrize("kind", [".png", ".tiff", ".jp2"])
def test_an_image_of_16_bits_is_told(channel: Channel, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    """Such as that of a camera of 12 bits, of which the upper 8 of 16 leave little."""
    twelve = np.full((HEIGHT, WIDTH, 3), 4095, np.uint16)
    channel.draw("deep", BOX, image=encoded(twelve, kind))
    channel.draw("plain", BOX)
    assert channel.pack().images == 2
    said = "image of 16 bits, of which the upper 8 are read, so that values of 12 bits would be nearly black"
    assert f"train: {said} (1): deep.png" in caplog.messages
    assert decode(encoded(twelve, kind)).max() in (15, 16)


def test_an_image_that_cannot_be_read_is_a_fault(channel: Channel) -> None:
    channel.draw("a", BOX)
    (channel.images / "a.png").unlink()
    (channel.images / "a.png").symlink_to("nowhere")
    assert channel.faults() == "train/a.png: cannot be read: No such file or directory"


def test_nothing_to_train_on(channel: Channel) -> None:
    text = channel.faults()
    assert "train: no image (.jpg, .jpeg, .png) in the channel" in text
    assert "train_annotation: no .json in the channel; every image needs one of the same name" in text
    write_image(channel.images / "a.png", png(0))
    write_annotation(channel.annotations / "b.json", [BOX])
    assert channel.faults() == "train: holds no image with an annotation"
    channel.draw("a")
    assert channel.faults() == "train: not one box in 1 image, so there is nothing to learn"


def test_label_width_too_small_is_only_said(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    channel.draw("a", *([BOX] * 4))
    assert channel.pack(label_width=10).max_objects == 4
    assert "train: label_width is 10, but the fullest image needs 22; 22 is used" in caplog.messages
