"""What boxes are drawn on: EXIF orientations of every kind of file, and sizes stated the wrong way round."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from sagemaker_ssd.channels.check import check_recordio
from sagemaker_ssd.channels.findings import CheckOptions
from sagemaker_ssd.channels.image_files import pack_images
from sagemaker_ssd.convert.__main__ import main

BOX = ("dog", 0, 0, 10, 20)


def run(voc, output, *more, form="images"):
    return main([str(word) for word in voc.arguments("--as", form, "--output", output, *more)])


@pytest.fixture
def add(voc):
    """Add an image of 100 x 50 stored pixels, black but for white at BOX, with an orientation and a size stated."""

    def run(name, orientation, stated, kind=None, box=BOX):
        voc.add(name, [box], stated=stated)
        pixels = np.zeros((50, 100, 3), np.uint8)
        pixels[0:20, 0:10] = 255
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(pixels).save(voc.images / name, kind, exif=exif, quality=95)

    return run


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("stated", [(100, 50), (200, 100)])
def test_boxes_on_the_stored_pixels_are_turned_with_their_image(
    add, voc, tmp_path, capsys, boxes_of, kind, orientation, stated
):
    scale = stated[0] / 100
    box = ("dog", *(value * scale for value in BOX[1:]))
    name = "a.png" if kind == "PNG" else "a.jpg"
    add(name, orientation, stated, kind, box)
    voc.add("b.jpg", [("dog", 10, 5, 60, 45)])
    lists = ("--train", voc.write_list("train.txt", "a"), "--validation", voc.write_list("val.txt", "b"))
    assert run(voc, tmp_path / "out", *lists) == 0
    ((_, left, top, width, height),), size = boxes_of(tmp_path / "out/train_annotation/a.json")
    assert size == (stated[1], stated[0])
    upright = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "out/train" / name)))
    assert upright.shape[:2] == (100, 50)
    rows, columns = np.nonzero(upright.mean(axis=2) > 128)
    expected = (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
    assert [value / scale for value in (left, top, width, height)] == pytest.approx(expected)
    assert "images with an EXIF orientation whose annotation has the size without it: 1" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "MPO", "TIFF"])
@pytest.mark.parametrize(("orientation", "stated"), [(3, (100, 50)), (2, None), (6, None), (6, (50, 100))])
def test_an_orientation_is_noted_in_files_of_every_kind(
    add, voc, tmp_path, capsys, boxes_of, kind, orientation, stated
):
    add("a.png" if kind == "PNG" else "a.jpg", orientation, stated, kind)
    voc.add("b.jpg", [BOX])
    assert run(voc, tmp_path / "out") == 0
    (path,) = (tmp_path / "out").glob("*_annotation/a.json")
    assert boxes_of(path) == ([(0, 0, 0, 10, 20)], (50, 100) if orientation == 6 else (100, 50))
    assert "images with an EXIF orientation: 1, first" in capsys.readouterr().out


@pytest.mark.parametrize("stated", [(50, 100), (100, 200), (150, 300)])
def test_width_and_height_the_wrong_way_round(voc, tmp_path, capsys, boxes_of, stated):
    scale = stated[0] / 50
    voc.add("a.jpg", [("dog", 0, 0, 90 * scale, 40 * scale)], stated=stated)
    voc.add("b.jpg", [BOX])
    assert run(voc, tmp_path / "out") == 0
    (path,) = (tmp_path / "out").glob("*_annotation/a.json")
    assert boxes_of(path) == ([(0, 0, 0, 90 * scale, 40 * scale)], stated[::-1])
    assert "width and height the wrong way round: 1, first" in capsys.readouterr().out


def test_boxes_that_fit_only_the_size_the_other_way_round(add, voc, tmp_path, capsys):
    voc.add("a.jpg", [("dog", 1, 1, 40, 90)], stated=(50, 100))
    add("b.jpg", 6, (100, 50), box=("dog", 1, 1, 40, 90))
    assert run(voc, tmp_path / "out") == 1
    printed = capsys.readouterr().err
    assert "width and height are stated the wrong way round: was the image turned after it was labelled?" in printed
    assert (
        "the size stated is that without the EXIF orientation, but the boxes seem to be drawn on the upright" in printed
    )


@pytest.mark.parametrize("stated", [(200, 100), (100, 100), (101, 50), (33, 20)])
def test_other_sizes_are_scaled_from(voc, tmp_path, capsys, boxes_of, stated):
    voc.add("a.jpg", [BOX], stated=stated)
    voc.add("b.jpg", [BOX])
    assert run(voc, tmp_path / "out") == 0
    (path,) = (tmp_path / "out").glob("*_annotation/a.json")
    assert boxes_of(path) == ([(0, 0, 0, 10, 20)], stated)
    assert "images of another size than their annotation says: 1" in capsys.readouterr().out


INVERTED = "inverted boxes, whose xmax is below xmin or ymax below ymin"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("corners", [(60, 20, 10, 5), (60, 5, 10, 20), (10, 20, 60, 5)])
def test_an_inverted_box_stays_so_when_its_image_is_turned(add, voc, tmp_path, capsys, boxes_of, orientation, corners):
    add("a.jpg", orientation, (100, 50), box=("dog", *corners))
    voc.add("b.jpg", [BOX])
    assert run(voc, tmp_path / "out") == 0
    (path,) = (tmp_path / "out").glob("*_annotation/a.json")
    ((_, _, _, width, height),), _ = boxes_of(path)
    # In JSON files, too, a side below 0 counts as inverted: the job drops the box.
    sides = {(corners[2] - corners[0], corners[3] - corners[1])}
    assert (width, height) in (sides if orientation < 5 else {side[::-1] for side in sides})
    numbers = ", ".join(map(str, corners))
    assert (
        f"{INVERTED}: 1, first {voc.annotations}/a.xml: box 0 (dog) (xmin, ymin, xmax, ymax {numbers}); kept here, "
        "dropped by the training job"
    ) in capsys.readouterr().out


def test_many_inverted_boxes_of_turned_images_stop_the_conversion(add, voc, tmp_path, capsys):
    for number in range(12):
        add(f"{number:02}.jpg", 6, (100, 50), box=("dog", 60, 20, 10, 5))
    train = voc.write_list("train.txt", *(f"{number:02}" for number in range(11)))
    assert run(voc, tmp_path / "out", "--train", train, "--validation", voc.write_list("val.txt", "11")) == 1
    assert capsys.readouterr().err.startswith(
        f"train: 11 of 11 boxes are inverted, such as {voc.annotations}/00.xml: box 0 (dog) (xmin, ymin, xmax, ymax "
        "60, 20, 10, 5)"
    )


@pytest.mark.parametrize("bbox", [[60, 20, -20, 10], [40, 30, 20, -10], [60, 30, -20, -10]])
@pytest.mark.parametrize("degrees", [30, 90, 180])
def test_an_inverted_box_stays_so_when_it_is_rotated(coco, tmp_path, capsys, boxes_of, bbox, degrees):
    for name in "ab":
        coco.draw(coco.images / f"{name}.jpg", (100, 50))
    content = {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "bbox": bbox, "attributes": {"rotation": degrees}},
            {"image_id": 2, "category_id": 1, "bbox": [10, 5, 50, 40]},
        ],
        "categories": [{"id": 1, "name": "dog"}],
    }
    assert coco.run(tmp_path / "out", "--train", coco.write_json("train.json", content)) == 0
    (path,) = (tmp_path / "out").glob("*_annotation/a.json")
    ((_, _, _, width, height),), _ = boxes_of(path)
    assert min(width, height) < 0
    assert f"{INVERTED}: 1, first " in capsys.readouterr().out


def checked(out, folder, form):
    """Check the training channel as the job does; how many boxes it keeps."""
    options = CheckOptions(name="train", num_classes=1, scratch=folder, max_bad_images=0, label_width=350)
    train = out / "train"
    file = (
        check_recordio(train / "train.rec", options)
        if form == "recordio"
        else pack_images(train, out / "train_annotation", options)
    )
    return file.boxes


@pytest.mark.parametrize("form", ["images", "recordio"])
@pytest.mark.parametrize(("corners", "kept"), [((150, 10, 201, 30), 1), ((-2, -1, 50, 102), 1), ((201, 30, -1, 10), 0)])
def test_boxes_at_the_border_of_a_smaller_size_stated(add, voc, tmp_path, capsys, form, corners, kept):
    """A pixel of the size stated is ten of the image's own, which the job would refuse in a record."""
    for name in ("a", "b"):
        voc.add(f"{name}.jpg", [("dog", *corners), ("dog", 10, 10, 60, 30)], size=(2000, 1000), stated=(200, 100))
    lists = ("--train", voc.write_list("train.txt", "a"), "--validation", voc.write_list("val.txt", "b"))
    assert run(voc, tmp_path / "out", *lists, form=form) == 0
    assert checked(tmp_path / "out", tmp_path / "scratch", form) == 1 + kept
    by = "clipped" if form == "recordio" else "kept here, clipped by the training job"
    note = f"boxes past the border by up to 2 px: 2, first in a.jpg; {by}\n"
    assert (note in capsys.readouterr().out) == bool(kept)


@pytest.mark.parametrize("form", ["images", "recordio"])
def test_a_box_between_the_border_and_what_is_clipped_has_no_area(voc, tmp_path, capsys, form):
    for name in "ab":
        voc.add(f"{name}.jpg", [("dog", 100, 5, 102, 20), BOX])
    assert run(voc, tmp_path / "out", form=form) == 0
    assert checked(tmp_path / "out", tmp_path / "scratch", form) == 1
    printed = capsys.readouterr().out
    assert "boxes without area: 2, first in a.jpg; kept here, dropped by the training job" in printed
    assert "past the border" not in printed
