"""`convert coco` on what tools export: ids, types, crowds, outlines, rotated boxes, fractions, names of images."""

import gzip
import json
import unicodedata

import pytest

from sagemaker_ssd.convert.__main__ import main

BOX = [10, 5, 50, 40]
CORNERS = (10, 5, 50, 40)
FRACTIONS = [0.1, 0.2, 0.3, 0.4]
CELLS = [{"id": 1, "name": "RBC"}, {"id": 2, "name": "WBC"}]


@pytest.fixture
def write(coco):
    """Write a file of images 0.jpg, 1.jpg ..., one for each annotation, which needs but `bbox` and what is odd."""

    def run(name, annotations, categories=CELLS, first=0, **of_image):
        images = []
        for number, each in enumerate(annotations, start=first):
            coco.draw(coco.images / f"{number}.jpg", (100, 50))
            images.append({"id": number, "file_name": f"{number}.jpg", "width": 100, "height": 50, **of_image})
            each.setdefault("image_id", number)
            each.setdefault("category_id", 1)
            each.setdefault("id", number)
        return coco.write_json(name, {"images": images, "annotations": annotations, "categories": categories})

    return run


@pytest.fixture
def classes(tmp_path):
    return lambda name="out": (tmp_path / name / "classes.txt").read_text().split("\n")[:-1]


@pytest.fixture
def all_boxes(tmp_path, boxes_of):
    """The boxes of all images of both splits, by the image's number."""

    def read(name="out"):
        files = (tmp_path / name).glob("*_annotation/*.json")
        return {file.stem: boxes_of(file)[0] for file in files}

    return read


def box(**more):
    return {"bbox": list(BOX), **more}


def test_classes_are_joined_by_name(coco, write, tmp_path, capsys, classes, all_boxes):
    train = write("train.json", [box(category_id=1), box(category_id=2)])
    others = [{"id": 11, "name": "RBC"}, {"id": 1, "name": " WBC "}]
    validation = write("val.json", [box(category_id=11), box(category_id=1)], others, first=2)
    assert coco.run(tmp_path / "out", "--train", train, "--validation", validation) == 0
    assert classes() == ["RBC", "WBC"]
    assert {name: boxes[0][0] for name, boxes in all_boxes().items()} == {"0": 0, "1": 1, "2": 0, "3": 1}
    assert (
        "categories whose ids differ between the files: 2, first 'RBC' (1 and 11); classes are joined by name"
        in capsys.readouterr().out
    )


def test_one_name_with_two_ids(coco, write, tmp_path, capsys):
    train = write(
        "train.json", [box(category_id=1), box(category_id=7)], [{"id": 1, "name": "a"}, {"id": 7, "name": "a"}]
    )
    assert coco.run(tmp_path / "out", "--train", train) == 1
    assert (
        f"{train}: the categories with the ids 1 and 7 have the same name, 'a': rename one" in capsys.readouterr().err
    )


@pytest.mark.parametrize("name", ["cells", "RBC"])
def test_a_root_category_without_boxes_is_no_class(coco, write, tmp_path, capsys, classes, name):
    categories = [
        {"id": 0, "name": name, "supercategory": "none"},
        {"id": 1, "name": "RBC", "supercategory": name},
        {"id": 2, "name": "unused", "supercategory": name},
    ]
    assert coco.run(tmp_path / "out", "--train", write("train.json", [box(), box()], categories)) == 0
    assert classes() == ["RBC"]
    left_out = "'cells', 'unused'" if name == "cells" else "'unused'"
    assert f"categories without a box, left out: {left_out}; --classes" in capsys.readouterr().out


def test_a_category_0_with_boxes_is_a_class(coco, write, tmp_path, classes):
    categories = [{"id": 0, "name": "cell"}, {"id": 1, "name": "RBC", "supercategory": "cell"}]
    train = write("train.json", [box(category_id=0), box(category_id=1)], categories)
    assert coco.run(tmp_path / "out", "--train", train) == 0
    assert classes() == ["cell", "RBC"]


def test_classes_that_cannot_be_learned_or_are_spelled_twice(coco, write, tmp_path, capsys):
    train = write("train.json", [box()])
    validation = write("val.json", [box(category_id=2)], [{"id": 1, "name": "RBC"}, {"id": 2, "name": "rbc"}], first=1)
    assert coco.run(tmp_path / "out", "--train", train, "--validation", validation) == 0
    printed = capsys.readouterr().out
    assert "classes in validation, but not in train: 1, first rbc; they cannot be learned" in printed
    assert "classes that differ only in upper and lower case: 1, first RBC and rbc" in printed


