"""`convert voc` on what tools export: marks, images without XML, hidden files, polygons, encodings, names, folders."""

import gzip
import os
import shutil
import unicodedata

import pytest
from PIL import Image

from sagemaker_ssd.convert.__main__ import main

DOG = ("dog", 10, 5, 60, 45)
BOXES = [(0, 10, 5, 50, 40)]


def run(voc, output, *more, form="images"):
    return main([str(word) for word in voc.arguments("--as", form, "--output", output, *more)])


def wrapped(inside, declaration=""):
    return f"{declaration}<annotation><size><width>100</width><height>50</height></size>{inside}</annotation>"


def drawn_object(inside, name="dog"):
    return f"<object><name>{name}</name>{inside}</object>"


BNDBOX = "<bndbox><xmin>10</xmin><ymin>5</ymin><xmax>60</xmax><ymax>45</ymax></bndbox>"


@pytest.fixture
def all_boxes(tmp_path, boxes_of):
    """The boxes of all images of both splits, by the image's name without its ending."""

    def read(name="out"):
        return {file.stem: boxes_of(file)[0] for file in (tmp_path / name).glob("*_annotation/**/*.json")}

    return read


@pytest.mark.parametrize(
    ("mark", "difficult", "noted"),
    [("Unspecified", 0, True), ("7", 0, True), ("-1", 0, True), ("", 0, False), ("False", 0, False), ("no", 0, False),
     ("true", 1, False), ("Yes", 1, False), (" 1 ", 1, False), ("1.0", 1, False)],
)  # fmt: skip
def test_marks_of_difficult_objects(voc, tmp_path, capsys, read_records, mark, difficult, noted):
    voc.add("a.jpg", [(*DOG, mark)])
    voc.add("b.jpg", [(*DOG, 1)])
    lists = ("--train", voc.write_list("train.txt", "a"), "--validation", voc.write_list("val.txt", "b"))
    assert run(voc, tmp_path / "out", *lists, form="recordio") == 0
    ((label, _),) = read_records(tmp_path / "out/train/train.rec")
    assert label == pytest.approx([2, 6, 0, 0.1, 0.1, 0.6, 0.9, difficult])
    assert ("marks <difficult> that are neither 0 nor 1: 1, first in" in capsys.readouterr().out) == noted


def test_images_without_xml(voc, tmp_path, capsys, all_boxes):
    for number in range(4):
        voc.add(f"{number}.jpg", [DOG])
        voc.draw(f"empty/n{number}.jpg")
    assert run(voc, tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert f"images without an XML, left out: 4, first {voc.images}/empty/n0.jpg; --negatives keeps them as" in printed
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == 4
    assert run(voc, tmp_path / "kept", "--negatives") == 0
    assert "left out" not in capsys.readouterr().out
    files = list((tmp_path / "kept").rglob("*.jpg"))
    assert len(files) == 8
    assert sum(len(boxes) for boxes in all_boxes("kept").values()) == 4


def test_a_list_that_names_an_image_without_xml(voc, tmp_path, capsys, all_boxes):
    voc.add("a.jpg", [DOG])
    voc.add("b.jpg", [DOG])
    voc.draw("empty.jpg")
    lists = ("--train", voc.write_list("train.txt", "a", "empty"), "--validation", voc.write_list("val.txt", "b"))
    assert run(voc, tmp_path / "out", *lists) == 0
    assert f"images without an XML, left out: 1, first {voc.images}/empty.jpg" in capsys.readouterr().out
    assert all_boxes().keys() == {"a", "b"}
    assert run(voc, tmp_path / "kept", *lists, "--negatives") == 0
    assert all_boxes("kept") == {"a": BOXES, "b": BOXES, "empty": []}


def test_hidden_files_are_no_data(voc, tmp_path, capsys):
    for name in ("a.jpg", "b.jpg", ".ipynb_checkpoints/a-checkpoint.jpg"):
        voc.add(name, [DOG])
    (voc.annotations / "._a.xml").write_bytes(b"\0\5\x16\7")
    (voc.images / "._a.jpg").write_bytes(b"\0\5\x16\7")
    (voc.annotations / ".DS_Store").write_bytes(b"Bud1")
    assert run(voc, tmp_path / "out", "--negatives") == 0
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == 2


@pytest.mark.parametrize(
    "shape",
    [
        "<polygon><x1>10</x1><y1>5</y1><x2>60</x2><y2>20</y2><x3>30</x3><y3>45</y3></polygon>",
        "<polygon><pt><x>10</x><y>45</y></pt><pt><x>60</x><y>5</y></pt></polygon>",
        "<bndbox/><polygon><point><x>10.0</x><y>45</y></point><point><x>60</x><y>5</y></point></polygon>",
        "<segm/><polygon><username>me</username><pt><x>10</x><y>45</y></pt><pt><x>60</x><y>5</y></pt></polygon>",
    ],
)
def test_a_polygon_becomes_the_box_around_it(voc, tmp_path, capsys, all_boxes, shape):
    voc.add("a.jpg")
    voc.write_xml("a", wrapped(drawn_object(shape)))
    voc.add("b.jpg", [DOG])
    assert run(voc, tmp_path / "out") == 0
    assert all_boxes() == {"a": BOXES, "b": BOXES}
    assert "polygons without a box: 1, first in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (
            "<bndbox><xmin>40</xmin><ymin>20</ymin><xmax>60</xmax><ymax>30</ymax></bndbox><attributes><attribute>"
            "<name>rotation</name><value>90.0</value></attribute></attributes>",
            (45, 15, 10, 20),
        ),
        (
            "<robndbox><cx>50</cx><cy>25</cy><w>20</w><h>10</h><angle>1.5707963268</angle></robndbox>",
            (45, 15, 10, 20),
        ),
        (
            "<type>robndbox</type><robndbox><cx>50</cx><cy>25</cy><w>20</w><h>10</h><angle>0.5235987756</angle>"
            "</robndbox>",
            (38.8397, 15.6699, 22.3205, 18.6603),
        ),
        (
            "<bndbox><xmin>40</xmin><ymin>20</ymin><xmax>60</xmax><ymax>30</ymax></bndbox><attributes><attribute>"
            "<name>rotation</name><value>none</value></attribute></attributes>",
            (40, 20, 20, 10),
        ),
    ],
)
def test_a_rotated_box_becomes_the_one_around_it(voc, tmp_path, capsys, all_boxes, shape, expected):
    voc.add("a.jpg")
    voc.write_xml("a", wrapped(drawn_object(shape)))
    voc.add("b.jpg", [DOG])
    assert run(voc, tmp_path / "out") == 0
    assert all_boxes()["a"] == [pytest.approx((0, *expected), abs=1e-3)]
    turned = expected != (40, 20, 20, 10)
    assert ("rotated boxes: 1, first" in capsys.readouterr().out) == turned


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [("GB2312", "gbk"), ("gbk", "gb18030"), ("Shift_JIS", "shift_jis"), ("utf-16", "utf-16"), ("utf-16", "utf-16-le"),
     ("utf-16", "utf-16-be"), ("UTF-8", "utf-8-sig"), ("gb2312", "utf-8-sig"), (None, "utf-16"), (None, "utf-8"),
     ("utf-16", "utf-8")],
)  # fmt: skip
def test_encodings(voc, tmp_path, declared, encoding):
    declaration = f'<?xml version="1.0" encoding="{declared}"?>\n' if declared else ""
    for name in ("a", "b"):
        voc.add(f"{name}.jpg")
        content = wrapped(drawn_object(BNDBOX, name="犬"), declaration).encode(encoding)
        (voc.annotations / f"{name}.xml").write_bytes(content)
    assert run(voc, tmp_path / "out") == 0
    assert (tmp_path / "out/classes.txt").read_text() == "犬\n"


