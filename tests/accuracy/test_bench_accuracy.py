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


@pytest.mark.long
def test_every_side_on_a_folder_in_voc_form(tmp_path: Path):
    draw(tmp_path / "things", 12)
    results = tmp_path / "results"
    compare(tmp_path / "things", results, *SIDES[1:])
    files = {path.name: json.loads(path.read_text()) for path in results.glob("*.json")}
    assert set(files) == {f"things-5-{side}-0.json" for side in SIDES[1:]}
    # An evaluation leaves GluonCV's network in its form for detecting, from which the second epoch has to take it.
    assert {len(content["epochs"]) for content in files.values()} == {2}
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
    made = {
        part: (tmp_path / f"scratch/VOC2007/{part}.txt").read_text().splitlines() for part in ("train", "validation")
    }
    assert made == {"train": [f"photo {n}" for n in range(4)], "validation": ["photo 4", "photo 5"]}
    train, validation, _ = data.channels()
    assert train.stat().st_size > validation.stat().st_size > 1000
    (lists / "train.txt").write_text("photo 3\nphoto 4\n")
    with pytest.raises(SystemExit, match="VOC2007: of its images 1 are both for training and for evaluation: photo 4"):
        sets_of(tmp_path / "again", data=tmp_path / "sets")


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
    assert "things-gluoncv-0.json is there" in same.stdout
    other_batch = program(*run, 8)
    assert other_batch.returncode == 1
    assert (
        "things-gluoncv-0.json is of another training: batch is 4 there and 8 here. Name another" in other_batch.stderr
    )
    shutil.rmtree(tmp_path / "things")
    draw(tmp_path / "things", 5, seed=1)
    other_images = program(*run, 4)
    assert other_images.returncode == 1
    assert "is of another training: images is" in other_images.stderr


def test_a_run_that_was_broken_off_is_named(tmp_path: Path):
    epoch = {"voc07": 0.5, "coco": 0.25, "core_seconds": 10.0}
    whole = {"set": "things", "side": "ours", "seed": 0, "epochs": [epoch, {**epoch, "voc07": 0.75}], "of_epochs": 2}
    for name, content in {
        "whole": whole,
        "broken off": {**whole, "seed": 1, "epochs": [{**epoch, "voc07": 0.25, "coco": 0.1}]},
        "diverged": {**whole, "side": "gluoncv", "epochs": [], "failure": "training diverged"},
        "other format": {**whole, "side": "ours-recommended", "seed": 3, "precision": "bfloat16"},
        "foreign": {"figures": 1},
    }.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    page = tmp_path / "new folder" / "page.md"
    sides = ["ours", "ours-recommended", "gluoncv"]
    done = program("--results", tmp_path, "--table-only", "--page", page, "--sides", *sides)
    assert done.returncode == 0, done.stderr
    figures = "0.375 (0.250 to 0.500) | 0.750 |  |  |  | 0.250 | 10 |"
    assert f"| things | this program, its defaults | 0; 1 (of 2 epochs 1) | {figures}" in done.stdout
    assert "| 0 diverged after 0 epochs |" in done.stdout
    assert "| this program, as its documentation recommends | 3 in bfloat16 | 0.500 | 0.750 |" in done.stdout
    assert "Not run to the end yet (set, side, seed): things ours 1; things ours-recommended 0; " in done.stdout
    assert "foreign.json is left out: it is no result of this program" in done.stdout
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