def test_a_choice_of_classes(coco, write, tmp_path, capsys, classes, all_boxes):
    train = write("train.json", [box(category_id=1), box(category_id=2)])
    assert coco.run(tmp_path / "out", "--train", train, "--classes", "WBC,none,RBC") == 0
    assert classes() == ["WBC", "none", "RBC"]
    assert {name: boxes[0][0] for name, boxes in all_boxes().items()} == {"0": 2, "1": 0}
    assert "classes without a box: 1, first none" in capsys.readouterr().out
    assert coco.run(tmp_path / "only", "--train", train, "--only-classes", "WBC") == 0
    assert all_boxes("only") == {"0": [], "1": [(0, *CORNERS)]}
    assert "boxes of classes that --only-classes does not name, left out: RBC 1" in capsys.readouterr().out
    assert coco.run(tmp_path / "strict", "--train", train, "--classes", "WBC") == 1
    assert "has the class 'RBC', which is not in --classes (WBC)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("bboxes", "stops"),
    [
        ([FRACTIONS] * 2, True),
        ([["0.1", "0.2", "0.3", "0.4"]] * 2, True),
        ([[0, 0, 1, 1]] * 3, True),
        ([FRACTIONS] * 18 + [BOX] * 2, True),
        ([[0, 0, 1, 1]] * 9 + [BOX] * 2, False),
        ([BOX, [0, 0, 1, 1]], False),
        ([[0.5, 0.5, 90, 40]] * 12, False),
    ],
)
def test_fractions_are_not_read_as_pixels(coco, write, tmp_path, capsys, bboxes, stops):
    train = write("train.json", [{"bbox": bbox} for bbox in bboxes])
    assert coco.run(tmp_path / "out", "--train", train) == int(stops)
    printed = capsys.readouterr().err
    assert ("give --coordinates fractions, or --coordinates pixels if they are pixels" in printed) == stops
    assert coco.run(tmp_path / "pixels", "--train", train, "--coordinates", "pixels") == 0


def test_fractions_in_validation_alone(coco, write, tmp_path, capsys):
    train, validation = write("train.json", [box()]), write("val.json", [{"bbox": FRACTIONS}], first=1)
    assert coco.run(tmp_path / "out", "--train", train, "--validation", validation) == 1
    assert capsys.readouterr().err.startswith(
        f"validation: 1 of 1 box within 0 to 1, such as {validation}: annotation 0"
    )


def test_fractions_by_choice(coco, write, tmp_path, capsys, all_boxes):
    train = write("train.json", [{"bbox": FRACTIONS}, {"bbox": FRACTIONS}])
    assert coco.run(tmp_path / "out", "--train", train, "--coordinates", "fractions") == 0
    assert all_boxes()["0"] == [(0, 10, 10, 30, 20)]
    assert coco.run(tmp_path / "pixels", "--train", write("p.json", [box(), box()]), "--coordinates", "fractions") == 1
    assert "px past the border" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("odd", "expected"),
    [
        ({"attributes": {"occluded": False, "rotation": 90.0}}, (45, 15, 10, 20)),
        ({"attributes": {"rotation": "-90"}}, (45, 15, 10, 20)),
        ({"rotation": 270}, (45, 15, 10, 20)),
        ({"attributes": [{"name": "occluded", "value": 1}, {"name": "Rotation", "value": "90°"}]}, (45, 15, 10, 20)),
        ({"attributes": {"Rotation": "90 deg"}}, (45, 15, 10, 20)),
        # Half of 20 x 10 at 30 degrees: 10 cos + 5 sin, 10 sin + 5 cos.
        ({"attributes": {"rotation": 30}}, (38.8397, 15.6699, 22.3205, 18.6603)),
        ({"attributes": {"rotation": 360.0}}, (40, 20, 20, 10)),
        ({"attributes": {"rotation": "left"}}, (40, 20, 20, 10)),
        ({"attributes": None}, (40, 20, 20, 10)),
    ],
)
def test_a_rotated_box_becomes_the_one_around_it(coco, write, tmp_path, capsys, all_boxes, odd, expected):
    train = write("train.json", [{"bbox": [40, 20, 20, 10], **odd}, box()])
    assert coco.run(tmp_path / "out", "--train", train) == 0
    (found,) = all_boxes()["0"]
    assert found == pytest.approx((0, *expected), abs=1e-3)
    turned = expected != (40, 20, 20, 10)
    assert ("rotated boxes: 1, first" in capsys.readouterr().out) == turned


def test_an_angle_of_unknown_unit_is_told(coco, write, tmp_path, capsys, all_boxes):
    assert coco.run(tmp_path / "out", "--train", write("train.json", [box(angle=1.57), box(angle=0)])) == 0
    assert all_boxes()["0"] == [(0, *CORNERS)]
    assert (
        "annotations with an 'angle', which is not read: 1, first annotation 0 (id 0) of 0.jpg"
        in capsys.readouterr().out
    )


def test_rotated_boxes_at_the_border(coco, write, tmp_path, capsys, all_boxes):
    # 60 x 4 upright about 20, 25: its own corners are outside, and 5 px of what it covers are.
    train = write("train.json", [{"bbox": [-10, 23, 60, 4], "attributes": {"rotation": 90}}, box()])
    assert coco.run(tmp_path / "out", "--train", train) == 0
    assert all_boxes()["0"] == [pytest.approx((0, 18, 0, 4, 50))]
    train = write("out.json", [{"bbox": [90, 40, 60, 4], "attributes": {"rotation": 45}}, box()])
    assert coco.run(tmp_path / "outside", "--train", train) == 1
    assert "is turned by 45 degrees about its centre, 120, 42, which is outside" in capsys.readouterr().err