def test_space_before_the_declaration(voc, tmp_path):
    for name in ("a", "b"):
        voc.add(f"{name}.jpg")
        voc.write_xml(name, "\n " + wrapped(drawn_object(BNDBOX), '<?xml version="1.0" encoding="UTF-8"?>'))
    assert run(voc, tmp_path / "out") == 0


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        (None, "names no other encoding, but is no UTF-8 at byte "),
        ("UTF-8", "says that it is in the encoding UTF-8, but is no UTF-8 at byte "),
        ("klingon", "says that it is in the encoding klingon, which is not known: save it as UTF-8"),
        ("rot13", "says that it is in the encoding rot13, which is not known: save it as UTF-8"),
        ("shift_jis", "says that it is in the encoding shift_jis, but is no SHIFT_JIS at byte "),
    ],
)
def test_encodings_that_are_wrong(voc, tmp_path, capsys, declared, reason):
    declaration = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    voc.add("a.jpg", [DOG])
    voc.add("b.jpg")
    (voc.annotations / "b.xml").write_bytes(
        wrapped(drawn_object(BNDBOX, name="狗熊"), declaration).encode("gbk") + b"\xff"
    )
    assert run(voc, tmp_path / "out") == 1
    assert capsys.readouterr().err.startswith(f"{voc.annotations}/b.xml: {reason}")


def test_images_in_other_folders_and_of_other_names(voc, tmp_path, capsys):
    voc.draw("deep/a.jpg")
    voc.draw("photo 1.jpg")
    voc.draw("c.jpg")
    voc.draw("d.jpg")
    voc.draw("d.png")
    for name, filename in {
        "a": "a.png", "b": "C:\\data\\photo 1.jpg", "c": "photo 1.jpg", "d": "d.png"
    }.items():  # fmt: skip
        voc.write_xml(name, wrapped(f"<filename>{filename}</filename>{drawn_object(BNDBOX)}"))
    assert run(voc, tmp_path / "out") == 0
    found = {
        path.relative_to(tmp_path / "out").as_posix().partition("/")[2] for path in (tmp_path / "out").rglob("*.*g")
    }
    assert found == {"deep/a.jpg", "photo 1.jpg", "c.jpg", "d.png"}
    printed = capsys.readouterr().out
    assert f"images found by the end of their path: 2, first {voc.images}/deep/a.jpg for 'a'" in printed
    assert f"images without an XML, left out: 1, first {voc.images}/d.jpg" not in printed


