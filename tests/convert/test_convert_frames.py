"""What boxes are drawn on: EXIF orientations of every kind of file, and sizes stated the wrong way round."""

import numpy as np
import pytest
from PIL import Image, ImageOps

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
