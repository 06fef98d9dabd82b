"""`convert voc`: both forms of output from images and XML files drawn here, numbers by hand."""

import numpy as np
import pytest
from PIL import Image

from sagemaker_ssd.channels.images import upright_size
from sagemaker_ssd.convert.__main__ import main

DOG = ("dog", 10, 5, 60, 45)
CAT = ("cat", 50, 0, 100, 25)
# In an image of 100 x 50: fractions of DOG and CAT.
DOG_FRACTIONS = [0.1, 0.1, 0.6, 0.9]
CAT_FRACTIONS = [0.5, 0.0, 1.0, 0.5]


@pytest.fixture
def small(voc):
    voc.add("a.jpg", [DOG, CAT])
    voc.add("b.png", [])
    voc.add("sub/c.JPG", [("owl", 1, 1, 1, 1), CAT])
    return voc


def run(voc, output, *more):
    return main([str(word) for word in voc.arguments("--output", output, *more)])


def test_images_with_json(small, convert, tmp_path, read_json):
    train = small.write_list("train.txt", "a", "b.png")
    validation = small.write_list("val.txt", "sub/c")
    output = tmp_path / "out"
    done = convert(*small.arguments("--train", train, "--validation", validation, "--as", "images", "--output", output))
    assert (done.returncode, done.stderr) == (0, "")
    files = sorted(path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file())
    assert files == [
        "classes.txt",
        "train/a.jpg",
        "train/b.png",
        "train_annotation/a.json",
        "train_annotation/b.json",
        "validation/sub/c.JPG",
        "validation_annotation/sub/c.json",
    ]
    categories = [{"class_id": 0, "name": "cat"}, {"class_id": 1, "name": "dog"}, {"class_id": 2, "name": "owl"}]
    assert read_json(output / "train_annotation/a.json") == {
        "file": "a.jpg",
        "image_size": [{"width": 100, "height": 50, "depth": 3}],
        "annotations": [
            {"class_id": 1, "left": 10, "top": 5, "width": 50, "height": 40},
            {"class_id": 0, "left": 50, "top": 0, "width": 50, "height": 25},
        ],
        "categories": categories,
    }
    assert read_json(output / "train_annotation/b.json")["annotations"] == []
    third = read_json(output / "validation_annotation/sub/c.json")
    assert third["file"] == "sub/c.JPG"
    # The box without area stays: the training job counts and drops it.
    assert third["annotations"][0] == {"class_id": 2, "left": 1, "top": 1, "width": 0, "height": 0}
    assert (output / "classes.txt").read_text() == "cat\ndog\nowl\n"
    assert (output / "train/a.jpg").read_bytes() == (small.images / "a.jpg").read_bytes()


def test_what_the_end_says(small, capsys, tmp_path):
    lists = ("--train", small.write_list("train.txt", "a", "b"), "--validation", small.write_list("val.txt", "sub/c"))
    assert run(small, tmp_path / "out", *lists, "--as", "images") == 0
    printed = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert "train: images 2, boxes 2, classes 2 of 3, images without objects 1" in lines
    assert "validation: images 1, boxes 2, classes 2 of 3, images without objects 0" in lines
    assert "0 cat train 1 validation 1" in lines
    assert "num_classes=3" in lines
    assert "num_training_samples=2" in lines
    assert "boxes without area: 1, first in sub/c.JPG" in printed
    assert "label_width" not in printed


def test_one_rec_a_channel(small, convert, tmp_path, read_records):
    train = small.write_list("train.txt", "a", "b")
    validation = small.write_list("val.txt", "sub/c")
    output = tmp_path / "out"
    done = convert(
        *small.arguments("--train", train, "--validation", validation, "--as", "recordio", "--output", output)
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in output.rglob("*.*")) == ["classes.txt", "train.rec", "validation.rec"]
    labels = {image: label for label, image in read_records(output / "train/train.rec")}
    first = labels[(small.images / "a.jpg").read_bytes()]
    assert first == pytest.approx([2, 5, 1, *DOG_FRACTIONS, 0, *CAT_FRACTIONS])
    assert labels[(small.images / "b.png").read_bytes()] == [2, 5, 0, 0.5, 0.5, 0.5, 0.5]
    ((label, _),) = read_records(output / "validation/validation.rec")
    assert label == pytest.approx([2, 5, 2, 0.01, 0.02, 0.01, 0.02, 0, *CAT_FRACTIONS])