def test_lists_of_other_tools(voc, tmp_path):
    for name in ("a.jpg", "sub/b.jpg", "c.jpg", "d.jpg"):
        voc.add(name, [DOG])
    train = voc.root / "train.txt"
    train.write_bytes("data/obj/a.jpg\r\nC:\\data\\b.jpg\r\nc 1\r\n".encode("utf-16"))
    assert run(voc, tmp_path / "out", "--train", train, "--validation", voc.write_list("val.txt", "./d.jpg")) == 0
    assert {path.name for path in (tmp_path / "out/train").rglob("*.jpg")} == {"a.jpg", "b.jpg", "c.jpg"}


def test_annotations_of_validation_in_a_folder_of_their_own(voc, tmp_path, capsys):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        voc.add(name, [DOG])
    other = tmp_path / "other"
    other.mkdir()
    shutil.move(voc.annotations / "c.xml", other / "c.xml")
    assert run(voc, tmp_path / "out", "--validation-annotations", other) == 0
    assert {path.name for path in (tmp_path / "out/train").iterdir()} == {"a.jpg", "b.jpg"}
    assert {path.name for path in (tmp_path / "out/validation").iterdir()} == {"c.jpg"}
    listed = ("--validation-annotations", other, "--validation", voc.write_list("val.txt", "c"))
    assert run(voc, tmp_path / "listed", *listed) == 0
    capsys.readouterr()
    assert run(voc, tmp_path / "both", "--validation-annotations", other, "--validation-fraction", "0.5") == 1
    assert capsys.readouterr().err.startswith("--validation-fraction: with --validation-annotations nothing is split")


def test_a_share_of_faulty_files_is_left_out(voc, tmp_path, capsys):
    for number in range(20):
        voc.add(f"{number:02}.jpg", [DOG])
    (voc.annotations / "03.xml").write_text("<annotation>")
    (voc.images / "04.jpg").write_bytes(b"no image")
    (voc.images / "05.jpg").unlink()
    assert run(voc, tmp_path / "out", "--max-bad-images", "0.15") == 0
    assert "images left out because of a fault: 3 of 20 (--max-bad-images (0.15) allows 3): " in capsys.readouterr().out
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == 17
    assert run(voc, tmp_path / "strict", "--max-bad-images", "0.1") == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("3 images of 20 cannot be used, and --max-bad-images (0.1) allows 2: mend them, or raise it")


def test_fractions(voc, tmp_path, capsys, all_boxes):
    for number in range(12):
        voc.add(f"{number}.jpg", [("dog", 0.1, 0.1, 0.6, 0.9)])
    assert run(voc, tmp_path / "out") == 1
    assert "12 of 12 boxes within 0 to 1" in capsys.readouterr().err
    assert run(voc, tmp_path / "fractions", "--coordinates", "fractions") == 0
    assert all_boxes("fractions")["3"] == BOXES
    for number in range(11):
        voc.add(f"{number}.jpg", [DOG])
    assert run(voc, tmp_path / "one") == 1
    assert capsys.readouterr().err.startswith(
        f"{voc.annotations}/11.xml: all its boxes lie within 0 to 1, such as box 0"
    )


