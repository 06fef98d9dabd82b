"""`convert voc` on data that cannot be converted: all faults are reported at once, and nothing is written."""

import re

import pytest

from sagemaker_ssd.convert.__main__ import main

DOG = ("dog", 10, 5, 60, 45)
LAUGHS = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;">]><annotation>&c;</annotation>'


@pytest.fixture
def reported(voc, tmp_path, capsys):
    """Run and return the lines of stderr, after checking that the run failed as it should."""

    def run(*more):
        output = tmp_path / "out"
        assert main([str(word) for word in voc.arguments("--as", "images", "--output", output, *more)]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert not output.exists()
        return captured.err.splitlines()

    return run


@pytest.fixture
def reported_images(reported):
    """The same for faults of single images, which the last line counts."""

    def run(*more):
        *lines, last = reported(*more)
        assert re.fullmatch(r"\d+ images? of \d+ cannot be used, and --max-bad-images \(0.01\) allows 0: .*", last)
        return lines

    return run


def test_everything_at_once(voc, reported_images):
    voc.add("good.jpg", [DOG])
    voc.add("far.jpg", [DOG, ("dog", 10, 5, 103, 45)])
    voc.add("words.jpg", [("dog", "ten", 5, 60, 45), ("dog", "nan", 5, 60, 45), ("dog", 1)])
    voc.add("nameless.jpg", [("", 1, 1, 2, 2), ("dog", 1, 1, 2)])
    voc.write_xml("alone.xml", "<annotation/>")
    voc.write_xml("good2.xml", "<annotation>")
    voc.write_xml("laughs.xml", LAUGHS)
    voc.write_xml("other.xml", "<svg/>")
    voc.write_xml("broken.xml", "<annotation/>")
    (voc.images / "broken.jpg").write_bytes(b"no image")
    stems = ["good", "far", "words", "nameless", "alone", "good2", "laughs", "other", "broken", "missing"]
    train = voc.write_list("train.txt", *stems)
    lines = reported_images("--train", train, "--validation", voc.write_list("val.txt", "good"))
    xml = voc.annotations
    expected = [
        f"- {train}, line 10: there is no {xml}/missing.xml, and no image of this name",
        f"- {xml}/words.xml: box 0 (dog) has a coordinate that is not a number: ten, 5, 60, 45",
        f"- {xml}/words.xml: box 1 (dog) has a coordinate that is not a number: nan, 5, 60, 45",
        f"- {xml}/words.xml: box 2 (dog) has no <ymin>, <xmax>, <ymax> in its <bndbox>",
        f"- {xml}/nameless.xml: box 0 has no <name>",
        f"- {xml}/nameless.xml: box 1 (dog) has no <ymax> in its <bndbox>",
        f"- {xml}/alone.xml: there is no image {voc.images}/alone with .jpg, .jpeg or .png at the end",
        f"- {xml}/good2.xml: is not well-formed XML: ",
        f"- {xml}/laughs.xml: has a DOCTYPE, which is not allowed here: remove it",
        f"- {xml}/other.xml: is not an annotation of PASCAL VOC: it begins <svg> (a picture), not <annotation>",
        f"- {xml}/far.xml: box 1 (dog) (xmin, ymin, xmax, ymax 10, 5, 103, 45) is 3 px past the border of 100x50",
        f"- {xml}/broken.xml: {voc.images}/broken.jpg cannot be read: damaged or not an image",
    ]
    assert lines[0] == "12 problems:"
    assert len(lines) == 13
    for line, start in zip(lines[1:], expected, strict=True):
        assert line.startswith(start)


def test_two_pixels_past_the_border_are_let_through(voc, tmp_path):
    voc.add("a.jpg", [("dog", -2, -2, 102, 52)])
    voc.add("b.jpg", [DOG])
    output = str(tmp_path / "out")
    assert main([str(word) for word in voc.arguments("--as", "images", "--output", output)]) == 0


@pytest.mark.parametrize("corners", [(-3, 0, 10, 10), (0, -3, 10, 10), (103, 0, 90, 10), (0, 0, 10, 53)])
def test_three_are_not(voc, reported_images, corners):
    voc.add("a.jpg", [("dog", *corners)])
    voc.add("b.jpg", [DOG])
    (line,) = reported_images()
    assert "is 3 px past the border of 100x50" in line


def test_a_class_that_is_not_among_classes(voc, reported):
    voc.add("a.jpg", [DOG, ("owl", 1, 1, 2, 2)])
    voc.add("b.jpg", [DOG, ("owl", 1, 1, 2, 2)])
    (line,) = reported("--classes", "dog,cat")
    assert line.endswith(
        "xml: box 1 (owl) has the class 'owl', which is not in --classes (dog, cat); --only-classes leaves others out"
    )


def test_two_images_of_one_stem(voc, reported_images):
    voc.add("a.jpg", [DOG])
    voc.add("a.png", [DOG])
    voc.add("b.jpg", [DOG])
    (line,) = reported_images()
    assert line.endswith("has a.jpg and a.png: remove all but one")


def test_a_name_that_leaves_the_folder_is_looked_for_inside(voc, reported_images, tmp_path):
    voc.add("a.jpg", [DOG])
    voc.write_xml("../outside/b.xml", "<annotation/>")
    train = voc.write_list("train.txt", "../outside/b")
    (line,) = reported_images("--train", train, "--validation", voc.write_list("val.txt", "a"))
    assert line.startswith(f"{train}, line 1: there is no ")


def test_missing_folders_and_lists(voc, reported, tmp_path):
    voc.add("a.jpg", [DOG])
    (line,) = reported("--train", tmp_path / "nowhere.txt")
    assert line == f"{tmp_path}/nowhere.txt cannot be read: No such file or directory"
    binary = tmp_path / "binary.txt"
    binary.write_bytes(b"\xff\xfe\x00")
    (line,) = reported("--train", binary)
    assert line == f"{binary} cannot be read: it is not UTF-8 text"
    gone = [
        word for option in ("--images", "--validation-images", "--annotations") for word in (option, tmp_path / "gone")
    ]
    gone += ["--validation", binary]
    assert reported(*gone) == [
        "3 problems:",
        f"- --images: there is no folder {tmp_path}/gone",
        f"- --validation-images: there is no folder {tmp_path}/gone",
        f"- --annotations: there is no folder {tmp_path}/gone",
    ]


def test_sets_without_images_or_objects(voc, reported):
    assert reported() == ["2 problems:", "- the train split has no image", "- the validation split has no image"]
    voc.add("a.jpg")
    (line,) = reported()
    assert line == "the train split has no image"  # one image cannot be split
    voc.add("b.jpg")
    (line,) = reported()
    assert line == "not one object in the images"