def test_crowds_of_a_class_with_nothing_else_are_objects(coco, write, tmp_path, capsys, all_boxes):
    odd = [box(iscrowd=1), box(iscrowd=1), box(category_id=2, iscrowd="0"), box(category_id=2, iscrowd="false")]
    assert coco.run(tmp_path / "out", "--train", write("train.json", odd)) == 0
    assert [len(boxes) for boxes in all_boxes().values()] == [1, 1, 1, 1]
    assert (
        "annotations marked as crowds (iscrowd or ignore) that count as objects, since the class has nothing else: "
        "RBC 2" in capsys.readouterr().out
    )


def test_a_split_of_crowds_alone(coco, write, tmp_path, capsys, all_boxes):
    train = write("train.json", [box(), box(category_id=2)])
    validation = write("val.json", [box(iscrowd=1), box(category_id=2, iscrowd="1"), box(iscrowd=True)], first=2)
    words = ("--train", train, "--validation", validation)
    assert coco.run(tmp_path / "out", *words) == 1
    printed = capsys.readouterr().err
    assert (
        f"the validation split has no image: all images of {validation} show nothing but crowds (iscrowd or "
        "ignore); see --keep-crowds" in printed
    )
    assert "by class: RBC 2, WBC 1; --keep-crowds takes them as objects" in printed
    assert coco.run(tmp_path / "kept", *words, "--keep-crowds") == 0
    assert len(all_boxes("kept")) == 5


def test_types_of_ids_names_and_sizes(coco, tmp_path, capsys, classes, boxes_of):
    for number in range(4):
        coco.draw(coco.images / f"{number}.jpg", (100, 50))
    content = {
        "images": [
            {"id": 1, "file_name": "0.jpg", "width": "200", "height": "100"},
            {"id": "2", "file_name": "1.jpg", "width": 200.0, "height": 100.0},
            {"id": 3.0, "file_name": "2.jpg", "width": "wide", "height": 1},
            {"id": "four", "file_name": "3.jpg", "width": 0, "height": None},
        ],
        "annotations": [
            {"image_id": "1", "category_id": "1", "bbox": BOX},
            {"image_id": 2, "category_id": 1.0, "bbox": [str(number) for number in BOX]},
            {"image_id": 3, "category_id": 1, "bbox": BOX},
            {"image_id": "four", "category_id": 1, "bbox": BOX},
        ],
        "categories": [{"id": 1, "name": 7}],
    }
    assert coco.run(tmp_path / "out", "--train", coco.write_json("train.json", content)) == 0
    assert classes() == ["7"]
    found = {path.stem: boxes_of(path) for path in (tmp_path / "out").glob("*_annotation/*")}
    boxes = [(0, *CORNERS)]
    assert found == {
        "0": (boxes, (200, 100)),
        "1": (boxes, (200, 100)),
        "2": (boxes, (100, 50)),
        "3": (boxes, (100, 50)),
    }
    assert "sizes that are no whole numbers above 0: 1, first of image 2 (id 3.0)" in capsys.readouterr().out


def test_of_many_faults_of_a_kind_ten_are_shown_and_notes_stay(coco, write, tmp_path, capsys):
    odd = [{"id": number, "image_id": 0, "category_id": number, "bbox": BOX} for number in range(100, 1100)]
    train = write("train.json", [box(), box()])
    content = json.loads(train.read_text())
    content["annotations"] += odd
    content["images"].append({"id": 5000, "file_name": "gone.jpg"})
    assert coco.run(tmp_path / "out", "--train", coco.write_json("train.json", content)) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "1,001 problems:"
    assert [line for line in lines if "has the category_id" in line] == lines[1:11]
    assert lines[11] == "- ... and 990 more of this kind"
    assert "gone.jpg" in lines[12]
    assert lines[-2:] == [
        "notes:",
        "- categories without a box, left out: 'WBC'; --classes or --only-classes gives them ids",
    ]


def test_annotations_of_images_that_are_not_there(coco, write, tmp_path, capsys):
    """As of a subset of the images; they are no images that cannot be used."""
    train = write("train.json", [box(), box()])
    content = json.loads(train.read_text())
    content["annotations"] += [{"id": 7, "image_id": 70, "category_id": 1, "bbox": BOX}, box(id=8, category_id=1)]
    assert coco.run(tmp_path / "out", "--train", coco.write_json("train.json", content)) == 0
    left_out = "annotations of images that are not in 'images', left out"
    assert f"{left_out}: 2, first annotation 2 (id 7) with the image_id 70 in {train}\n" in capsys.readouterr().out
    content["annotations"].append({"id": 9, "image_id": 71, "category_id": 99})
    assert coco.run(tmp_path / "most", "--train", coco.write_json("train.json", content)) == 1
    assert capsys.readouterr().err.splitlines()[0] == (
        f"{train}: 3 of 5 annotations are of images that are not in 'images', first annotation 2 (id 7) with the "
        "image_id 70: add their images, or take these annotations out"
    )


