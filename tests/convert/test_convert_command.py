"""The command line of `python -m sagemaker_ssd.convert`: exit codes, and folders it will not touch."""

import io
import os
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

import sagemaker_ssd
from another_user import open_folder, said_as_another_user
from sagemaker_ssd import boxes
from sagemaker_ssd.convert.__main__ import main
from sagemaker_ssd.convert.shapes import BORDER_PIXELS

DOG = ("dog", 10, 5, 60, 45)
COMPOSED, TAKEN_APART = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))


@pytest.fixture
def pair(voc):
    voc.add("a.jpg", [DOG])
    voc.add("b.jpg", [DOG])
    return voc


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["pascal"],
        ["voc"],
        ["voc", "--images", "i", "--annotations", "x", "--output", "o", "--as", "lmdb"],
        ["voc", "--images", "i", "--annotations", "x", "--output", "o", "--as", "images", "--validation-fraction", "1"],
        ["voc", "--images", "i", "--annotations", "x", "--output", "o", "--as", "images", "--classes", "a,,b"],
        ["voc", "--images", "i", "--annotations", "x", "--output", "o", "--as", "images", "--classes", "a,a"],
        ["voc", "--images", "i", "--annotations", "x", "--output", "o", "--as", "images", "--classes", ""],
        ["voc", "--images", "i", "--annotations", "x", "--output", "o", "--as", "images", "--classes", '"a,b'],
        ["voc", "--images", "i", "--annotations", "x", "--output", "o", "--as", "images", "--classes",
         f"{COMPOSED},{TAKEN_APART}"],
        ["coco", "--images", "i", "--output", "o", "--as", "images"],
        ["coco", "--images", "i", "--output", "o", "--as", "images", "--train", "t", "--validation", "v",
         "--validation-fraction", "0.5"],
    ],
)  # fmt: skip
def test_wrong_usage_exits_with_2(words):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2


def test_help_states_the_pixel_convention(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["voc", "--help"])
    assert ended.value.code == 0
    assert "the width of a box is xmax - xmin" in " ".join(capsys.readouterr().out.split())


def test_data_that_cannot_be_converted_exits_with_1_and_no_traceback(pair, convert, tmp_path):
    (pair.annotations / "b.xml").write_text("<annotation>")
    done = convert(*pair.arguments("--as", "images", "--output", tmp_path / "out"))
    assert done.returncode == 1
    assert done.stderr.startswith(f"{pair.annotations}/b.xml: is not well-formed XML")
    assert "Traceback" not in done.stderr