@pytest.mark.parametrize("encoding", ["utf-8:strict", "ascii:strict"])
def test_names_that_the_terminal_cannot_show(voc, tmp_path, convert, monkeypatch, encoding):
    voc.add("a.jpg", [("été", 1, 1, 1, 1)])
    voc.add("b.jpg", [("été", 10, 5, 60, 45)])
    odd = os.fsdecode(b"caf\xe9")
    shutil.copy(voc.images / "a.jpg", voc.images / f"{odd}.jpg")
    shutil.copy(voc.annotations / "a.xml", voc.annotations / f"{odd}.xml")
    (voc.images / "a.jpg").unlink()
    (voc.annotations / "a.xml").unlink()
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    done = convert(*voc.arguments("--as", "images", "--output", tmp_path / "out"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "boxes without area: 1, first in caf\\udce9.jpg" in done.stdout
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == 2


POLYGON = "<polygon><x1>10</x1><y1>5</y1><x2>60</x2><y2>45</y2></polygon>"


@pytest.mark.parametrize("corners", [("nan", 5, 60, 45), (10, 5, 10, 5), (60, 45, 10, 5)])
def test_a_polygon_counts_where_the_box_is_none(voc, tmp_path, capsys, all_boxes, corners):
    voc.add("0.jpg", [("dog", *corners)])
    voc.add("1.jpg", [DOG])
    path = voc.annotations / "0.xml"
    path.write_text(path.read_text().replace("<bndbox>", f"{POLYGON}<bndbox>"))
    assert run(voc, tmp_path / "out") == 0
    assert all_boxes()["0"] == [(0, 10, 5, 50, 40)]
    assert "polygons without a box: 1" in capsys.readouterr().out


def test_an_angle_of_unknown_unit_is_told(voc, tmp_path, capsys):
    for number in range(3):
        voc.add(f"{number}.jpg", [DOG])
    path = voc.annotations / "0.xml"
    path.write_text(path.read_text().replace("<bndbox>", "<angle>1.57</angle><bndbox>"))
    assert run(voc, tmp_path / "out") == 0
    assert "objects with an <angle>, which is not read: 1, first in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "kind"), [(gzip.compress(b"<annotation/>", mtime=0), "gzip"), (b"PK\3\4rest", "ZIP")]
)
def test_compressed_files_are_called_by_their_name(voc, tmp_path, capsys, content, kind):
    for number in range(3):
        voc.add(f"{number}.jpg", [DOG])
    (voc.annotations / "0.xml").write_bytes(content)
    assert run(voc, tmp_path / "out") == 1
    assert f"0.xml: is compressed ({kind}): unpack it" in capsys.readouterr().err
    voc.add("0.jpg", [DOG])
    (voc.root / "list.txt").write_bytes(content)
    assert run(voc, tmp_path / "list", "--train", voc.root / "list.txt") == 1
    assert f"list.txt cannot be read: it is compressed ({kind}): unpack it" in capsys.readouterr().err


def test_thumbnails_of_a_system_are_no_negatives(voc, tmp_path):
    for number in range(3):
        voc.add(f"{number}.jpg", [DOG])
    voc.draw("@eaDir/0.jpg/SYNOPHOTO_THUMB_S.jpg")
    assert run(voc, tmp_path / "out", "--negatives") == 0
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == 3


LABELME = "<polygon><pt><x>60</x><y>20</y></pt><pt><x>80</x><y>20</y></pt><pt><x>80</x><y>30</y></pt></polygon>"
SEGM = (
    "<segm><username/><box><xmin>10</xmin><ymin>5</ymin><xmax>60</xmax><ymax>45</ymax></box><mask>m.png</mask></segm>"
)


@pytest.mark.parametrize(("deleted", "count"), [("1", 1), (" true ", 1), ("0", 2), ("", 2)])
def test_deleted_objects_of_labelme(voc, tmp_path, capsys, all_boxes, deleted, count):
    voc.add("a.jpg")
    voc.add("b.jpg", [DOG])
    voc.write_xml("a", wrapped(drawn_object(BNDBOX) + drawn_object(f"<deleted>{deleted}</deleted>{LABELME}")))
    assert run(voc, tmp_path / "out") == 0
    assert len(all_boxes()["a"]) == count
    noted = f"objects marked as <deleted>, left out: 1, first in {voc.annotations}/a.xml"
    assert (noted in capsys.readouterr().out) == (count == 1)


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        # 20 x 10 about 70, 25: on its end, 10 x 20.
        ("<type>bounding_box</type><attributes>rotation=90.0</attributes>", (65, 15, 10, 20)),
        ("<type>bounding_box</type><attributes>occluded, Rotation = 270</attributes>", (65, 15, 10, 20)),
        ("<type>bounding_box</type><attributes>occluded, rotations=90</attributes>", (60, 20, 20, 10)),
        ("<type>bounding_box</type><attributes></attributes>", (60, 20, 20, 10)),
        # The points of a polygon are where they are.
        ("<type>polygon</type><attributes>rotation=90.0</attributes>", (60, 20, 20, 10)),
    ],
)
def test_rotated_boxes_in_labelmes_xml(voc, tmp_path, capsys, all_boxes, inside, expected):
    voc.add("a.jpg")
    voc.add("b.jpg", [DOG])
    voc.write_xml("a", wrapped(drawn_object(f"{inside}{LABELME}")))
    assert run(voc, tmp_path / "out") == 0
    assert all_boxes()["a"] == [pytest.approx((0, *expected), abs=1e-3)]
    printed = capsys.readouterr().out
    assert ("rotated boxes: 1, first" in printed) == (expected == (65, 15, 10, 20))
    assert ("polygons without a box: 1, first" in printed) == ("polygon" in inside)


def test_masks_of_labelme(voc, tmp_path, capsys, all_boxes):
    voc.add("a.jpg")
    voc.add("b.jpg", [DOG])
    voc.write_xml("a", wrapped(drawn_object(SEGM)))
    assert run(voc, tmp_path / "out") == 0
    assert all_boxes() == {"a": BOXES, "b": BOXES}
    printed = capsys.readouterr().out
    assert f"objects that are masks: 1, first in {voc.annotations}/a.xml; each was written as the <box>" in printed


@pytest.mark.parametrize("tag", ["bndbox", "robndbox"])
def test_an_object_of_two_boxes(voc, tmp_path, capsys, all_boxes, tag):
    first = {
        "bndbox": BNDBOX,
        "robndbox": "<robndbox><cx>35</cx><cy>25</cy><w>50</w><h>40</h><angle>0</angle></robndbox>",
    }[tag]
    second = first.replace("<xmin>10<", "<xmin>11<").replace("<cx>35<", "<cx>36<")
    voc.add("a.jpg")
    voc.add("b.jpg", [DOG])
    voc.write_xml("a", wrapped(drawn_object(first + second)))
    assert run(voc, tmp_path / "out") == 1
    fault = f"{voc.annotations}/a.xml: box 0 (dog) has 2 <{tag}>: write an <object> for each"
    assert capsys.readouterr().err.startswith(fault)
    voc.write_xml("a", wrapped(drawn_object(f"{first}\n {first}<part><name>head</name>{second}</part>")))
    assert run(voc, tmp_path / "same") == 0
    assert all_boxes("same") == {"a": BOXES, "b": BOXES}