@pytest.mark.parametrize("ignore", [1, True, "1", "true"])
def test_objects_to_ignore_are_crowds(coco, write, tmp_path, capsys, all_boxes, ignore):
    odd = [box(), box(), box(iscrowd=0, ignore=ignore), box(iscrowd=0, ignore=0), box(category_id=2, ignore=ignore)]
    odd[2]["image_id"] = 0
    train = write("train.json", odd)
    assert coco.run(tmp_path / "out", "--train", train) == 0
    # Image 2 has no annotation left in the file: it is one without objects.
    assert {name: len(boxes) for name, boxes in all_boxes().items()} == {"0": 1, "1": 1, "2": 0, "3": 1, "4": 1}
    printed = capsys.readouterr().out
    assert (
        f"{train}: left out 1 annotations of crowds (iscrowd or ignore), and of images that have no others 0; by "
        "class: RBC 1; --keep-crowds takes them as objects" in printed
    )
    assert "crowds (iscrowd or ignore) that count as objects, since the class has nothing else: WBC 1" in printed
    assert coco.run(tmp_path / "kept", "--train", train, "--keep-crowds") == 0
    assert len(all_boxes("kept")["0"]) == 2


def test_ids_that_a_float_cannot_tell_apart(coco, write, tmp_path, classes, all_boxes):
    first = 1719862345678901761  # above 2^53
    categories = [{"id": first + number, "name": name} for number, name in enumerate(("cat", "dog", "cow"))]
    odd = [box(category_id=first + 2), box(category_id=str(first)), box(category_id=first + 1)]
    assert coco.run(tmp_path / "out", "--train", write("train.json", odd, categories)) == 0
    assert classes() == ["cat", "dog", "cow"]
    assert {name: boxes[0][0] for name, boxes in all_boxes().items()} == {"0": 2, "1": 0, "2": 1}


def test_an_unused_category_of_a_used_ones_name(coco, write, tmp_path, capsys, classes):
    categories = [{"id": 1, "name": "a"}, {"id": 7, "name": "a"}, {"id": 9, "name": "b"}, {"id": 10, "name": "b"}]
    assert coco.run(tmp_path / "out", "--train", write("train.json", [box(category_id=7)] * 2, categories)) == 0
    assert classes() == ["a"]
    assert (
        "categories without a box, left out: 'b', 'a' (id 1), 'b' (id 10); --classes or --only-classes gives them ids"
        in capsys.readouterr().out
    )


def test_images_of_lvis_are_named_by_their_address(coco, tmp_path):
    images = []
    for number in range(2):
        coco.draw(coco.images / f"val2017/{number:012}.jpg", (100, 50))
        coco.draw(coco.images / f"train2017/{number:012}.jpg", (100, 50))
        images.append({"id": number, "coco_url": f"http://host/val2017/{number:012}.jpg", "width": 100, "height": 50})
    annotations = [{"image_id": number, "category_id": 1, "bbox": BOX} for number in range(2)]
    content = {"images": images, "annotations": annotations, "categories": CELLS}
    assert coco.run(tmp_path / "out", "--train", coco.write_json("train.json", content)) == 0
    found = {path.parent.name for path in (tmp_path / "out").glob("*/*/*.jpg")}
    assert found == {"val2017"}


REGION = {"filename": "a.jpg", "regions": []}
MANIFEST = json.dumps({"source-ref": "s3://b/a.jpg", "bb": {"annotations": []}})
EXPORT = "export it as COCO or Pascal VOC, and turn that into channels with python -m sagemaker_ssd.convert\n"
COCO_EXPORT = "export it as COCO, and turn that into channels with python -m sagemaker_ssd.convert\n"
PIPE = "give the manifest itself as the channel, in Pipe mode with S3DataType AugmentedManifestFile, "


