"""The comparison of accuracy on drawn sets of one class, in VOC and COCO form."""

import argparse
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import mxnet as mx
import numpy as np
import pytest
from accuracy_sides import check_finite
from bench_accuracy import MARKS, data_sets

from sagemaker_ssd.files import sha256
from sagemaker_ssd.ssd.number_formats import can_compute_bfloat16

PROGRAM = Path(__file__).parent / "bench_accuracy.py"
SIDES = ("ours", "original-0.001", "gluoncv")


def draw(folder: Path, images: int, seed: int = 0) -> None:
    random = np.random.default_rng(seed)
    (folder / "JPEGImages").mkdir(parents=True)
    (folder / "Annotations").mkdir()
    for number in range(images):
        picture = random.integers(90, 160, (240, 320, 3), np.uint8)
        left, top, width, height = (int(random.integers(*bounds)) for bounds in ((0, 200), (0, 120), *((50, 100),) * 2))
        cv2.rectangle(picture, (left, top), (left + width - 1, top + height - 1), (30, 30, 220), -1)
        assert cv2.imwrite(str(folder / "JPEGImages" / f"{number}.jpg"), picture)
        box = f"<xmin>{left}</xmin><ymin>{top}</ymin><xmax>{left + width}</xmax><ymax>{top + height}</ymax>"
        (folder / "Annotations" / f"{number}.xml").write_text(
            f"<annotation><filename>{number}.jpg</filename>"
            "<size><width>320</width><height>240</height><depth>3</depth></size>"
            f"<object><name>thing</name><bndbox>{box}</bndbox></object></annotation>"
        )