def test_an_image_called_like_its_xml_goes_before_filename(voc, tmp_path, capsys, all_boxes):
    """As after images and XML files were renamed together; where the XML files alone were, the note tells."""
    for number in range(3):
        voc.draw(f"{number}.jpg")
        other = f"D:\\in\\{number + 1}.png" if number < 2 else "old name.jpg"
        corners = ("xmin", number), ("ymin", 5), ("xmax", 60), ("ymax", 45)
        box = "".join(f"<{tag}>{value}</{tag}>" for tag, value in corners)
        text = f"<filename>{other}</filename>{drawn_object(f'<bndbox>{box}</bndbox>')}"
        voc.write_xml(f"{number}", wrapped(text))
    assert run(voc, tmp_path / "out") == 0
    assert {name: boxes[0][1] for name, boxes in all_boxes().items()} == {"0": 0, "1": 1, "2": 2}
    assert (
        "images that are called like their XML, whose <filename> is another image that is there too: 2, first "
        f"{voc.annotations}/0.xml (<filename> 1.jpg); the image that is called like the XML is taken\n"
    ) in capsys.readouterr().out


@pytest.fixture
def cameras(voc):
    """Both cameras number alike. Those of cam1 have no XML, and an image of cam2 is missing, whose XML is there."""
    for number in range(3):
        voc.draw(f"cam1/{number}.jpg")
        voc.add(f"cam2/{number}.jpg", [DOG])
    (voc.images / "cam2/0.jpg").unlink()
    return voc


@pytest.mark.parametrize("filename", ["0.jpg", "D:\\in\\cam2\\0.jpg", "", "cam2/0.png"])
def test_an_image_of_another_folder_is_another_image(cameras, tmp_path, capsys, filename):
    cameras.write_xml("cam2/0", wrapped(f"<filename>{filename}</filename>{drawn_object(BNDBOX)}"))
    assert run(cameras, tmp_path / "out", "--max-bad-images", "0") == 1
    assert capsys.readouterr().err.splitlines()[0] == (
        f"{cameras.annotations}/cam2/0.xml: there is no image {cameras.images}/cam2/0 with .jpg, .jpeg or .png at the "
        f"end, only cam1/0.jpg of that name, and cam2 holds images: put the image there, or give its path below "
        f"{cameras.images}"
    )


def test_an_image_whose_folder_has_xml_of_its_own_is_that_of_no_other_folder(cameras, tmp_path, capsys):
    """No image of cam2 is there."""
    shutil.rmtree(cameras.images / "cam2")
    for number in (1, 2):
        cameras.add(f"cam1/{number}.jpg", [DOG])
        (cameras.annotations / f"cam2/{number}.xml").unlink()
    assert run(cameras, tmp_path / "out", "--max-bad-images", "0") == 1
    assert capsys.readouterr().err.splitlines()[0] == (
        f"{cameras.annotations}/cam2/0.xml: there is no image {cameras.images}/cam2/0 with .jpg, .jpeg or .png at the "
        f"end, only cam1/0.jpg of that name, whose folder has annotations of its own: put the image there, or give its "
        f"path below {cameras.images}"
    )


def test_filename_means_an_image_of_the_xmls_own_folder(voc, tmp_path, capsys):
    for folder in ("cam1", "cam2"):
        voc.draw(f"{folder}/photo.jpg")
        voc.write_xml(f"{folder}/x", wrapped(f"<filename>photo.jpg</filename>{drawn_object(BNDBOX)}"))
    voc.add("a.jpg", [DOG])
    (voc.annotations / "cam1/x.xml").unlink()
    assert run(voc, tmp_path / "out") == 0
    assert {path.name for path in (tmp_path / "out").glob("*/cam*")} == {"cam2"}
    assert f"images found by the end of their path: 1, first {voc.images}/cam2/photo.jpg for 'cam2/x'" in (
        capsys.readouterr().out
    )


def test_an_image_that_filename_gives_with_escapes(voc, tmp_path, all_boxes):
    for name in ("a b.jpg", "Capture_d\u00e9cran.jpg"):
        voc.draw(name)
    voc.write_xml("x", wrapped(f"<filename>1/a%20b.jpg</filename>{drawn_object(BNDBOX)}"))
    voc.write_xml("Capture_d%C3%A9cran", wrapped(drawn_object(BNDBOX)))
    assert run(voc, tmp_path / "out") == 0
    assert all_boxes() == {"a b": BOXES, "Capture_d\u00e9cran": BOXES}


def test_a_line_of_a_list_means_no_xml_of_another_folder(voc, tmp_path, capsys):
    """A training list that names an XML which is gone must not take that of the same name of the test set."""
    for name in ("train/1.jpg", "train/2.jpg", "test/0.jpg", "test/1.jpg"):
        voc.add(name, [DOG])
    train = voc.write_list("train.txt", "train/0", "train/1")
    lists = ("--train", train, "--validation", voc.write_list("val.txt", "train/2"))
    for gone in ("nothing", "images of the test set"):
        assert run(voc, tmp_path / gone, *lists, "--max-bad-images", "0") == 1
        assert capsys.readouterr().err.splitlines()[0] == (
            f"{train}, line 1: there is no {voc.annotations}/train/0.xml, only test/0.xml of that name, in another "
            f"folder: give its path below {voc.annotations}, or take the line out of the list"
        )
        # Nor by way of an image that lies in no folder.
        if gone == "nothing":
            (voc.images / "test/0.jpg").rename(voc.images / "0.jpg")


