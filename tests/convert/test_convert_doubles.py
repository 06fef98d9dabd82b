"""`convert` on images that stand there twice: entries of one id, of one file, and images of both splits."""

import pytest

from sagemaker_ssd.convert.__main__ import main

CELLS = [{"id": 1, "name": "RBC"}, {"id": 2, "name": "WBC"}]
BOX = [10, 5, 50, 40]
OTHER_BOX = [70, 10, 20, 20]


@pytest.fixture
def write(coco):
    """Write a file of images (id, file_name, or None for none[, width]) and annotations (image_id, bbox)."""

    def run(images, annotations, name="train.json", folder=None):
        entries = []
        for identity, file, *width in images:
            if file is not None:
                coco.draw((folder or coco.images) / file, (100, 50))
            named = {} if file is None else {"file_name": file}
            entries.append({"id": identity, **named, "width": width[0] if width else 100, "height": 50})
        boxes = [
            {"id": 1000 + number, "image_id": image, "category_id": 1, "bbox": bbox}
            for number, (image, bbox) in enumerate(annotations)
        ]
        return coco.write_json(name, {"images": entries, "annotations": boxes, "categories": CELLS})

    return run


@pytest.fixture
def converted(tmp_path, boxes_of):
    """The left, top, width and height of the boxes of all images of both splits, by the image's name."""

    def read(name="out"):
        return {
            file.stem: [box[1:] for box in boxes_of(file)[0]] for file in (tmp_path / name).glob("*_annotation/*.json")
        }

    return read


def numbered(count):
    return [(number, f"{number:03}.jpg") for number in range(count)]


def test_images_of_one_id_get_no_boxes_of_each_other(coco, write, tmp_path, capsys, converted):
    """As CVAT writes images of one name and several endings."""
    boxes = [(number, BOX) for number in range(200)]
    train = write([*numbered(200), (5, "other.jpg")], [*boxes, (5, OTHER_BOX)])
    assert coco.run(tmp_path / "out", "--train", train) == 0
    found = converted()
    assert len(found) == 199
    assert not {"005", "other"} & found.keys()
    printed = capsys.readouterr().out
    remedy = "so that annotations of this id may be of either: give each image an id of its own"
    assert (
        "images left out because of a fault: 2 of 201 (--max-bad-images (0.01) allows 2): "
        f"{train}: image 5 (id 5) 005.jpg has the id of image 200 (id 5) other.jpg, {remedy} | "
        f"{train}: image 200 (id 5) other.jpg has the id of image 5 (id 5) 005.jpg, {remedy}\n"
    ) in printed
    assert "images that no file names" not in printed
    assert "not in 'images'" not in printed


@pytest.mark.parametrize(
    ("second", "why"),
    [
        ((1, "b.jpg"), "image 0 (id 1) a.jpg has the id of image 1 (id 1) b.jpg, so that"),
        (("1", "b.jpg"), "image 0 (id 1) a.jpg has the id of image 1 (id 1) b.jpg, so that"),
        ((1.0, "b.jpg"), "image 1 (id 1.0) b.jpg has the id of image 0 (id 1) a.jpg, so that"),
        ((1, "a.jpg", 200), "a.jpg has the id of image 1 (id 1) a.jpg, but another size: take one of them out"),
        ((1, None), "image 0 (id 1) a.jpg has the id of image 1 (id 1), so that"),
    ],
)
def test_entries_of_one_id_that_are_not_the_same(coco, write, tmp_path, capsys, second, why):
    train = write([(1, "a.jpg"), second, (2, "c.jpg"), (3, "d.jpg")], [(1, BOX), (2, BOX), (3, BOX)])
    assert coco.run(tmp_path / "out", "--train", train) == 1
    printed = capsys.readouterr().err
    assert why in printed
    assert "2 images of 4 cannot be used" in printed


def test_an_image_that_stands_there_twice_is_one(coco, write, tmp_path, capsys, converted):
    """As in files that were merged, with its annotations twice too; equal annotations of other images stay."""
    boxes = [(1, BOX), (2, BOX), (2, BOX), (1, BOX), (1, OTHER_BOX)]
    train = write([(1, "a.jpg"), (2, "b.jpg"), (1, "a.jpg")], boxes)
    assert coco.run(tmp_path / "out", "--train", train, "--max-bad-images", "0") == 0
    assert converted() == {"a": [tuple(BOX), tuple(OTHER_BOX)], "b": [tuple(BOX)] * 2}
    printed = capsys.readouterr().out
    assert f"images that have a second, equal entry: 1, first image 2 (id 1) in {train}; each was taken once" in printed
    assert (
        f"annotations that such images have twice: 1, first annotation 3 (id 1003) of a.jpg in {train}; each was taken "
        "once" in printed
    )


def test_ids_are_compared_as_they_stand_first(coco, write, tmp_path, converted):
    train = write([("1", "a.jpg"), ("01", "b.jpg"), ("002", "c.jpg")], [("01", OTHER_BOX), (1, BOX), (2, [1, 2, 3, 4])])
    assert coco.run(tmp_path / "out", "--train", train) == 0
    assert converted() == {"a": [tuple(BOX)], "b": [tuple(OTHER_BOX)], "c": [(1, 2, 3, 4)]}