def program(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, PROGRAM, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def compare(folder: Path, results: Path, *sides: str) -> str:
    options = ["--limit", 5, "--epochs", 2, "--seeds", 0, "--batch", 4, "--results", results]
    done = program("--voc", folder, *options, "--sides", *sides)
    assert done.returncode == 0, done.stderr
    return done.stdout


# Four sides, of which three take minutes each on a slow machine that has other work.
@pytest.mark.timeout(900)
@pytest.mark.long
def test_every_side_on_a_folder_in_voc_form(tmp_path: Path):
    draw(tmp_path / "things", 12)
    results = tmp_path / "results"
    compare(tmp_path / "things", results, *SIDES[1:])
    files = {path.name: json.loads(path.read_text()) for path in results.glob("*.json")}
    assert set(files) == {f"things-5-{side}-0.json" for side in SIDES[1:]}
    # An evaluation leaves GluonCV's network in its form for detecting, from which the second epoch has to take it.
    assert {len(content["epochs"]) for content in files.values()} == {2}
    assert all({"voc07", "coco"} == set(epoch["all_classes"]) for one in files.values() for epoch in one["epochs"])
    # What is there is not run again: a changed result stays.
    changed = results / "things-5-gluoncv-0.json"
    first, second = files[changed.name]["epochs"]
    changed.write_text(json.dumps({**files[changed.name], "epochs": [{**first, "voc07": 0.5}, second]}))
    printed = compare(tmp_path / "things", results, *SIDES)
    assert "things-5-gluoncv-0.json is there" in printed
    assert "| things-5 | GluonCV, `ssd_300_vgg16_atrous` | 0 | 0.500 |" in printed
    ours = json.loads((results / "things-5-ours-0.json").read_text())
    assert (ours["classes"], ours["batch"], len(ours["epochs"])) == (1, 4, 2)
    assert ("bfloat16" in ours["epochs"][-1]) == can_compute_bfloat16()
    # With one class an anchor's best class is all that it has.
    assert ours["epochs"][0]["all_classes"]["voc07"] == pytest.approx(ours["epochs"][0]["voc07"], abs=0.02)
    assert (results / "accuracy-things-5.png").stat().st_size > 10_000
    in_bfloat16 = {"voc07": 0.25, "coco": 0.125}
    ours["epochs"][-1] |= {"voc07": 0.5, "coco": 0.375, "bfloat16": in_bfloat16, "all_classes": {"voc07": 0.625}}
    (results / "things-5-ours-0.json").write_text(json.dumps(ours))
    printed = compare(tmp_path / "things", results, *SIDES, "ours-recommended", "--table-only")
    assert "Not run to the end yet (set, side, seed): things-5 ours-recommended 0." in printed
    assert "| things-5 | this program, its defaults | 0 | 0.5000 | 0.2500 | 0.3750 | 0.1250 |" in printed
    assert " | 0.625 |  |  |  |" in printed


@pytest.mark.long
@pytest.mark.skipif(not can_compute_bfloat16(), reason="this CPU has no AVX512, without which MXNet has no bfloat16")
def test_the_original_recipe_learns_in_bfloat16_as_in_float32(tmp_path: Path):
    draw(tmp_path / "things", 12)
    learnt = {}
    for precision in ("float32", "bfloat16"):
        run = ["--voc", tmp_path / "things", "--limit", 5, "--epochs", 2, "--seeds", 0, "--batch", 4]
        given = ["--sides", "original-0.001", "gluoncv", "--precision", precision, "--results", tmp_path / precision]
        done = program(*run, *given)
        assert done.returncode == 0, done.stderr
        learnt[precision] = {
            side: json.loads((tmp_path / precision / f"things-5-{side}-0.json").read_text())
            for side in ("original-0.001", "gluoncv")
        }
        assert learnt[precision]["original-0.001"]["precision"] == precision
        assert learnt[precision]["gluoncv"]["precision"] == "float32"
    assert "| things-5 | original recipe, learning rate 0.001 | 0 in bfloat16 |" in done.stdout
    scores = {
        precision: [epoch["coco"] for epoch in sides["original-0.001"]["epochs"]] for precision, sides in learnt.items()
    }
    assert scores["bfloat16"] != scores["float32"]
    assert scores["bfloat16"] == pytest.approx(scores["float32"], abs=0.05)


@pytest.mark.long
def test_the_recommended_training_is_that_of_the_defaults_until_the_rate_is_lower(tmp_path: Path):
    """Of two epochs the second: trained together, and alone, it comes out the same."""
    draw(tmp_path / "things", 12)
    both = ("ours", "ours-recommended")
    compare(tmp_path / "things", tmp_path / "together", *both)
    compare(tmp_path / "things", tmp_path / "alone", both[1])

    def figures(folder: str, side: str) -> list[tuple[float, float]]:
        epochs = json.loads((tmp_path / folder / f"things-5-{side}-0.json").read_text())["epochs"]
        return [(epoch["voc07"], epoch["coco"]) for epoch in epochs]

    defaults, recommended = (figures("together", side) for side in both)
    assert len(defaults) == len(recommended) == 2
    assert defaults[0] == recommended[0]
    assert figures("alone", both[1]) == recommended


def coco_file(path: Path, images: list[str], *, mark: str = "") -> None:
    content = {
        "images": [{"id": n, "file_name": name, "width": 320, "height": 240} for n, name in enumerate(images)],
        "annotations": [
            {"id": n, "image_id": str(n), "category_id": 1, "bbox": [10 + n, 10, 50, 50], "area": 2500, "iscrowd": 0}
            for n in range(len(images))
        ],
        "categories": [{"id": 1, "name": "thing"}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(mark + json.dumps(content), encoding="utf-8")


def parts_of(folder: Path) -> list[list[str]]:
    """Return what convert is told to train and to evaluate on, from a set's own folder."""
    return [(folder / f"{part}.txt").read_text().splitlines() for part in ("train", "validation")]


def sets_of(scratch: Path, **options: object) -> list:
    named = {"voc": [], "coco": [], "data": None, "limit": None, **options}
    scratch.mkdir()
    return list(data_sets(argparse.Namespace(**named), scratch))


def test_files_of_the_same_name_are_kept_apart(tmp_path: Path):
    """As CVAT and Roboflow name all their COCO files; one of them begins with a byte-order mark."""
    draw(tmp_path / "things", 8)
    draw(tmp_path / "others", 8, seed=1)
    images, others = (tmp_path / name / "JPEGImages" for name in ("things", "others"))
    files = [tmp_path / part / "instances_default.json" for part in ("train", "val")]
    coco_file(files[0], [f"{n}.jpg" for n in range(5)], mark="\ufeff")
    coco_file(files[1], [f"{n}.jpg" for n in range(5, 8)])
    given = [[f"first={images}", *map(str, files)], [f"second={others}", *map(str, files)]]
    sets = sets_of(tmp_path / "scratch", coco=given, limit=3)
    assert [one.name for one in sets] == ["first-3", "second-3"]
    channels = [one.channels() for one in sets]
    contents = {path.read_bytes() for train, validation, _ in channels for path in (train, validation)}
    assert len(contents) == 4
    assert [classes for _, _, classes in channels] == [1, 1]


def test_lists_of_a_devkit_and_names_with_blanks(tmp_path: Path):
    folder = tmp_path / "sets" / "VOC2007"
    draw(folder, 6)
    for part, end in (("JPEGImages", "jpg"), ("Annotations", "xml")):
        for number in range(6):
            (folder / part / f"{number}.{end}").rename(folder / part / f"photo {number}.{end}")
    lists = folder / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "trainval.txt").write_text("".join(f"photo {n}\n" for n in range(6)))
    (lists / "val.txt").write_text("photo 4\nphoto 5\n")
    (tmp_path / "sets" / "empty").mkdir()
    (data,) = sets_of(tmp_path / "scratch", data=tmp_path / "sets")
    # What is evaluated on is not trained on.
    assert parts_of(tmp_path / "scratch" / "VOC2007") == [[f"photo {n}" for n in range(4)], ["photo 4", "photo 5"]]
    train, validation, _ = data.channels()
    assert train.stat().st_size > validation.stat().st_size > 1000
    (lists / "train.txt").write_text("photo 3\nphoto 4\n")
    (data,) = sets_of(tmp_path / "again", data=tmp_path / "sets")
    with pytest.raises(
        SystemExit, match=r"VOC2007: of its images 1 are both for training and .*: photo 4\.jpg, by the"
    ):
        data.channels()


def test_an_image_under_two_names_is_in_both_parts(tmp_path: Path):
    """However a list spells it, and whatever its copy is called: the figures would be too high."""
    folder = tmp_path / "things"
    draw(folder, 8)
    (folder / "train.txt").write_text("0\n1\n2\n6\n")
    (folder / "val.txt").write_text("6.jpg\n7.jpg\n")
    (spelt,) = sets_of(tmp_path / "a", voc=[str(folder)])
    with pytest.raises(
        SystemExit, match=r"things: of its images 1 are both for training and for evaluation: 6\.jpg, by"
    ):
        spelt.channels()
    images = folder / "JPEGImages"
    # With the same box in both: another one is a fault of the conversion.
    coco_file(tmp_path / "train.json", ["4.jpg", "0.jpg"])
    coco_file(tmp_path / "val.json", ["./4.jpg", "5.jpg"])
    given = [[f"spelt={images}", *(str(tmp_path / f"{part}.json") for part in ("train", "val"))]]
    (in_coco_form,) = sets_of(tmp_path / "b", coco=given)
    with pytest.raises(
        SystemExit, match=r"spelt: of its images 1 are both for training and for evaluation: 4\.jpg, by"
    ):
        in_coco_form.channels()
    shutil.copy(images / "0.jpg", images / "5.jpg")
    (folder / "val.txt").write_text("5\n7\n")
    (copied,) = sets_of(tmp_path / "c", voc=[str(folder)])
    with pytest.raises(SystemExit, match=r"of its images 1 are both .*: 0\.jpg, 5\.jpg, by the bytes of the files"):
        copied.channels()


@pytest.mark.parametrize("name", ["train", "trainval", "val"])
def test_of_one_list_alone_one_in_five_is_held_out(tmp_path: Path, capsys: pytest.CaptureFixture, name: str):
    """Images outside the list are not trained on."""
    folder = tmp_path / "things"
    draw(folder, 12)
    (folder / f"{name}.txt").write_text("".join(f"{n}\n" for n in range(10)))
    sets_of(tmp_path / "scratch", voc=[str(folder)])
    train, validation = parts_of(tmp_path / "scratch" / "things")
    assert (len(train), len(validation)) == (8, 2)
    assert {*train, *validation} == {str(n) for n in range(10)}
    said = f"things: held out for evaluation: 2 of the 10 images of {folder / name}.txt, the only list\n"
    assert capsys.readouterr().out == said
    (folder / f"{name}.txt").write_text("3\n")
    with pytest.raises(SystemExit, match="the only list, has 1 image: two are the least that can be split"):
        sets_of(tmp_path / "again", voc=[str(folder)])


def test_without_lists_it_is_said_what_is_held_out(tmp_path: Path, capsys: pytest.CaptureFixture):
    draw(tmp_path / "things", 11)
    sets_of(tmp_path / "scratch", voc=[str(tmp_path / "things")])
    train, validation = parts_of(tmp_path / "scratch" / "things")
    assert (len(train), len(validation)) == (9, 2)
    said = (
        f"things: held out for evaluation: 2 of the 11 images of {tmp_path / 'things' / 'Annotations'}, without lists"
    )
    assert capsys.readouterr().out.startswith(said)


@pytest.mark.parametrize("name", ["valid", "validation"])
def test_other_names_of_the_list_for_evaluation(tmp_path: Path, name: str):
    folder = tmp_path / "things"
    draw(folder, 6)
    (folder / "train.txt").write_text("0\n1\n")
    (folder / f"{name}.txt").write_text("4\n5\n")
    sets_of(tmp_path / "scratch", voc=[str(folder)])
    assert parts_of(tmp_path / "scratch" / "things") == [["0", "1"], ["4", "5"]]


def test_encodings_of_lists(tmp_path: Path):
    """As Notepad writes them; another encoding is named with its file."""
    folder = tmp_path / "things"
    draw(folder, 6)
    (folder / "train.txt").write_text("0\r\n1\r\n", encoding="utf-16")
    (folder / "val.txt").write_text("4\n5\n", encoding="utf-8-sig")
    (data,) = sets_of(tmp_path / "scratch", voc=[str(folder)])
    assert parts_of(tmp_path / "scratch" / "things") == [["0", "1"], ["4", "5"]]
    data.channels()
    (folder / "val.txt").write_bytes("gr\xfcn\n".encode("latin-1"))
    with pytest.raises(SystemExit, match=r"things/val\.txt cannot be read: it is not UTF-8 text; save it as UTF-8"):
        sets_of(tmp_path / "again", voc=[str(folder)])


@pytest.mark.parametrize("annotations", [None, [1], {"id": 1}], ids=["null", "number", "object"])
def test_annotations_that_are_no_objects(tmp_path: Path, annotations: object):
    draw(tmp_path / "things", 4)
    file = tmp_path / "train.json"
    coco_file(file, ["0.jpg", "1.jpg"])
    file.write_text(json.dumps({**json.loads(file.read_text()), "annotations": annotations}))
    with pytest.raises(
        SystemExit, match=r"train\.json is not in COCO's form: a JSON object with the lists `images` and"
    ):
        sets_of(tmp_path / "scratch", coco=[[str(tmp_path / "things" / "JPEGImages"), str(file)]], limit=2)


def test_two_sets_of_one_name_are_refused(tmp_path: Path):
    for place in ("a", "b"):
        draw(tmp_path / place / "train", 3)
    folders = [str(tmp_path / place / "train") for place in ("a", "b")]
    with pytest.raises(SystemExit, match="two sets have the name train"):
        sets_of(tmp_path / "scratch", voc=folders)
    named = sets_of(tmp_path / "again", voc=[folders[0], f"other={folders[1]}"])
    assert [one.name for one in named] == ["train", "other"]


def test_a_result_of_other_images_or_settings_is_no_result(tmp_path: Path):
    draw(tmp_path / "things", 5)
    (data,) = sets_of(tmp_path / "scratch", voc=[str(tmp_path / "things")])
    train, validation, _ = data.channels()
    epoch = {"voc07": 0.5, "coco": 0.25, "core_seconds": 10.0}
    whole = {
        **{"set": "things", "side": "gluoncv", "seed": 0, "epochs": [epoch], "of_epochs": 1, "classes": 1, "batch": 4},
        **{"freeze": "^conv1_", "precision": "float32"},
        "images": {"train": sha256(train), "validation": sha256(validation)},
    }
    results = tmp_path / "results"
    results.mkdir()
    result = results / "things-gluoncv-0.json"
    options = ["--sides", "gluoncv", "--seeds", "0", "--epochs", "1", "--freeze", "^conv1_", "--results", results]
    run = ["--voc", tmp_path / "things", *options, "--batch"]
    result.write_text(json.dumps(whole))
    same = program(*run, 4)
    assert (same.returncode, same.stderr) == (0, "")
    assert "things-gluoncv-0.json is there, trained in float32" in same.stdout
    # The table names each run's precision, so that one of another precision need not be made again.
    result.write_text(json.dumps({**whole, "precision": "bfloat16"}))
    other_precision = program(*run, 4)
    assert (other_precision.returncode, other_precision.stderr) == (0, "")
    assert "things-gluoncv-0.json is there, trained in bfloat16" in other_precision.stdout
    result.write_text(json.dumps(whole))
    other_batch = program(*run, 8)
    assert other_batch.returncode == 1
    assert (
        "the results of things are of different trainings, which no table may have side by side: batch is 4 in "
        "things-gluoncv-0.json; batch is 8 here. Name another folder with --results" in other_batch.stderr
    )
    # That of a side and a seed that are not asked for is in the same table.
    result.rename(results / "things-original-0.001-1.json")
    (results / "things-original-0.001-1.json").write_text(json.dumps({**whole, "side": "original-0.001", "seed": 1}))
    of_another_side = program(*run, 8)
    assert of_another_side.returncode == 1
    assert "batch is 4 in things-original-0.001-1.json; batch is 8 here" in of_another_side.stderr
    shutil.rmtree(tmp_path / "things")
    draw(tmp_path / "things", 5, seed=1)
    other_images = program(*run, 4)
    assert other_images.returncode == 1
    assert "images is train " in other_images.stderr
    assert " in things-original-0.001-1.json; images is train " in other_images.stderr
    (results / "things-gluoncv-0.json").write_text("{")
    broken = program(*run, 4)
    assert broken.returncode == 1
    assert "things-gluoncv-0.json is no result of this program: remove it, or name another folder" in broken.stderr


RESULT = {
    **{"set": "things", "side": "ours", "seed": 0, "of_epochs": 1, "classes": 1, "batch": 8, "freeze": "^conv1_"},
    **{"precision": "float32", "images": {"train": "a" * 64, "validation": "b" * 64}},
    "epochs": [{"voc07": 0.5, "coco": 0.25, "core_seconds": 10.0}],
}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"batch": 4}, "batch is 8 in first.json; batch is 4 in second.json. Name another folder with --results"),
        ({"freeze": ""}, "freeze is ^conv1_ in first.json; freeze is  in second.json"),
        ({"classes": 2}, "classes is 1 in first.json; classes is 2 in second.json"),
        (
            {"images": {"train": "a" * 64, "validation": "c" * 64}},
            "images is train aaaaaaaaaaaa, validation bbbbbbbbbbbb in first.json; images is train aaaaaaaaaaaa, "
            "validation cccccccccccc in second.json",
        ),
        ({"seed": 0}, "first.json and second.json are of one run, which would count twice: remove one"),
    ],
)
def test_no_table_of_different_trainings(tmp_path: Path, changed: dict, said: str):
    (tmp_path / "first.json").write_text(json.dumps(RESULT))
    (tmp_path / "second.json").write_text(json.dumps({**RESULT, "seed": 1, **changed}))
    done = program("--results", tmp_path, "--table-only")
    assert (done.returncode, done.stdout) == (
        1,
        "no data set was named or found: only the table of what is there is written\n",
    )
    assert said in done.stderr