@pytest.mark.parametrize(
    ("line", "xml", "told"),
    [
        ("cam2/0.jpg", "0.xml", False),
        ("set/cam2/0.jpg", "cam2/0.xml", False),
        ("0", "xml/0.xml", False),
        ("cam2/0", "xml/0.xml", False),
        ("old/0", "xml/0.xml", True),
    ],
)
def test_lists_may_give_folders_of_images_or_unknown_ones(voc, tmp_path, capsys, split_names, line, xml, told):
    voc.add("a.jpg", [DOG])
    voc.draw("cam2/0.jpg")
    voc.draw("cam1/1.jpg")
    voc.write_xml(xml, wrapped(drawn_object(BNDBOX)))
    validation = voc.write_list("val.txt", line)
    assert run(voc, tmp_path / "out", "--train", voc.write_list("train.txt", "a"), "--validation", validation) == 0
    assert split_names() == [{"a.jpg"}, {"cam2"}]
    note = (
        f"lines of lists that give another folder, found by their names alone: 1, first {validation}, line 1 ({line})"
    )
    assert (f"{note}: {xml}" in capsys.readouterr().out) == told


def test_a_line_that_names_an_image_of_another_camera(cameras, tmp_path, capsys):
    """It has no XML, and the one of the same name is the other camera's."""
    lists = (
        "--train",
        cameras.write_list("t.txt", "cam1/1.jpg"),
        "--validation",
        cameras.write_list("v.txt", "cam2/2"),
    )
    assert run(cameras, tmp_path / "out", *lists, "--negatives") == 1
    fault = (
        f"line 1: {cameras.images}/cam1/1.jpg has no XML of its own, and {cameras.annotations}/cam2/1.xml has its name"
    )
    assert fault in capsys.readouterr().err


OBJECT = drawn_object(BNDBOX)


@pytest.mark.parametrize(
    ("inside", "where"),
    [
        (f"<objects>{OBJECT}</objects>", "<object> in <objects>"),
        (OBJECT + f"<extra><more>{OBJECT}</more></extra>", "<object> in <extra>"),
        (OBJECT.replace("object>", "Object>"), "<Object>"),
        (OBJECT.replace("<object>", '<object xmlns="http://x">'), "<{http://x}object>"),
        (drawn_object(BNDBOX + OBJECT), "<object> in <object>"),
        (f"<obj><name>dog</name>{BNDBOX}</obj>", "<bndbox> in <obj>"),
        ("<item><polygon><pt><x>1</x><y>2</y></pt></polygon></item>", "<polygon> in <item>"),
        (BNDBOX, "<bndbox>"),
    ],
)
def test_objects_in_another_place_make_no_background(voc, tmp_path, capsys, inside, where):
    for name in ("b", "c"):
        voc.add(f"{name}.jpg", [DOG])
    voc.draw("a.jpg")
    voc.write_xml("a", wrapped(inside))
    assert run(voc, tmp_path / "out") == 1
    assert capsys.readouterr().err.splitlines()[0] == (
        f"{voc.annotations}/a.xml: has objects in another place ({where}): write each as <object> directly in "
        "<annotation>, in small letters and without a namespace"
    )


@pytest.mark.parametrize("kind", ["bmp", "gif"])
def test_images_whose_ending_is_not_looked_at(voc, tmp_path, capsys, kind):
    voc.add("a.jpg", [DOG])
    voc.draw(f"0.{kind}")
    voc.draw(f"deep/1.{kind}")
    voc.draw(f"listed.{kind}")
    voc.write_xml("0", wrapped(f"<filename>0.{kind}</filename>"))
    voc.write_xml("1", wrapped("<filename>gone.png</filename>"))
    remedy = "save it as JPEG or PNG"
    if kind == "bmp":
        remedy = f"rename it to .jpg, since what it holds is read, or {remedy}"
    train, validation = voc.write_list("t.txt", "0", "1", f"listed.{kind}", "a"), voc.write_list("v.txt", "a")
    assert run(voc, tmp_path / "out", "--train", train, "--validation", validation) == 1
    why = f"is there, but only .jpg, .jpeg and .png are looked at: {remedy}"
    assert capsys.readouterr().err.splitlines()[1:4] == [
        f"- {train}, line 3: {voc.images}/listed.{kind} {why}",
        f"- {voc.annotations}/0.xml: {voc.images}/0.{kind} {why}",
        f"- {voc.annotations}/1.xml: {voc.images}/deep/1.{kind} {why}",
    ]


def test_images_that_the_training_job_refuses(voc, tmp_path, capsys):
    for name in ("gif.jpg", "cut.png", "webp.jpg", "tif.png", "good.jpg"):
        voc.add(name, [DOG])
    picture = Image.open(voc.images / "good.jpg")
    picture.save(voc.images / "gif.jpg", "GIF")
    picture.save(voc.images / "webp.jpg", "WEBP")
    picture.save(voc.images / "tif.png", "TIFF")
    cut = voc.images / "cut.png"
    cut.write_bytes(cut.read_bytes()[:-20])
    assert run(voc, tmp_path / "out") == 1
    printed = capsys.readouterr().err
    assert f"{voc.annotations}/gif.xml: {voc.images}/gif.jpg cannot be read: a GIF: save it as JPEG or PNG\n" in printed
    assert f"{voc.annotations}/cut.xml: {cut} cannot be read: damaged or cut off\n" in printed
    assert "2 images of 5 cannot be used" in printed