@pytest.mark.parametrize(
    ("content", "what", "remedy"),
    [
        (MANIFEST, "a line of a manifest of Ground Truth or Rekognition Custom Labels", PIPE),
        (f"{MANIFEST}\n{MANIFEST}\n", "a line of a manifest of Ground Truth or Rekognition Custom Labels", PIPE),
        ({"shapes": [], "imagePath": "a.jpg"}, "labelme's JSON", "labelme's labelme2voc.py or labelme2coco.py"),
        ({"_via_settings": {}, "_via_img_metadata": {}}, "a project of VIA", COCO_EXPORT),
        ({"a.jpg1": REGION, "b.jpg2": REGION}, "VIA's JSON", COCO_EXPORT),
        ([{"id": 1, "annotations": [], "data": {"image": "a"}}], "Label Studio's JSON", EXPORT),
        ([{"image": "a.jpg", "annotations": []}], "CreateML's JSON", EXPORT),
        ({"size": {"height": 1, "width": 1}, "objects": []}, "Supervisely's JSON", EXPORT),
        ({"items": [], "categories": {}}, "Datumaro's JSON", EXPORT),
        ([{"image_id": 1, "category_id": 1, "bbox": BOX}], "COCO's annotations without their images", COCO_EXPORT),
        (
            "<annotation/>",
            "XML",
            "if it is Pascal VOC's, turn it into channels with python -m sagemaker_ssd.convert voc",
        ),
    ],
)
def test_files_of_other_tools(coco, tmp_path, capsys, content, what, remedy):
    train = coco.root / "train.json"
    train.write_text(content if isinstance(content, str) else json.dumps(content))
    assert coco.run(tmp_path / "out", "--train", train) == 1
    assert capsys.readouterr().err.startswith(f"{train} is {what}, no COCO file: {remedy}")


def test_a_class_whose_name_holds_a_comma(coco, write, tmp_path, capsys, classes):
    categories = [{"id": 1, "name": "car, van"}, {"id": 2, "name": '12" pipe'}]
    train = write("train.json", [box(category_id=1), box(category_id=2)], categories)
    assert coco.run(tmp_path / "out", "--train", train, "--classes", '12" pipe, "car,  van"') == 0
    assert classes() == ['12" pipe', "car, van"]
    assert coco.run(tmp_path / "bad", "--train", train, "--classes", 'car, van,12" pipe') == 1
    assert capsys.readouterr().err == (
        f"{train}: annotation 0 (id 0) of 0.jpg has the class 'car, van', which is not in --classes (car, van, "
        '12" pipe); --only-classes leaves others out; a name that holds a comma stands in double quotes there\n'
    )


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        ("bmp", "rename it to .jpg, since what it holds is read, or save it as JPEG or PNG"),
        ("TIF", "rename it to .jpg, since what it holds is read, or save it as JPEG or PNG"),
        ("gif", "save it as JPEG or PNG"),
    ],
)
def test_images_whose_ending_is_not_looked_at(coco, tmp_path, capsys, kind, remedy):
    for name in (f"sub/a.{kind}", "b.jpg"):
        coco.draw(coco.images / name, (100, 50))
    for name in (f"a.{kind}", "a.jpg", f"sub/a.{kind}"):
        images = [{"id": 1, "file_name": name}, {"id": 2, "file_name": "b.jpg"}]
        annotations = [{"image_id": 2, "category_id": 1, "bbox": BOX}]
        content = {"images": images, "annotations": annotations, "categories": CELLS}
        train = coco.write_json("train.json", content)
        assert coco.run(tmp_path / "out", "--train", train) == 1
        assert capsys.readouterr().err.splitlines()[0] == (
            f"{train}: {coco.images}/sub/a.{kind} is there, but only .jpg, .jpeg and .png are looked at: {remedy}"
        )


POLYGON = [[10, 5, 60, 5, 60, 45], [10, 45, 20, 20]]
# Columns of 50 pixels: the ten first stay empty, then rows 5 to 44 of 50 columns, then the rest.
RUNS = [505, *([40, 10] * 49), 40, 50 * 100 - 505 - 50 * 49 - 40]


@pytest.mark.parametrize(
    "bbox", [None, [], {"x": 1}, [0, 0, 0, 0], "missing", [7, 7, 0, 0], [60, 5, -50, 40], [float("nan")] * 4]
)
@pytest.mark.parametrize("segmentation", [POLYGON, [POLYGON[0] + POLYGON[1]], {"size": [50, 100], "counts": RUNS}])
def test_a_box_is_computed_from_an_outline(coco, write, tmp_path, capsys, all_boxes, bbox, segmentation):
    odd = {"segmentation": segmentation, **({} if bbox == "missing" else {"bbox": bbox})}
    assert coco.run(tmp_path / "out", "--train", write("train.json", [odd, box()])) == 0
    assert all_boxes()["0"] == [(0, *CORNERS)]
    assert "annotations without a bbox: 1, first annotation 0 (id 0) of 0.jpg in" in capsys.readouterr().out


def test_a_box_is_computed_from_compressed_rle(coco, write, tmp_path, all_boxes):
    from pycocotools import mask

    counts = mask.frPyObjects({"size": [50, 100], "counts": RUNS}, 50, 100)["counts"].decode()
    odd = {"bbox": [], "segmentation": {"size": [50, 100], "counts": counts}}
    assert coco.run(tmp_path / "out", "--train", write("train.json", [odd, box()])) == 0
    assert all_boxes()["0"] == [(0, *CORNERS)]