def test_mxnets_reader_takes_the_rec(small, tmp_path):
    import mxnet

    train = small.write_list("train.txt", "b", "sub/c")
    assert run(small, tmp_path / "out", "--train", train, "--validation", train, "--as", "recordio") == 0
    reader = mxnet.io.ImageDetRecordIter(
        path_imgrec=str(tmp_path / "out/validation/validation.rec"),
        data_shape=(3, 300, 300),
        batch_size=2,
        label_pad_width=20,
        verbose=False,
    )
    rows = reader.next().label[0].asnumpy()[:, 4 + 2 :].reshape(2, -1)
    assert (rows[0, :5] == -1).all()  # the image without objects
    assert rows[1, :5] == pytest.approx([0, *CAT_FRACTIONS])  # the box without area is gone
    assert (rows[1, 5:10] == -1).all()


def test_difficult_boxes(voc, tmp_path, capsys, read_records, read_json):
    voc.add("a.jpg", [(*DOG, 1), (*CAT, 0)])
    voc.add("b.jpg", [DOG])
    lists = ("--train", voc.write_list("train.txt", "a"), "--validation", voc.write_list("val.txt", "b"))
    assert run(voc, tmp_path / "rec", *lists, "--as", "recordio") == 0
    assert "boxes marked difficult" not in capsys.readouterr().out
    ((label, _),) = read_records(tmp_path / "rec/train/train.rec")
    assert label == pytest.approx([2, 6, 1, *DOG_FRACTIONS, 1, 0, *CAT_FRACTIONS, 0])
    ((label, _),) = read_records(tmp_path / "rec/validation/validation.rec")
    assert label == pytest.approx([2, 6, 1, *DOG_FRACTIONS, 0])
    assert run(voc, tmp_path / "images", *lists, "--as", "images") == 0
    assert "boxes marked difficult: 1; the JSON format has no place" in capsys.readouterr().out
    assert len(read_json(tmp_path / "images/train_annotation/a.json")["annotations"]) == 2


def test_class_order_from_the_command_line(small, tmp_path):
    assert run(small, tmp_path / "out", "--as", "images", "--classes", "owl, dog,cat,horse") == 0
    assert (tmp_path / "out/classes.txt").read_text() == "owl\ndog\ncat\nhorse\n"


def test_lines_of_a_list(voc, tmp_path, capsys):
    names = ["a.b.jpg", "plain.jpg", "two words.jpg", "seen 1.jpg"]
    for name in names:
        voc.add(name, [DOG])
    # A dot in the stem, a second column, an ending, spaces, a stem that ends like a second column; a blank line.
    lines = ["a.b", "", "plain  -1", "two words.jpg 1", "seen 1", "plain.jpg"]
    train = voc.write_list("train.txt", *lines)
    assert run(voc, tmp_path / "out", "--train", train, "--validation", train, "--as", "images") == 0
    assert sorted(path.name for path in (tmp_path / "out/train").iterdir()) == sorted(names)
    printed = capsys.readouterr().out
    assert f"{train}: lines that repeat an image: 1, left out" in printed
    assert "images both in train and in validation: 4, first a.b.jpg" in printed


