"""The comparison of accuracy on a folder in VOC form that has one class and no lists."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from sagemaker_ssd.ssd.number_formats import can_compute_bfloat16

PROGRAM = Path(__file__).parent / "bench_accuracy.py"
SIDES = ("ours", "original-0.001", "gluoncv")


def draw(folder: Path, images: int) -> None:
    random = np.random.default_rng(0)
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


def compare(folder: Path, results: Path, *sides: str, epochs: int = 1) -> str:
    command = [sys.executable, PROGRAM, "--voc", folder, "--limit", "5", "--epochs", str(epochs), "--seeds", "0"]
    done = subprocess.run(
        [*command, "--batch", "4", "--results", results, "--sides", *sides],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.long
def test_every_side_on_a_folder_in_voc_form(tmp_path: Path):
    draw(tmp_path / "things", 12)
    results = tmp_path / "results"
    compare(tmp_path / "things", results, *SIDES[1:])
    files = {path.name: json.loads(path.read_text()) for path in results.glob("*.json")}
    assert set(files) == {f"things-5-{side}-0.json" for side in SIDES[1:]}
    # What is there is not run again: a changed result stays.
    changed = results / "things-5-gluoncv-0.json"
    changed.write_text(
        json.dumps({**files[changed.name], "epochs": [{**files[changed.name]["epochs"][0], "voc07": 0.5}]})
    )
    printed = compare(tmp_path / "things", results, *SIDES)
    assert "things-5-gluoncv-0.json is there" in printed
    assert "| things-5 | GluonCV, `ssd_300_vgg16_atrous` | 0 | 0.500 |" in printed
    ours = json.loads((results / "things-5-ours-0.json").read_text())
    assert (ours["classes"], ours["batch"], len(ours["epochs"])) == (1, 4, 1)
    assert ("bfloat16" in ours["epochs"][-1]) == can_compute_bfloat16()
    assert (results / "accuracy-things-5.png").stat().st_size > 10_000
    in_bfloat16 = {"voc07": 0.25, "coco": 0.125}
    ours["epochs"][-1] |= {"voc07": 0.5, "coco": 0.375, "bfloat16": in_bfloat16}
    (results / "things-5-ours-0.json").write_text(json.dumps(ours))
    printed = compare(tmp_path / "things", results, *SIDES, "ours-recommended", "--table-only")
    assert "Not run yet (set, side, seed): things-5 ours-recommended 0." in printed
    assert "| things-5 | this program, its defaults | 0 | 0.5000 | 0.2500 | 0.3750 | 0.1250 |" in printed


@pytest.mark.long
def test_the_recommended_training_is_that_of_the_defaults_until_the_rate_is_lower(tmp_path: Path):
    """Of two epochs the second: trained together, and alone, it comes out the same."""
    draw(tmp_path / "things", 12)
    both = ("ours", "ours-recommended")
    compare(tmp_path / "things", tmp_path / "together", *both, epochs=2)
    compare(tmp_path / "things", tmp_path / "alone", both[1], epochs=2)

    def figures(folder: str, side: str) -> list[tuple[float, float]]:
        epochs = json.loads((tmp_path / folder / f"things-5-{side}-0.json").read_text())["epochs"]
        return [(epoch["voc07"], epoch["coco"]) for epoch in epochs]

    defaults, recommended = (figures("together", side) for side in both)
    assert len(defaults) == len(recommended) == 2
    assert defaults[0] == recommended[0]
    assert figures("alone", both[1]) == recommended