@pytest.mark.parametrize(
    "segmentation",
    [[], [[1, 2, 3]], [["a", "b"]], 7, {"size": [0, 100], "counts": [0]}, {"size": [50, 100], "counts": [1, 2]},
     {"size": [50, 100], "counts": "\u00e9"}, {"size": [50, 100], "counts": "~~~~"}, {"size": "x", "counts": "0"},
     [[10**310, 2, 3, 4]], [10**310, 2, 3, 4], {"size": [1, 2**64], "counts": [2**64]},
     {"size": [1, 2**32 + 9], "counts": [3, 2**32 + 6]}],
)  # fmt: skip
def test_broken_outlines(coco, write, tmp_path, convert, segmentation):
    train = write("train.json", [{"bbox": [], "segmentation": segmentation}, box()])
    done = convert("coco", "--images", coco.images, "--train", train, "--as", "images", "--output", tmp_path / "out")
    assert done.returncode == 1
    assert "has the bbox [], which has to be four numbers: x, y, width, height" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_category_that_stands_there_twice(coco, write, tmp_path, capsys):
    train = write("train.json", [box(), box()], [*CELLS, CELLS[0]])
    assert coco.run(tmp_path / "out", "--train", train) == 0
    train = write("other.json", [box(), box()], [*CELLS, {"id": 1, "name": "cell"}])
    capsys.readouterr()
    assert coco.run(tmp_path / "bad", "--train", train) == 1
    assert "category 2 (id 1) has an id that another category has, 'RBC'" in capsys.readouterr().err


def test_images_that_no_file_names(coco, write, tmp_path, capsys):
    train = write("train.json", [box(), box(iscrowd=1), box()])
    for name in ("more/x.jpg", "y.png", "@eaDir/0.jpg/SYNOPHOTO_THUMB_S.jpg"):
        coco.draw(coco.images / name, (100, 50))
    assert coco.run(tmp_path / "out", "--train", train) == 0
    printed = capsys.readouterr().out
    assert f"images that no file names, left out: 2, first {coco.images}/more/x.jpg" in printed


def test_an_image_without_a_name_is_one_fault(coco, write, tmp_path, capsys):
    content = json.loads(write("train.json", [box(), box(), box()]).read_text())
    del content["images"][1]["file_name"]
    assert coco.run(tmp_path / "out", "--train", coco.write_json("train.json", content)) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("train.json: image 1 (id 1) has no file_name")
    assert lines[1].startswith("1 image of 3 cannot be used")


def test_boxes_that_may_be_per_cent(coco, tmp_path, capsys):
    for count, noted in ((10, True), (9, False)):
        for number in range(count):
            coco.draw(coco.images / f"{number}.jpg", (300, 200))
        content = {
            "images": [{"id": number, "file_name": f"{number}.jpg"} for number in range(count)],
            "annotations": [
                {"image_id": number, "category_id": 1, "bbox": [number, 20, 90 - number, 80]} for number in range(count)
            ],
            "categories": CELLS,
        }
        train = coco.write_json("train.json", content)
        assert coco.run(tmp_path / f"out{count}", "--train", train) == 0
        assert ("all 10 boxes lie within 0 to 100, although" in capsys.readouterr().out) == noted
    # One of them in the rest of an image.
    content["annotations"].append({"image_id": 0, "category_id": 1, "bbox": [100, 20, 80, 80]})
    assert coco.run(tmp_path / "pixels", "--train", coco.write_json("train.json", content)) == 0
    assert "within 0 to 100" not in capsys.readouterr().out


def test_compressed_files_are_called_by_their_name(coco, write, tmp_path, capsys):
    train = write("train.json", [box(), box()])
    packed = train.with_suffix(".json.gz")
    packed.write_bytes(gzip.compress(train.read_bytes()))
    assert coco.run(tmp_path / "out", "--train", packed) == 1
    assert capsys.readouterr().err == f"{packed} is compressed (gzip): unpack it\n"


@pytest.mark.parametrize(
    "name",
    ["images\\sub\\a.jpg", "../../a.jpg", "/abs/a.jpg", "https://host/x/a.jpg?sig=1", "s3://bucket/b%20c/a.jpg", "a",
     "a.png", "other/a.jpg", "A.JPG", "file:///data/a.jpg", "C:\\data\\a.jpg"],
)  # fmt: skip
def test_an_image_is_found_by_the_end_of_its_path(coco, tmp_path, capsys, name):
    coco.draw(coco.images / "sub/a.jpg", (100, 50))
    coco.draw(coco.images / "b.jpg", (100, 50))
    coco.draw(coco.images / ".hidden/a.jpg", (100, 50))
    content = {
        "images": [{"id": 1, "file_name": name}, {"id": 2, "file_name": "b.jpg"}],
        "annotations": [{"image_id": number, "category_id": 1, "bbox": BOX} for number in (1, 2)],
        "categories": CELLS,
    }
    assert coco.run(tmp_path / "out", "--train", coco.write_json("train.json", content)) == 0
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.jpg")}
    assert {path.partition("/")[2] for path in found} == {"sub/a.jpg", "b.jpg"}
    assert "images found by the end of their path: 1, first" in capsys.readouterr().out