def test_an_id_without_zeros_that_may_be_either(coco, write, tmp_path, capsys):
    train = write([("01", "a.jpg"), ("001", "b.jpg"), (2, "c.jpg")], [(1, BOX), ("01", BOX), (2, BOX)])
    assert coco.run(tmp_path / "out", "--train", train) == 1
    lines = capsys.readouterr().err.splitlines()
    for line, (file, identity) in zip(lines[1:3], [("a.jpg", "01"), ("b.jpg", "001")], strict=True):
        assert line == (
            f"- {train}: annotation 0 (id 1000) has the image_id 1, by which the image {file} with the id "
            f"'{identity}' may be meant, or another of '01', '001': write it like the id"
        )
    assert lines[3].startswith("2 images of 3 cannot be used")


def test_an_image_of_two_entries_keeps_no_part_of_its_boxes(coco, write, tmp_path, capsys, converted):
    """As of two annotators, or of frames of two videos: whether boxes are to be joined nobody can tell."""
    images = [*numbered(200), (500, "007.jpg"), (501, "./007.jpg")]
    train = write(images, [*((number, BOX) for number in range(200)), (500, OTHER_BOX), (501, BOX)])
    words = ("--train", train, "--max-bad-images")
    assert coco.run(tmp_path / "out", *words, "0.015") == 0
    assert len(converted()) == 199
    assert "007" not in converted()
    path, remedy = (
        coco.images / "007.jpg",
        "with another size or other boxes: join their boxes, or take one of them out",
    )
    assert (
        "images left out because of a fault: 3 of 202 (--max-bad-images (0.015) allows 3): "
        f"{train}: image 7 (id 7): {path} is the image of {train}: image 200 (id 500) too, {remedy} | "
    ) in capsys.readouterr().out
    assert coco.run(tmp_path / "strict", *words, "0.01") == 1


def test_an_image_of_two_equal_entries_stays(coco, write, tmp_path, capsys, converted):
    train = write([*numbered(4), (500, "002.jpg")], [*((number, BOX) for number in range(4)), (500, BOX)])
    for seed in range(5):  # Whichever of the two is split off.
        words = ("--train", train, "--seed", seed, "--max-bad-images", "0.2", "--validation-fraction", "0.4")
        assert coco.run(tmp_path / f"out{seed}", *words) == 0
        assert converted(f"out{seed}") == {f"{number:03}": [tuple(BOX)] for number in range(4)}
        printed = capsys.readouterr().out
        assert "002.jpg is the image of" in printed
        assert "both in train and in validation" not in printed


def test_images_of_both_splits_with_other_boxes(coco, write, tmp_path, capsys):
    """As where the folder of validation's images was forgotten, and has the same names."""
    folder = coco.root / "valid"
    train = write(numbered(4), [(number, BOX) for number in range(4)])
    validation = write(numbered(4), [(number, OTHER_BOX) for number in range(4)], "val.json", folder)
    words = ("--train", train, "--validation", validation)
    assert coco.run(tmp_path / "out", *words) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == (
        f"- {train}: image 0 (id 0): {coco.images}/000.jpg is the image of {validation}: image 0 (id 0) of validation "
        "too, with another size or other boxes: give the folder of validation's images as --validation-images, or "
        "take one of the two out"
    )
    assert "8 images of 8 cannot be used" in lines[9]
    assert coco.run(tmp_path / "both", *words, "--validation-images", folder) == 0
    assert "both in train and in validation" not in capsys.readouterr().out


def test_images_of_both_splits_with_the_same_boxes_are_noted(coco, write, tmp_path, capsys):
    train = write(numbered(4), [(0, BOX), (0, OTHER_BOX), (1, BOX)])
    validation = write([(9, "000.jpg")], [(9, OTHER_BOX), (9, BOX)], "val.json")
    assert coco.run(tmp_path / "out", "--train", train, "--validation", validation, "--max-bad-images", "0") == 0
    assert "images both in train and in validation: 1, first 000.jpg" in capsys.readouterr().out
    assert coco.run(tmp_path / "same", "--train", train, "--validation", train, "--max-bad-images", "0") == 0
    assert "images both in train and in validation: 4, first 000.jpg" in capsys.readouterr().out


def test_xml_of_both_splits_for_one_image(voc, tmp_path, capsys):
    """As where --validation-images was forgotten beside --validation-annotations."""
    other = type(voc)(tmp_path / "other")
    for number in range(3):
        voc.add(f"{number}.jpg", [("dog", 10, 5, 60, 45)])
        other.add(f"{number}.jpg", [("dog", 70, 10, 90, 30)])
    words = voc.arguments("--validation-annotations", other.annotations, "--as", "images", "--output")
    assert main([str(word) for word in (*words, tmp_path / "out")]) == 1
    assert "give the folder of validation's images as --validation-images" in capsys.readouterr().err
    own = ("--validation-images", other.images)
    assert main([str(word) for word in (*words, tmp_path / "both", *own)]) == 0