def test_the_recommended_training_of_other_epochs_is_another_one(tmp_path: Path):
    """Its rate becomes lower at another one of them; that of the defaults is the same, and its end is named."""
    short = {**RESULT, "seed": 1}
    long = {**RESULT, "of_epochs": 2, "epochs": [RESULT["epochs"][0], {**RESULT["epochs"][0], "coco": 0.75}]}
    for name, content in {"long": long, "short": short}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    done = program("--results", tmp_path, "--table-only", "--sides", "ours")
    assert done.returncode == 0, done.stderr
    # At the end there are two epochs: the mean is that of the whole runs of two.
    figures = "0.500 (0.500 to 0.500) | 0.500 |  |  |  | 0.750 | 10; 10 |"
    assert f"| things | this program, its defaults | 0; 1 (1 epoch) | {figures}" in done.stdout
    for name, content in {"long": long, "short": short}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({**content, "side": "ours-recommended"}))
    done = program("--results", tmp_path, "--table-only", "--sides", "ours")
    assert done.returncode == 1
    assert "of_epochs is 2 in long.json; of_epochs is 1 in short.json" in done.stderr


def test_the_second_table_has_gluoncv_too(tmp_path: Path):
    epoch = {**RESULT["epochs"][0], "all_classes": {"voc07": 0.625, "coco": 0.375}}
    (tmp_path / "result.json").write_text(json.dumps({**RESULT, "side": "gluoncv", "epochs": [epoch]}))
    done = program("--results", tmp_path, "--table-only")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.split("by one rule for all sides: of each class")
    assert "| things | GluonCV, `ssd_300_vgg16_atrous` | 0 | 0.500 |" in first
    assert "| things | GluonCV, `ssd_300_vgg16_atrous` | 0.625 |" in second


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--limit", "-2", "'-2' is no whole number of 1 or more"),
        ("--limit", "0", "'0' is no whole number of 1 or more"),
        ("--epochs", "0", "'0' is no whole number of 1 or more"),
        ("--batch", "0", "'0' is no whole number of 1 or more"),
        ("--batch", "x", "'x' is no whole number of 1 or more"),
        ("--seeds", "-1", "'-1' is no whole number of 0 or more"),
        ("--freeze", "(", "'(' is no regular expression: missing ), unterminated subpattern at position 0"),
    ],
)
def test_options_that_are_no_option(tmp_path: Path, option: str, value: str, said: str):
    done = program("--results", tmp_path, "--table-only", f"{option}={value}")
    assert done.returncode == 2
    assert done.stderr.endswith(f"error: argument {option}: {said}\n")