@pytest.fixture
def name_first(coco):
    """Draw images, and write a file of one that is called `name` and of b.jpg."""

    def run(name, *files):
        for file in (*files, "b.jpg"):
            coco.draw(coco.images / file, (100, 50))
        content = {
            "images": [{"id": number, "file_name": file} for number, file in enumerate((name, "b.jpg"))],
            "annotations": [{"image_id": 0, "category_id": 1, "bbox": BOX}],
            "categories": CELLS,
        }
        return coco.write_json("train.json", content)

    return run


@pytest.mark.parametrize(
    ("name", "end"),
    [("cam2/5.jpg", "cam2"), ("D:\\set\\cam2\\5.jpg", "cam2"), ("http://host/cam2/5.jpg?sig=1", "cam2"),
     ("http://host/x/cam%202/5.jpg", "x/cam 2"), ("CAM2/5.png", "CAM2"), ("only_bmp/5.jpg", "only_bmp"),
     ("other/b/5.jpg", "b")],
)  # fmt: skip
def test_an_image_of_another_folder_is_another_image(coco, name_first, tmp_path, capsys, name, end):
    """Cameras number alike, and of one of them the image was deleted."""
    files = ["cam1/5.jpg", "cam2/6.jpg", "x/cam 2/7.jpg", "a/b/8.jpg"]
    coco.draw(coco.images / "only_bmp/9.bmp", (100, 50))
    train = name_first(name, *files)
    assert coco.run(tmp_path / "out", "--train", train, "--max-bad-images", "0") == 1
    assert capsys.readouterr().err.splitlines()[0] == (
        f"{train}: there is no image '{name}', only cam1/5.jpg of that name, and {end} holds images: put the image "
        f"there, or give its path below {coco.images}"
    )


@pytest.mark.parametrize(
    ("name", "files", "found"),
    [
        ("val/a.jpg", ("train/a.jpg", "val/a.png"), "val/a.png"),
        ("x/VAL/a.jpg", ("train/a.jpg", "val/a.png"), "val/a.png"),
        ("Val/a.bmp", ("val/a.jpg", "Val/a.png"), "Val/a.png"),
        ("masks/../a.jpg", ("photos/a.jpg", "masks/a.png"), "photos/a.jpg"),
        ("a.png", ("one/A.jpg", "two/a.jpg"), "two/a.jpg"),
        ("old/a.jpg", ("cam1/a.jpg", "cam2/b.jpg"), "cam1/a.jpg"),
        ("data/upload/1/p%200.jpg", ("p 0.jpg",), "p 0.jpg"),
        ("data/upload/1/p%200.jpg", ("p%200.jpg", "x/p 0.jpg"), "p%200.jpg"),
        ("1/Capture_d%C3%A9cran.png", ("Capture_d\u00e9cran.png",), "Capture_d\u00e9cran.png"),
        ("/data/local-files/?d=a.jpg", ("x/a.jpg",), "x/a.jpg"),
        ("/data/local-files/?d=two%2Fa.jpg", ("one/a.jpg", "two/a.jpg"), "two/a.jpg"),
        ("http://host/data/local-files/?d=two/a%20b.jpg", ("one/a b.jpg", "two/a b.jpg"), "two/a b.jpg"),
    ],
)
def test_the_end_of_a_path_says_which_image(coco, name_first, tmp_path, capsys, name, files, found):
    assert coco.run(tmp_path / "out", "--train", name_first(name, *files)) == 0
    (path,) = (path for path in (tmp_path / "out").rglob("*.*g") if path.name != "b.jpg")
    assert path.relative_to(tmp_path / "out").as_posix().partition("/")[2] == found
    assert f"images found by the end of their path: 1, first {coco.images}/{found} for " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "what"),
    [(".facebook_1482.jpg", "it"), (".cache/a.jpg", "its folder"), ("x/@eaDir/a.jpg", "its folder")],
)
def test_a_hidden_image_is_none(coco, tmp_path, capsys, name, what):
    """The training job would not see it either."""
    for number in range(3):
        coco.draw(coco.images / f"{number}.jpg", (100, 50))
    coco.draw(coco.images / name, (100, 50))
    content = {
        "images": [{"id": number, "file_name": file} for number, file in enumerate((name, "0.jpg", "1.jpg"))],
        "annotations": [{"image_id": number, "category_id": 1, "bbox": BOX} for number in range(3)],
        "categories": CELLS,
    }
    train = coco.write_json("train.json", content)
    assert coco.run(tmp_path / "out", "--train", train) == 1
    fault = f"{train}: {coco.images}/{name} is hidden, and hidden files are no data: rename {what}\n"
    assert capsys.readouterr().err.startswith(fault)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_taken_apart_and_blanks_around_names(coco, tmp_path, all_boxes, form):
    """As macOS writes them into files' names, and other systems do not."""
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    coco.draw(coco.images / unicodedata.normalize(form, "caf\u00e9.jpg"), (100, 50))
    coco.draw(coco.images / "b.jpg", (100, 50))
    names = [unicodedata.normalize(other, "x/caf\u00e9.jpg"), " b.jpg "]
    content = {
        "images": [{"id": number, "file_name": name} for number, name in enumerate(names)],
        "annotations": [{"image_id": number, "category_id": 1, "bbox": BOX} for number in range(2)],
        "categories": CELLS,
    }
    assert coco.run(tmp_path / "out", "--train", coco.write_json("train.json", content)) == 0
    assert list(all_boxes().values()) == [[(0, *CORNERS)]] * 2


