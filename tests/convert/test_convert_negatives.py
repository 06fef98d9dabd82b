"""`convert voc --negatives`: only images that no XML can mean become background, and those left out are named."""

import pytest

from sagemaker_ssd.convert.__main__ import main

DOG = ("dog", 10, 5, 60, 45)
NOTE = "images that have the name of an XML, or of a picture that it names, without being its image, left out"


def run(images, annotations, output, *more):
    words = ["voc", "--images", images, "--annotations", annotations, "--negatives", "--as", "images", "--output"]
    return main([str(word) for word in (*words, output, *more)])


@pytest.fixture
def converted(tmp_path):
    """The number of boxes of every image that was written, by its path."""

    def read(read_json, name="out"):
        root = tmp_path / name
        return {
            path.relative_to(root).as_posix().partition("/")[2]: len(read_json(path)["annotations"])
            for path in root.glob("*_annotation/**/*.json")
        }

    return read


@pytest.fixture
def layered(voc):
    """Images 0 to 2 with XML one folder further down, and one image of background."""
    for number in range(3):
        voc.add(f"{number}.jpg", [DOG])
        (voc.annotations / "sub").mkdir(exist_ok=True)
        (voc.annotations / f"{number}.xml").rename(voc.annotations / f"sub/{number}.xml")
    voc.draw("empty.jpg")
    return voc


def test_the_image_of_a_broken_xml_in_another_folder(layered, tmp_path, capsys, converted, read_json):
    (layered.annotations / "sub/1.xml").write_text("<annotation><object><name>cat & dog</name>")
    more = ("--max-bad-images", "0.5")
    assert run(layered.images, layered.annotations, tmp_path / "out", *more) == 0
    assert converted(read_json) == {"0.json": 1, "2.json": 1, "empty.json": 0}
    printed = capsys.readouterr().out
    assert f"{NOTE}: 1, first {layered.images}/1.jpg ({layered.annotations}/sub/1.xml); an XML without obj" in printed


def test_a_broken_xml_is_that_of_the_image_it_names(layered, tmp_path, capsys, converted, read_json):
    layered.draw("photo & 7.jpg")
    layered.draw("photo 8.jpg")
    text = "<annotation><filename>{}</filename><object><name>cat & dog</name>"
    (layered.annotations / "7.xml").write_text(text.format("D:\\in\\photo &amp; 7.jpg"))
    (layered.annotations / "8.xml").write_bytes(text.format("photo 8.jpg").encode() + b"\xff")
    assert run(layered.images, layered.annotations, tmp_path / "out", "--max-bad-images", "0.5") == 0
    assert converted(read_json) == {"0.json": 1, "1.json": 1, "2.json": 1, "empty.json": 0}
    assert f"{NOTE}: 2, first {layered.images}/photo & 7.jpg" in capsys.readouterr().out


def test_images_of_which_an_xml_may_mean_any(layered, tmp_path, capsys, converted, read_json):
    for name in ("a/X.jpg", "b/X.jpg"):
        layered.draw(name)
    text = (layered.annotations / "sub/0.xml").read_text().replace("other.jpg", "x.jpg")
    (layered.annotations / "sub/x.xml").write_text(text)
    more = ("--max-bad-images", "0.5", "--validation-fraction", "0.5")
    assert run(layered.images, layered.annotations, tmp_path / "out", *more) == 0
    assert converted(read_json) == {"0.json": 1, "1.json": 1, "2.json": 1, "empty.json": 0}
    assert f"{NOTE}: 2, first {layered.images}/a/X.jpg" in capsys.readouterr().out


def test_the_folders_of_the_devkit_in_one(voc, tmp_path, capsys, converted, read_json):
    """Its masks are called like its images, and are none."""
    for number in range(3):
        voc.add(f"JPEGImages/{number}.jpg", [DOG])
        voc.draw(f"SegmentationClass/{number}.png")
    voc.annotations.rename(voc.images / "xml")
    for path in (voc.images / "xml/JPEGImages").glob("*.xml"):
        text = path.read_text().replace("other.jpg", f"{path.stem}.jpg")
        (voc.images / "xml" / path.name).write_text(text)
        path.unlink()
    assert run(voc.images, voc.images, tmp_path / "out") == 0
    assert converted(read_json) == {f"JPEGImages/{number}.json": 1 for number in range(3)}
    assert f"{NOTE}: 3, first {voc.images}/SegmentationClass/0.png ({voc.images}/xml/0.xml)" in capsys.readouterr().out