@pytest.mark.parametrize(
    ("name", "content", "remedy"),
    [
        (
            "0.txt",
            "0 0.5 0.5 0.1 0.1",
            "name the folder of the XML files, or export the data set as Pascal VOC or COCO",
        ),
        ("0.json", '{"shapes": [], "imagePath": "0.jpg"}', "that is labelme's JSON: labelme's labelme2voc.py or label"),
        ("all.json", '{"images": [], "annotations": []}', "that is a COCO file: turn it into channels with python -m "),
        ("0.json", "{", "name the folder of the XML files, or export the data set as Pascal VOC or COCO"),
    ],
)
@pytest.mark.parametrize("more", [(), ("--negatives",)])
def test_a_folder_without_xml(voc, tmp_path, capsys, name, content, remedy, more):
    for number in range(3):
        voc.draw(f"{number}.jpg")
    (voc.annotations / name).write_text(content)
    (voc.annotations / "classes.names").write_text("dog")
    assert run(voc, tmp_path / "out", *more) == 1
    printed = capsys.readouterr().err
    # A JSON tells most.
    first = name if name.endswith(".json") else "0.txt"
    assert printed.startswith(f"{voc.annotations} has no .xml, but 2 other files (")
    assert f"{name[name.index('.') :]} 1" in printed
    assert f"), such as {first}: {remedy}" in printed
    assert "negatives" not in printed


def test_columns_and_comments_of_lists(voc, tmp_path, capsys):
    """Oxford-IIIT Pet's class, species and breed; ImageNet's index; names in quotes, as Datumaro writes them."""
    names = ["Abyssinian_100", "Abyssinian_101", "deep/beagle_2", "a b"]
    for name in names:
        voc.add(f"{name}.jpg", [DOG])
    pets = ["#Image CLASS-ID SPECIES BREED ID", "#ID: 1:37 Class ids"]
    pets += [f"{name} {number} 1 {number}" for number, name in enumerate(names, start=10)]
    lists = {
        "pets": voc.write_list("pets.txt", *pets),
        "index": voc.write_list("index.txt", *(f"{name}\t{number}" for number, name in enumerate(names, start=1))),
        "quoted": voc.write_list("quoted.txt", *(f'"{name}"' for name in names)),
    }
    for name, path in lists.items():
        assert run(voc, tmp_path / name, "--train", path, "--validation", path) == 0
        found = (tmp_path / name / "train").rglob("*.jpg")
        assert {file.relative_to(tmp_path / name / "train").as_posix()[:-4] for file in found} == set(names)
        noted = f"lines of {path} that begin with #: 4, first line 1; left out as comments"
        assert (noted in capsys.readouterr().out) == (name == "pets")


def test_numbers_at_the_end_of_names_are_no_columns(voc, tmp_path, capsys):
    for name in ("photo", "photo 11", "photo 12", "#1"):
        voc.add(f"{name}.jpg", [DOG])
    validation = voc.write_list("val.txt", "photo")
    train = voc.write_list("train.txt", "photo 11", "photo 12", "#1")
    assert run(voc, tmp_path / "out", "--train", train, "--validation", validation) == 0
    copied = {path.name for path in (tmp_path / "out/train").iterdir()}
    assert copied == {"photo 11.jpg", "photo 12.jpg", "#1.jpg"}
    capsys.readouterr()
    train = voc.write_list("gone.txt", "photo 11", "photo 13")
    assert run(voc, tmp_path / "gone", "--train", train, "--validation", validation) == 1
    assert capsys.readouterr().err.startswith(f"{train}, line 2: there is no {voc.annotations}/photo 13.xml, and no im")


@pytest.fixture
def split_names(tmp_path):
    """The names of the images of both splits."""

    def read(name="out"):
        return [{path.name for path in (tmp_path / name / split).iterdir()} for split in ("train", "validation")]

    return read


@pytest.mark.parametrize("both", [False, True])
def test_accents_that_names_have_apart_and_lists_have_not(voc, tmp_path, capsys, split_names, both):
    """As macOS writes names of files, and hardly anybody a list."""
    apart, whole = (unicodedata.normalize(form, "\u00e9t\u00e9") for form in ("NFD", "NFC"))
    for name in (apart, f"sub/{apart}2", "b", "c"):
        voc.add(f"{name}.jpg", [DOG])
    lists = ["--validation", voc.write_list("val.txt", whole, f"{whole}2.jpg")]
    if both:
        lists += ["--train", voc.write_list("train.txt", "b", "c")]
    assert run(voc, tmp_path / "out", *lists) == 0
    assert [path.name for path in (tmp_path / "out/validation/sub").iterdir()] == [f"{apart}2.jpg"]
    assert split_names() == [{"b.jpg", "c.jpg"}, {f"{apart}.jpg", "sub"}]
    assert "left out" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("image", "xml", "line"),
    [
        ("IMG_1.jpg", "img_1.xml", "IMG_1"),
        ("img_1.jpg", "img_1.xml", "IMG_1.JPG"),
        ("0001.jpg", "0001.jpg.xml", "0001"),
        ("photo.jpg", "note.xml", "photo"),
    ],
)
@pytest.mark.parametrize("both", [False, True])
def test_a_list_means_the_xml_whose_image_it_names(voc, tmp_path, capsys, split_names, image, xml, line, both):
    for name in ("a", "b", "c"):
        voc.add(f"{name}.jpg", [DOG])
    (voc.images / "a.jpg").rename(voc.images / image)
    text = (voc.annotations / "a.xml").read_text().replace("other.jpg", "photo.jpg")
    (voc.annotations / "a.xml").unlink()
    (voc.annotations / xml).write_text(text)
    lists = ["--validation", voc.write_list("val.txt", line)]
    if both:
        lists += ["--train", voc.write_list("train.txt", "b", "c")]
    assert run(voc, tmp_path / "out", *lists) == 0
    assert split_names() == [{"b.jpg", "c.jpg"}, {image}]
    assert "left out" not in capsys.readouterr().out