def test_names_that_mean_no_image_or_several(coco, tmp_path, capsys):
    for name in ("one/a.jpg", "two/a.jpg", "c.jpg", "d.gif"):
        coco.draw(coco.images / name, (100, 50))
    names = ["x/a.jpg", "two/a.jpg", "c.jpg", "old/c.jpg", "d.gif", "gone", "D:\\two\\a.jpg"]
    content = {
        "images": [{"id": number, "file_name": name} for number, name in enumerate(names)],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": BOX}],
        "categories": CELLS,
    }
    train = coco.write_json("train.json", content)
    assert coco.run(tmp_path / "out", "--train", train) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[:6] == [
        "5 problems:",
        f"- {train}: 'x/a.jpg' may be any of one/a.jpg and two/a.jpg below {coco.images}: give its path below "
        "that folder",
        f"- {train}: {coco.images}/d.gif is there, but only .jpg, .jpeg and .png are looked at: save it as JPEG or PNG",
        f"- {train}: there is no image {coco.images}/gone, nor one called gone or, with .jpg, .jpeg or .png, gone "
        f"anywhere below {coco.images}",
        f"- {train}: image 6 (id 6): there is no image 'D:\\two\\a.jpg', and {coco.images}/two/a.jpg, which is called "
        f"like it, is that of {train}: image 1 (id 1)",
        f"- {train}: image 3 (id 3): there is no image 'old/c.jpg', and {coco.images}/c.jpg, which is called like it, "
        f"is that of {train}: image 2 (id 2)",
    ]


def test_one_missing_image_of_many_is_left_out(coco, write, tmp_path, capsys):
    train = write("train.json", [box() for _ in range(200)])
    content = json.loads(train.read_text())
    content["images"].append({"id": 900, "file_name": "gone.jpg"})
    content["annotations"][5]["bbox"] = [90, 5, 50, 40]
    train = coco.write_json("train.json", content)
    assert coco.run(tmp_path / "out", "--train", train) == 0
    printed = capsys.readouterr().out
    assert "images left out because of a fault: 2 of 201 (--max-bad-images (0.01) allows 2): " in printed
    assert "gone.jpg" in printed
    assert "5.jpg (xmin, ymin, xmax, ymax 90, 5, 140, 45) is 40 px past the border of 100x50" in printed
    copied = {path.name for path in (tmp_path / "out").rglob("*.jpg")}
    # The whole image, since an object without its box would be taught as background.
    assert len(copied) == 199
    assert "5.jpg" not in copied
    for limit, code in (("0", 1), ("0.005", 1), ("1", 0)):
        assert coco.run(tmp_path / limit, "--train", train, "--max-bad-images", limit) == code


def test_a_split_that_loses_all_its_images_says_so(coco, write, tmp_path, capsys):
    train = write("train.json", [box(), box()])
    validation = write("val.json", [{"bbox": [90, 5, 50, 40]}], first=2)
    words = ("--train", train, "--validation", validation, "--max-bad-images", "1")
    assert coco.run(tmp_path / "out", *words) == 1
    assert "the validation split has no image: all of its images were left out" in capsys.readouterr().err


@pytest.mark.parametrize(("encoding", "code"), [("utf-16", 0), ("utf-8-sig", 0), ("gbk", 1)])
def test_encodings_of_json(coco, write, tmp_path, capsys, encoding, code):
    train = write("train.json", [box(), box()])
    content = json.loads(train.read_text())
    content["categories"][0]["name"] = "狗"
    train.write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
    assert coco.run(tmp_path / "out", "--train", train) == code
    if code:
        printed = capsys.readouterr().err
        assert "is not UTF-8 text (byte " in printed
        assert printed.endswith("): save it as UTF-8\n")


def test_half_a_character_in_a_name(coco, write, tmp_path, capsys):
    train = write("train.json", [box(), box()], [{"id": 1, "name": "\ud800x"}])
    assert coco.run(tmp_path / "out", "--train", train) == 1
    assert "category 0 (id 1) has the name '\\ud800x', which is not text" in capsys.readouterr().err


def test_validation_images_need_annotations(coco, write, tmp_path, capsys):
    arguments = ["coco", "--images", coco.images, "--validation-images", coco.images, "--as", "images"]
    words = [*arguments, "--train", write("train.json", [box()]), "--output", tmp_path / "out"]
    assert main([str(word) for word in words]) == 1
    assert capsys.readouterr().err.startswith("--validation-images: give --validation too")
