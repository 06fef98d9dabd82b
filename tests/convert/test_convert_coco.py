"""`convert coco`: class ids, crowds, both forms, and files that cannot be used."""

import pytest


def test_class_ids_follow_the_order_of_category_ids(coco, convert, tmp_path, read_json):
    train = coco.write(
        "train.json", {7: "a.jpg", 8: "deep/b.png"}, [(7, 17, [10.25, 5, 50, 40.1]), (7, 3, [0, 0, 5, 5])]
    )
    validation = coco.write("val.json", {7: "c.jpg"}, [(7, 90, [1, 2, 3, 4])])
    output = tmp_path / "out"
    done = convert(
        "coco", "--images", coco.images, "--train", train, "--validation", validation, "--as", "images",
        "--output", output,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert (output / "classes.txt").read_text() == "car\ncat\ntooth brush\n"
    assert read_json(output / "train_annotation/a.json") == {
        "file": "a.jpg",
        "image_size": [{"width": 100, "height": 50, "depth": 3}],
        "annotations": [
            {"class_id": 1, "left": 10.25, "top": 5, "width": 50, "height": 40.1},
            {"class_id": 0, "left": 0, "top": 0, "width": 5, "height": 5},
        ],
        "categories": [
            {"class_id": 0, "name": "car"},
            {"class_id": 1, "name": "cat"},
            {"class_id": 2, "name": "tooth brush"},
        ],
    }
    assert read_json(output / "train_annotation/deep/b.json")["annotations"] == []
    assert read_json(output / "validation_annotation/c.json")["annotations"][0]["class_id"] == 2
    assert "num_classes=3" in done.stdout
    assert "train: images 2, boxes 2, classes 2 of 3, images without objects 1" in done.stdout


def test_recordio(coco, convert, tmp_path, read_records):
    train = coco.write("train.json", {7: "a.jpg"}, [(7, 17, [10, 5, 50, 40])])
    validation = coco.write("val.json", {1: "b.jpg"}, [])
    output = tmp_path / "out"
    done = convert(
        "coco", "--images", coco.images, "--train", train, "--validation", validation, "--as", "recordio",
        "--output", output,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    ((label, image),) = read_records(output / "train/train.rec")
    assert label == pytest.approx([2, 5, 0, 0.1, 0.1, 0.6, 0.9])
    assert image == (coco.images / "a.jpg").read_bytes()
    ((label, _),) = read_records(output / "validation/validation.rec")
    assert label == [2, 5, 0, 0.5, 0.5, 0.5, 0.5]


def test_crowds_are_left_out_with_images_of_nothing_else(coco, tmp_path, capsys, read_json):
    box = [1, 2, 3, 4]
    annotations = [(1, 3, box), (1, 3, box, "crowd"), (2, 3, box, "crowd")]
    train = coco.write("train.json", {1: "mixed.jpg", 2: "crowd.jpg", 3: "empty.jpg"}, annotations)
    validation = coco.write("val.json", {1: "v.jpg"}, [])
    assert coco.run(tmp_path / "out", "--train", train, "--validation", validation) == 0
    assert sorted(path.name for path in (tmp_path / "out/train").iterdir()) == ["empty.jpg", "mixed.jpg"]
    assert len(read_json(tmp_path / "out/train_annotation/mixed.json")["annotations"]) == 1
    printed = capsys.readouterr().out
    assert (
        f"{train}: left out 2 annotations of crowds (iscrowd or ignore), and of images that have no others 1; "
        in printed
    )
    assert "by class: car 2; --keep-crowds takes them as objects" in printed


def test_one_file_is_split(coco, tmp_path):
    train = coco.write("all.json", {n: f"{n}.jpg" for n in range(8)}, [(n, 3, [0, 0, 9, 9]) for n in range(8)])
    assert coco.run(tmp_path / "out", "--train", train, "--validation-fraction", "0.25") == 0
    names = [{path.name for path in (tmp_path / "out" / split).iterdir()} for split in ("train", "validation")]
    assert [len(split) for split in names] == [6, 2]
    assert len(names[0] | names[1]) == 8


def test_validation_images_in_a_folder_of_their_own(coco, other_coco, tmp_path):
    train = coco.write("train.json", {1: "same.jpg"}, [(1, 3, [0, 0, 9, 9])])
    validation = other_coco.write("val.json", {1: "same.jpg"}, [(1, 3, [0, 0, 9, 9])])
    more = ("--train", train, "--validation", validation, "--validation-images", other_coco.images)
    assert coco.run(tmp_path / "out", *more) == 0
    copied = (tmp_path / "out/validation/same.jpg").read_bytes()
    assert copied == (other_coco.images / "same.jpg").read_bytes()
    assert copied != (coco.images / "same.jpg").read_bytes()


def test_everything_wrong_at_once(coco, tmp_path, capsys):
    box = [1, 2, 3, 4]
    train = coco.write_json(
        "train.json",
        {
            "categories": [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}, {"id": "x", "name": "owl"}, {"id": 2}],
            "images": [
                {"id": 1, "file_name": "a.jpg"},
                {"id": 2, "file_name": "gone.jpg"},
                {"id": 5, "file_name": "a.jpg"},
                {"file_name": "a.jpg"},
                {"id": 6},
                {"id": 7, "file_name": "b.jpg"},
                {"id": "7", "file_name": "c.jpg"},
            ],
            "annotations": [
                {"id": 50, "image_id": 99, "category_id": 1, "bbox": box},
                {"id": 51, "image_id": 1, "category_id": 9, "bbox": box},
                {"id": 52, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3]},
                {"id": 53, "image_id": 1, "category_id": 1, "bbox": [1, 2, "3", 4]},  # a text that is a number
                {"id": 54, "image_id": 1, "category_id": 1, "bbox": [90, 2, 20, 4]},
                {"image_id": 1, "bbox": box},
            ],
        },
    )
    coco.draw(coco.images / "a.jpg", (100, 50))
    validation = coco.write("val.json", {1: "v.jpg"}, [], [{"id": 1, "name": "lion"}])
    assert coco.run(tmp_path / "out", "--train", train, "--validation", validation) == 1
    lines = capsys.readouterr().err.splitlines()
    remedy = "so that annotations of this id may be of either: give each image an id of its own"
    also = "with another size or other boxes: join their boxes, or take one of them out"
    assert lines == [
        "14 problems:",
        f"- {train}: category 1 (id 1) has an id that another category has, 'cat'",
        f"- {train}: category 2 (id x) has the id 'x', which has to be a whole number",
        f"- {train}: category 3 (id 2) has no name",
        f"- {train}: image 3 has no id",
        f"- {train}: image 4 (id 6) has no file_name",
        f"- {train}: image 5 (id 7) b.jpg has the id of image 6 (id 7) c.jpg, {remedy}",
        f"- {train}: image 6 (id 7) c.jpg has the id of image 5 (id 7) b.jpg, {remedy}",
        f"- {train}: annotation 1 (id 51) has the category_id 9, which no category has",
        f"- {train}: annotation 2 (id 52) has the bbox [1, 2, 3], which has to be four numbers: x, y, width, height",
        f"- {train}: annotation 5 has the category_id null, which has to be a whole number",
        f"- {train}: there is no image {coco.images}/gone.jpg, nor one called gone.jpg or, with .jpg, .jpeg or .png, "
        f"gone anywhere below {coco.images}",
        f"- {train}: image 0 (id 1): {coco.images}/a.jpg is the image of {train}: image 2 (id 5) too, {also}",
        f"- {train}: image 2 (id 5): {coco.images}/a.jpg is the image of {train}: image 0 (id 1) too, {also}",
        f"- {train}: annotation 4 (id 54) of a.jpg (xmin, ymin, xmax, ymax 90, 2, 110, 6) is 10 px past the border "
        "of 100x50",
        "7 images of 8 cannot be used, and --max-bad-images (0.01) allows 0: mend them, or raise it to leave them out",
        "notes:",
        "- annotations of images that are not in 'images', left out: 1, first annotation 0 (id 50) with the image_id "
        f"99 in {train}",
        "- categories without a box, left out: 'lion'; --classes or --only-classes gives them ids",
    ]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not JSON: "),
        ("[]", "is no COCO file: it has to be an object with images, annotations and categories"),
        ('{"categories": [], "images": []}', "has no list of objects 'annotations'"),
        ('{"categories": [1], "images": [], "annotations": []}', "has no list of objects 'categories'"),
    ],
)
def test_files_that_are_not_coco(coco, tmp_path, capsys, text, reason):
    path = coco.root / "train.json"
    path.write_text(text)
    assert coco.run(tmp_path / "out", "--train", path) == 1
    assert capsys.readouterr().err.startswith(f"{path} {reason}")


def test_no_file(coco, tmp_path, capsys):
    assert coco.run(tmp_path / "out", "--train", tmp_path / "gone.json") == 1
    assert capsys.readouterr().err == f"{tmp_path}/gone.json cannot be read: No such file or directory\n"


def test_two_images_that_would_share_a_json(coco, tmp_path, capsys):
    train = coco.write("train.json", {1: "a.jpg", 2: "a.png"}, [(1, 3, [0, 0, 9, 9])])
    validation = coco.write("val.json", {1: "v.jpg"}, [])
    assert coco.run(tmp_path / "out", "--train", train, "--validation", validation) == 1
    assert capsys.readouterr().err == "a.jpg and a.png would share the annotation a.json: rename one\n"
    assert coco.run(tmp_path / "rec", "--train", train, "--validation", validation, form="recordio") == 0