def test_a_listed_image_that_may_be_that_of_an_xml_stops_the_conversion(voc, tmp_path, capsys):
    """Two cameras on a file system that tells capitals apart, and an XML of one of them; a mask."""
    for name in ("img_1", "b"):
        voc.add(f"{name}.jpg", [DOG])
    voc.draw("IMG_1.jpg")
    voc.draw("m.png")
    voc.write_xml("b", wrapped(drawn_object(SEGM)))
    train, validation = voc.write_list("t.txt", "img_1", "m"), voc.write_list("v.txt", "IMG_1", "b")
    assert run(voc, tmp_path / "out", "--train", train, "--validation", validation, "--negatives") == 1
    remedy = "write an XML for it, without objects where it shows none, or take it out of the list"
    images, xml = voc.images, voc.annotations
    assert capsys.readouterr().err.splitlines()[:3] == [
        "2 problems:",
        f"- {validation}, line 1: {images}/IMG_1.jpg has no XML of its own, and {xml}/img_1.xml has its name or names "
        f"it: {remedy}",
        f"- {train}, line 2: {images}/m.png has no XML of its own, and {xml}/b.xml has its name or names it: {remedy}",
    ]


def test_a_listed_image_of_two_xml(voc, tmp_path, capsys):
    voc.add("b.jpg", [DOG])
    voc.draw("0001.jpg")
    for name in ("0001.jpg.xml", "0001.png.xml"):
        shutil.copy(voc.annotations / "b.xml", voc.annotations / name)
    lists = ("--train", voc.write_list("t.txt", "b"), "--validation", voc.write_list("v.txt", "0001"))
    assert run(voc, tmp_path / "out", *lists) == 1
    both = f"{voc.annotations}/0001.jpg.xml and {voc.annotations}/0001.png.xml"
    assert f"{voc.images}/0001.jpg is the image of {both}: remove all but one" in capsys.readouterr().err


@pytest.mark.parametrize("names", [("a.xml", "a.XML"), ("e\u0301.xml", "\u00e9.xml")])
def test_xml_files_that_a_list_cannot_tell_apart(voc, tmp_path, capsys, names):
    voc.add("b.jpg", [DOG])
    voc.draw(f"{names[0][:-4]}.jpg")
    for name in names:
        shutil.copy(voc.annotations / "b.xml", voc.annotations / name)
    validation = voc.write_list("v.txt", names[0][:-4])
    assert run(voc, tmp_path / "out", "--validation", validation) == 1
    first, second = sorted(names)
    fault = f"{validation}, line 1: '{names[0][:-4]}' may be {first} or {second}: remove all but one"
    assert fault in capsys.readouterr().err


INVERTED = ("dog", 60, 45, 10, 5)


def test_many_inverted_boxes_stop_the_conversion(voc, tmp_path, capsys):
    """As they stop the training job."""
    for number in range(12):
        voc.add(f"{number:02}.jpg", [INVERTED])
        voc.add(f"v{number:02}.jpg", [DOG])
    train = voc.write_list("train.txt", *(f"{number:02}" for number in range(12)))
    validation = voc.write_list("val.txt", *(f"v{number:02}" for number in range(12)))
    assert run(voc, tmp_path / "out", "--train", train, "--validation", validation) == 1
    printed = capsys.readouterr().err
    assert printed.startswith(
        f"train: 12 of 12 boxes are inverted, such as {voc.annotations}/00.xml: box 0 (dog) (xmin, ymin, xmax, ymax "
        "60, 45, 10, 5): xmin, ymin must be a box's upper left corner"
    )
    assert not (tmp_path / "out").exists()


def test_few_inverted_boxes_are_noted(voc, tmp_path, capsys):
    for number in range(12):
        voc.add(f"{number:02}.jpg", [DOG, INVERTED] if number < 9 else [DOG, ("dog", 10, 5, 10, 45)])
    lists = voc.write_list("all.txt", *(f"{number:02}" for number in range(12)))
    assert run(voc, tmp_path / "out", "--train", lists, "--validation", voc.write_list("v.txt", "09")) == 0
    printed = capsys.readouterr().out
    assert (
        "inverted boxes, whose xmax is below xmin or ymax below ymin: 9, first "
        f"{voc.annotations}/00.xml: box 1 (dog) (xmin, ymin, xmax, ymax 60, 45, 10, 5); kept here, dropped by the "
    ) in printed
    assert "boxes without area: 4, first in 09.jpg; kept here, dropped by the training job" in printed