def test_an_output_that_holds_something_is_left_alone(pair, capsys, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    (output / "mine.txt").write_text("mine")
    words = [str(word) for word in pair.arguments("--as", "images", "--output", output)]
    assert main(words) == 1
    printed = capsys.readouterr().err
    assert printed == f"--output: {output} is not an empty folder; name a new one, or empty it first\n"
    assert [path.name for path in output.iterdir()] == ["mine.txt"]
    (output / "mine.txt").unlink()
    assert main(words) == 0


@pytest.mark.parametrize("form", ["images", "recordio"])
def test_an_output_that_cannot_be_made(pair, capsys, tmp_path, form):
    (tmp_path / "file").write_text("")
    words = pair.arguments("--as", form, "--output", tmp_path / "file/out")
    assert main([str(word) for word in words]) == 1
    assert capsys.readouterr().err == f"{tmp_path}/file/out: Not a directory\n"


@pytest.mark.parametrize(("form", "file"), [("images", "train/a.jpg"), ("recordio", "train/train.rec")])
def test_a_file_that_cannot_be_written_whole(pair, convert, tmp_path, form, file):
    words = pair.arguments("--as", form, "--output", tmp_path / "out")
    # Images of noise, 100 x 50 px: 5 kB each.
    done = convert(*words, limit=1000)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{tmp_path / 'out' / file} cannot be written: the disk is full, or a quota or limit")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("form", ["images", "recordio"])
def test_mxnet_is_left_alone(pair, tmp_path, form):
    words = [str(word) for word in pair.arguments("--as", form, "--output", tmp_path / "out")]
    program = (
        f"import sys; from sagemaker_ssd.convert.__main__ import main; main({words}); print('mxnet' in sys.modules)"
    )
    source = Path(sagemaker_ssd.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(source)}, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "False"


def test_a_rec_is_byte_for_byte_what_mxnet_writes(voc, tmp_path, read_records):
    from mxnet.recordio import IRHeader, MXRecordIO, pack

    for number in range(6):
        voc.add(f"{number}.jpg", [] if number == 2 else [(*DOG, number % 2), ("cat", 1, 2, 3, 4)])
        with (voc.images / f"{number}.jpg").open("ab") as image:
            image.write(b"x" * number + b"\x0a\x23\xd7\xce" * 3)  # RecordIO's magic word, at all four offsets
    stems = voc.write_list("all.txt", *range(6))
    words = voc.arguments("--as", "recordio", "--train", stems, "--validation", stems, "--output", tmp_path / "out")
    assert main([str(word) for word in words]) == 0
    for channel in ("train", "validation"):
        path = tmp_path / "out" / channel / f"{channel}.rec"
        again = MXRecordIO(str(tmp_path / "again.rec"), "w")
        for number, (label, image) in enumerate(read_records(path)):
            again.write(pack(IRHeader(0, label, number, 0), image))
        again.close()
        assert path.read_bytes() == (tmp_path / "again.rec").read_bytes()


def test_whoever_reads_the_summary_need_not_read_on(pair, tmp_path):
    words = [str(word) for word in pair.arguments("--as", "images", "--output", tmp_path / "out")]
    source = Path(sagemaker_ssd.__file__).parents[1]
    reading, writing = os.pipe()
    os.close(reading)
    # Where it is set, nothing is left to be written at the end.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [sys.executable, "-m", "sagemaker_ssd.convert", *words],
        env={**environment, "PYTHONPATH": str(source)},
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out/classes.txt").is_file()


def test_an_image_that_disappears_is_named(pair, tmp_path, convert):
    (pair.images / "b.jpg").unlink()
    (pair.images / "b.jpg").symlink_to(tmp_path / "nowhere.jpg")
    done = convert(*pair.arguments("--as", "recordio", "--output", tmp_path / "out"))
    assert done.returncode == 1
    assert "b.jpg" in done.stderr
    assert "Traceback" not in done.stderr


def test_border_is_the_training_jobs():
    assert BORDER_PIXELS == boxes.BORDER_PIXELS


@pytest.mark.parametrize("choice", [(), ("--classes", TAKEN_APART), ("--only-classes", COMPOSED)])
def test_accents_taken_apart_make_no_other_class_of_xml(voc, tmp_path, choice):
    voc.add("a.jpg", [(COMPOSED, *DOG[1:]), (TAKEN_APART, *DOG[1:])])
    voc.add("b.jpg", [(TAKEN_APART, *DOG[1:])])
    words = voc.arguments("--as", "images", "--output", tmp_path / "out", *choice)
    assert main([str(word) for word in words]) == 0
    assert (tmp_path / "out/classes.txt").read_text() == f"{COMPOSED}\n"


@pytest.mark.parametrize("choice", [(), ("--classes", TAKEN_APART), ("--only-classes", COMPOSED)])
def test_accents_taken_apart_make_no_other_class_of_coco(coco, tmp_path, capsys, choice):
    for name, file, category in (("train", "a.jpg", TAKEN_APART), ("val", "b.jpg", COMPOSED)):
        coco.write(f"{name}.json", {1: file}, [(1, 1, [10, 5, 50, 40])], [{"id": 1, "name": category}])
    words = ("--train", coco.root / "train.json", "--validation", coco.root / "val.json", *choice)
    assert coco.run(tmp_path / "out", *words) == 0
    assert (tmp_path / "out/classes.txt").read_text() == f"{COMPOSED}\n"
    # In one file they are two categories of one name.
    categories = [{"id": 1, "name": TAKEN_APART}, {"id": 2, "name": COMPOSED}]
    boxes = [(1, 1, [10, 5, 50, 40]), (2, 2, [10, 5, 50, 40])]
    both = coco.write("both.json", {1: "a.jpg", 2: "b.jpg"}, boxes, categories)
    assert coco.run(tmp_path / "both", "--train", both, *choice) == 1
    assert f"the categories with the ids 1 and 2 have the same name, '{COMPOSED}'" in capsys.readouterr().err


def test_it_says_what_it_does(pair, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("sagemaker_ssd.convert.__main__._FIRST_LINE_SECONDS", 0.0)
    assert main([str(word) for word in pair.arguments("--as", "images", "--output", tmp_path / "out")]) == 0
    assert "The data set is being read and checked, for 0:00:00 so far" in caplog.messages


@pytest.mark.parametrize("closed", ["images/sub", "annotations"])
def test_a_folder_that_cannot_be_listed_is_no_empty_one(pair, closed):
    pair.add("sub/c.jpg", [DOG])
    with open_folder() as folder:
        copied = type(pair)(folder / "made")
        shutil.copytree(pair.root, copied.root, dirs_exist_ok=True)
        (copied.root / closed).chmod(0)

        def run() -> str:
            sys.stderr = io.StringIO()
            words = copied.arguments("--as", "images", "--output", folder / "out")
            code = main([str(word) for word in words])
            return f"{code} {sys.stderr.getvalue()}"

        assert said_as_another_user(run) == f"1 {copied.root / closed}: Permission denied\n"