def test_places_for_results_and_page_that_are_none(tmp_path: Path):
    (tmp_path / "results").write_text("")
    done = program("--results", tmp_path / "results", "--table-only")
    assert done.returncode == 1
    assert done.stderr == f"--results {tmp_path / 'results'} can be no folder for results: File exists\n"
    done = program("--results", tmp_path, "--table-only", "--page", tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"--page {tmp_path} can be no page: Is a directory\n"


def test_a_run_that_was_broken_off_is_named(tmp_path: Path):
    epoch = {"voc07": 0.5, "coco": 0.25, "core_seconds": 10.0}
    whole = {"set": "things", "side": "ours", "seed": 0, "epochs": [epoch, {**epoch, "voc07": 0.75}], "of_epochs": 2}
    for name, content in {
        "whole": whole,
        "broken off": {**whole, "seed": 1, "epochs": [{**epoch, "voc07": 0.25, "coco": 0.1, "core_seconds": 20.0}]},
        "diverged": {**whole, "side": "gluoncv", "epochs": [], "failure": "training diverged"},
        "other format": {**whole, "side": "ours-recommended", "seed": 3, "precision": "bfloat16"},
        "foreign": {"figures": 1},
        "unknown side": {**whole, "side": "others"},
    }.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    (tmp_path / "broken.json").write_text(json.dumps(whole)[:-9])
    page = tmp_path / "new folder" / "page.md"
    sides = ["ours", "ours-recommended", "gluoncv"]
    done = program("--results", tmp_path, "--table-only", "--page", page, "--sides", *sides)
    assert done.returncode == 0, done.stderr
    figures = "0.375 (0.250 to 0.500) | 0.750 |  |  |  | 0.250 | 10; 20 |"
    assert f"| things | this program, its defaults | 0; 1 (of 2 epochs 1) | {figures}" in done.stdout
    assert "| 0 diverged after 0 epochs |  |  |  |  |  |  | none |" in done.stdout
    assert "| this program, as its documentation recommends | 3 in bfloat16 | 0.500 | 0.750 |" in done.stdout
    assert "Not run to the end yet (set, side, seed): things ours 1; things ours-recommended 0; " in done.stdout
    for name in ("foreign", "unknown side", "broken"):
        assert f"{name}.json is left out: it is no result of this program" in done.stdout
    text = page.read_text()
    assert text.count(MARKS[0]) == 1
    assert "| 0; 1 (of 2 epochs 1) |" in text
    page.write_text("no marks")
    assert "lacks the marks" in program("--results", tmp_path, "--table-only", "--page", page).stderr


def test_without_weights_nothing_is_a_result(tmp_path: Path):
    draw(tmp_path / "things", 5)
    (tmp_path / "weights").mkdir()
    run = ["--voc", tmp_path / "things", "--results", tmp_path / "results", "--sides", "ours"]
    done = program(*run, SAGEMAKER_SSD_WEIGHTS=str(tmp_path / "weights"))
    assert done.returncode == 1
    assert "names the source 'keras' for vgg-16, but" in done.stderr
    assert list((tmp_path / "results").iterdir()) == []


def test_two_comparisons_do_not_write_into_one_folder(tmp_path: Path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        done = program("--results", tmp_path, "--table-only")
    finally:
        os.close(descriptor)
    assert done.returncode == 1
    assert f"writes into {tmp_path}: wait for it or end it, or name another folder with --results" in done.stderr
    assert program("--results", tmp_path, "--table-only").returncode == 0


def test_stopped_in_a_run_it_leaves_nothing_behind(tmp_path: Path):
    draw(tmp_path / "things", 8)
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    command = [sys.executable, PROGRAM, "--voc", tmp_path / "things", "--results", tmp_path / "results"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(scratch)}
    with subprocess.Popen([*command, "--sides", "original-0.001"], env=environment, stdout=subprocess.DEVNULL) as run:
        try:
            # Until the training has a folder of its own in the one of the comparison.
            deadline = time.monotonic() + 60
            while not list(scratch.glob("*/tmp*")) and time.monotonic() < deadline and run.poll() is None:
                time.sleep(0.1)
            assert list(scratch.glob("*/tmp*"))
            run.send_signal(signal.SIGTERM)
            assert run.wait(30) == 128 + signal.SIGTERM
        finally:
            run.kill()
    assert list(scratch.iterdir()) == []


def test_parameters_that_are_not_numbers_are_a_divergence():
    check_finite(0, {"a": mx.nd.array([1, -2])})
    with pytest.raises(FloatingPointError, match="training diverged: parameters are not finite numbers after epoch 3"):
        check_finite(3, {"a": mx.nd.array([1])}, {"b": mx.nd.array([0, float("nan")])})