def test_masks_of_labelme_are_no_background(voc, tmp_path, converted, read_json):
    for number in range(3):
        voc.draw(f"{number}.jpg")
        voc.draw(f"{number}_mask_0.png")
        box = "<box><xmin>10</xmin><ymin>5</ymin><xmax>60</xmax><ymax>45</ymax></box>"
        segm = f"<segm>{box}<mask>{number}_mask_0.png</mask></segm>"
        voc.write_xml(f"{number}", f"<annotation><object><name>dog</name>{segm}</object></annotation>")
    assert run(voc.images, voc.annotations, tmp_path / "out") == 0
    assert converted(read_json) == {"0.json": 1, "1.json": 1, "2.json": 1}


def test_an_earlier_output_in_the_same_folder(voc, tmp_path, capsys, converted, read_json):
    for number in range(3):
        voc.add(f"{number}.jpg", [DOG])
        voc.draw(f"n{number}.jpg")
    for path in voc.annotations.iterdir():
        path.rename(voc.images / path.name)
    first = {"0.json": 1, "1.json": 1, "2.json": 1, "n0.json": 0, "n1.json": 0, "n2.json": 0}
    assert run(voc.images, voc.images, voc.images / "job") == 0
    capsys.readouterr()
    assert run(voc.images, voc.images, tmp_path / "out") == 0
    assert converted(read_json) == first
    printed = capsys.readouterr().out
    assert f"{NOTE}: 3, first {voc.images}/job/" in printed
    assert f"images of a channel that has JSON for them, left out: 3, first {voc.images}/job/" in printed


@pytest.mark.parametrize("linked", [False, True])
def test_the_images_of_the_other_split_are_no_background(voc, tmp_path, converted, read_json, linked):
    """Folders within one another, perhaps by a link, and a broken XML for validation."""
    for name in ("0.jpg", "1.jpg"):
        voc.add(name, [DOG])
    other = tmp_path / "other"
    other.mkdir()
    for name in ("val/8.jpg", "val/9.jpg"):
        voc.add(name, [DOG])
        (voc.annotations / name).with_suffix(".xml").rename(other / f"{name[4]}.xml")
    (other / "9.xml").write_text("<annotation>")
    own = voc.images / "val"
    if linked:
        own = own.rename(tmp_path / "elsewhere")
        (voc.images / "val").symlink_to(own)
    more = ("--validation-annotations", other, "--validation-images", own, "--max-bad-images", "0.5")
    assert run(voc.images, voc.annotations, tmp_path / "out", *more) == 0
    assert converted(read_json) == {"0.json": 1, "1.json": 1, "8.json": 1}


def test_a_list_cannot_make_the_image_of_an_xml_background(voc, tmp_path, capsys, converted, read_json):
    voc.add("a.jpg", [DOG])
    voc.add("note17.jpg", [DOG])
    (voc.images / "note17.jpg").rename(voc.images / "photo17.jpg")
    path = voc.annotations / "note17.xml"
    path.write_text(path.read_text().replace("other.jpg", "photo17.jpg"))
    voc.draw("empty.jpg")
    lists = ("--train", voc.write_list("t.txt", "a", "photo17", "empty"), "--validation", voc.write_list("v.txt", "a"))
    assert run(voc.images, voc.annotations, tmp_path / "out", *lists) == 0
    assert converted(read_json) == {"a.json": 1, "photo17.json": 1, "empty.json": 0}
    assert "left out" not in capsys.readouterr().out


def test_an_xml_without_objects_keeps_an_image_of_such_a_name(voc, tmp_path, converted, read_json):
    for name in ("0.jpg", "1.jpg"):
        voc.add(name, [DOG])
        voc.draw(f"other/{name}")
    voc.write_xml("other/0", "<annotation/>")
    assert run(voc.images, voc.annotations, tmp_path / "out") == 0
    assert converted(read_json) == {"0.json": 1, "1.json": 1, "other/0.json": 0}


def test_an_image_that_an_xml_names_with_escapes_is_no_background(voc, tmp_path, capsys, converted, read_json):
    for number in range(4):
        voc.add(f"{number}.jpg", [DOG])
    voc.draw("a b.jpg")
    voc.draw("c d.jpg")
    voc.write_xml("x", "<annotation><filename>data/a%20b.jpg</filename><object><name>cat & dog</name>")
    voc.write_xml("c%20d", "<annotation>")
    more = ("--max-bad-images", "0.5", "--validation-fraction", "0.5")
    assert run(voc.images, voc.annotations, tmp_path / "out", *more) == 0
    assert converted(read_json) == {f"{number}.json": 1 for number in range(4)}
    assert f"{NOTE}: 2, first {voc.images}/a b.jpg ({voc.annotations}/x.xml)" in capsys.readouterr().out