def test_without_lists_a_fifth_becomes_validation(voc, tmp_path):
    for number in range(10):
        voc.add(f"{number}.jpg", [DOG])
    splits = {}
    for name, more in {"a": (), "b": ("--seed", 1), "c": (), "d": ("--validation-fraction", 0.5)}.items():
        assert run(voc, tmp_path / name, "--as", "images", *more) == 0
        splits[name] = {path.name for path in (tmp_path / name / "validation").iterdir()}
        train = {path.name for path in (tmp_path / name / "train").iterdir()}
        assert splits[name].isdisjoint(train)
        assert len(splits[name] | train) == 10
    assert [len(split) for split in splits.values()] == [2, 2, 2, 5]
    assert splits["a"] == splits["c"]
    assert splits["a"] != splits["b"]


def test_without_a_train_list_it_is_what_validation_leaves(small, tmp_path):
    validation = small.write_list("val.txt", "a")
    assert run(small, tmp_path / "out", "--validation", validation, "--as", "images") == 0
    files = [path.name for path in (tmp_path / "out/train").rglob("*.*")]
    assert sorted(files) == ["b.png", "c.JPG"]


def test_the_train_rec_is_in_a_seeded_random_order(voc, tmp_path, read_records):
    for number in range(20):
        voc.add(f"{number:02}.jpg", [("dog", number, 0, 90, 50)])
    stems = voc.write_list("all.txt", *(f"{number:02}" for number in range(20)))
    orders = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        lists = ("--train", stems, "--validation", stems, "--seed", seed)
        assert run(voc, tmp_path / name, *lists, "--as", "recordio") == 0
        orders.append([round(label[3] * 100) for label, _ in read_records(tmp_path / name / "train/train.rec")])
    assert sorted(orders[0]) == list(range(20))
    assert orders[0] != list(range(20))
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    kept = [label[3] for label, _ in read_records(tmp_path / "a/validation/validation.rec")]
    assert kept == pytest.approx(np.arange(20) / 100)


def test_sizes(voc, tmp_path, capsys, read_json):
    voc.add("none.jpg", [DOG], stated=None)
    voc.add("zero.jpg", [DOG], stated=(0, 0))
    voc.add("resized.jpg", [DOG], stated=(200, 100))
    for ending in ("jpg", "png"):
        voc.add(f"turned_{ending}.{ending}", [DOG], size=(50, 100), stated=(100, 50), orientation=6)
    train = voc.write_list("train.txt", "none", "zero", "resized", "turned_jpg", "turned_png")
    lists = ("--train", train, "--validation", voc.write_list("val.txt", "none"))
    assert run(voc, tmp_path / "out", *lists, "--as", "images") == 0
    written = dict.fromkeys(("none", "zero", "turned_jpg", "turned_png"), (100, 50))
    for name, size in {**written, "resized": (200, 100)}.items():
        (found,) = read_json(tmp_path / f"out/train_annotation/{name}.json")["image_size"]
        assert (found["width"], found["height"]) == size
    printed = capsys.readouterr().out
    assert "images of another size than their annotation says: 1, first" in printed
    assert "resized.jpg (200x100 stated, 100x50 found)" in printed
    assert "images with an EXIF orientation: 2, first" in printed


def test_a_photo_with_further_pictures_in_its_file_is_turned_too(voc, tmp_path, read_json):
    voc.add("photo.jpg", [DOG], size=(50, 100), stated=None)
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures = [Image.new("RGB", (50, 100)), Image.new("RGB", (5, 10))]
    pictures[0].save(voc.images / "photo.jpg", "MPO", save_all=True, append_images=pictures[1:], exif=exif)
    names = voc.write_list("list.txt", "photo")
    assert run(voc, tmp_path / "out", "--train", names, "--validation", names, "--as", "images") == 0
    (found,) = read_json(tmp_path / "out/train_annotation/photo.json")["image_size"]
    assert (found["width"], found["height"]) == (100, 50) == upright_size((voc.images / "photo.jpg").read_bytes())


def test_a_label_wider_than_the_default_is_told(voc, tmp_path, capsys):
    voc.add("a.jpg", [DOG] * 70)
    voc.add("b.jpg", [DOG])
    assert run(voc, tmp_path / "out", "--as", "images") == 0
    assert "label_width=352" in capsys.readouterr().out  # 2 + 5 x 70
