"""Event files as TensorBoard's own reader reads them: curves, resumptions, pictures, a full disk."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drawn_channels import encoded, picture, write_rec
from event_reader import assert_curves, curves, pictures
from sagemaker_ssd.channels.check import check_recordio
from sagemaker_ssd.channels.findings import CheckOptions
from sagemaker_ssd.worker.tensorboard import PictureSample, TensorBoard, has_pictures


def epoch(number: int, rate: float | None = 0.1) -> dict:
    """An epoch of metrics.json, whose figures are all different."""
    figures = [number + tenth / 10 for tenth in range(10)]
    return {
        "epoch": number,
        "learning_rate": rate,
        "train": {
            "cross_entropy": figures[0],
            "smooth_l1": figures[1],
            "batches": 3,
            "images": 9,
            "seconds": figures[2],
            "seconds_waiting_for_data": figures[3],
            "images_per_second": figures[4],
        },
        "validation": {
            "mAP": figures[5],
            "mAP_all_points": figures[6],
            "mAP_coco": figures[7],
            "classes": [{"class_id": 0, "average_precision": figures[8]}, {"class_id": 1, "average_precision": None}],
        },
    }


def board(base: Path, names: tuple[str, ...] = ("a/b c", "é")) -> TensorBoard:
    return TensorBoard(base / "output" / "tensorboard", list(names), 0.5)


def test_every_figure_is_there_once_at_its_epoch(tmp_path: Path):
    written, epochs = board(tmp_path), []
    for number in range(3):
        epochs.append(epoch(number))
        written.write(epochs, None)
    # The second class is without objects.
    assert_curves(tmp_path, {"epochs": epochs}, ["a/b c", "é"])


def test_curves_go_on_after_a_resumption_with_the_earlier_file_and_without_it(tmp_path: Path):
    epochs = [epoch(number) for number in range(3)]
    killed = board(tmp_path)
    killed.write(epochs[:1], None)
    # This epoch was trained, but its checkpoint was not written before the kill: it is done again.
    killed.write([epochs[0], epoch(9)], None)
    for of in ("with it", "without it"):
        for path in (tmp_path / "output" / "tensorboard").glob("*") if of == "without it" else ():
            path.unlink()
        board(tmp_path).write(epochs[:2], None)
        assert curves(tmp_path / "output" / "tensorboard")["validation/mAP"] == [(0, 0.5), (1, 1.5)], of


def test_the_curves_of_an_earlier_job_are_gone(tmp_path: Path):
    board(tmp_path, ("of another job", "x")).write([epoch(number) for number in range(5)], None)
    board(tmp_path).write([epoch(7)], None)
    found = curves(tmp_path / "output" / "tensorboard")
    assert found["validation/mAP"] == [(0, 7.5)]
    assert found["average precision/of another job"] == []


def test_an_optimizer_without_a_rate_and_classes_of_one_name(tmp_path: Path):
    one = epoch(0, rate=None)
    one["validation"]["classes"][1]["average_precision"] = 0.25
    board(tmp_path, ("dog", "dog")).write([one], None)
    found = curves(tmp_path / "output" / "tensorboard")
    assert "train/learning_rate" not in found
    assert found["average precision/dog (1)"] == [(0, 0.25)]


def test_a_name_with_half_a_character_costs_no_curve(tmp_path: Path):
    one = epoch(0)
    board(tmp_path, ("cat \ud83d", "dog")).write([one], None)
    found = curves(tmp_path / "output" / "tensorboard")
    assert found["average precision/cat \ufffd"] == [(0, pytest.approx(0.8))]


@pytest.fixture
def sample(tmp_path: Path) -> PictureSample:
    """Three images of one object each: one found, one taken for the other class, one missed."""
    image, size = encoded(picture(20, 20, 20, (200, 100))), [2, 5]
    write_rec(tmp_path / "v.rec", [([*size, 0, 0.25, 0.25, 0.5, 0.75], image)] * 3)
    file = check_recordio(
        tmp_path / "v.rec",
        CheckOptions(name="v", num_classes=2, scratch=tmp_path / "scratch", max_bad_images=0, label_width=350),
    )
    made = PictureSample(file)
    made.add(0, np.array([[0, 0.9, 0.25, 0.25, 0.5, 0.75]], np.float32))
    made.add(1, np.array([[1, 0.95, 0.25, 0.25, 0.5, 0.75]], np.float32))
    made.add(2, np.zeros((0, 6), np.float32))
    return made


def test_pictures_show_the_best_and_the_worst(tmp_path: Path, sample: PictureSample):
    written = board(tmp_path)
    written.write([epoch(0)], sample)
    written.write([epoch(0), epoch(1)], None)
    written.write([epoch(0), epoch(1), epoch(2)], sample)
    found = pictures(tmp_path / "output" / "tensorboard" / "pictures")
    tags = {"best/1", "worst, wrong/1", "worst, missed/1", "worst, missed/2"}
    assert {tag: [step for step, _ in of] for tag, of in found.items()} == {tag: [0, 2] for tag in tags}
    shown = {tag: np.asarray(Image.open(io.BytesIO(of[0][1]))).astype(int) for tag, of in found.items()}
    # The image's 200 x 100 pixels are 560 x 280, its caption is below; the object's left edge is at 140, 70 to 210.
    assert shown["best/1"].shape == (280 + 2 * 8 + 2 * 19, 560, 3)
    for tag, colour in (
        ("best/1", (86, 180, 233)),
        ("worst, wrong/1", (255, 158, 61)),
        ("worst, missed/2", (240, 228, 66)),
    ):
        edge = shown[tag][100:180, 138:146]
        assert (np.abs(edge - colour).max(axis=2) < 60).any(axis=1).mean() > 0.9, tag
    # Neither black nor white everywhere: there is a caption.
    assert 0.01 < (shown["best/1"][282:] < 100).all(axis=2).mean() < 0.5


def test_a_caption_says_down_to_which_score_an_object_was_looked_for(sample: PictureSample):
    """Of an image the 100 best detections are looked at; a further one may have found the object."""
    rows = np.full((101, 6), 1, np.float32)
    rows[:, 1], rows[:, 2:4] = np.linspace(0.6, 0.4, 101), 0.9
    drawn = []
    for count in (100, 101):
        sample.add(2, rows[:count])
        drawn.append(np.asarray(dict(sample.pictures(["a", "b"], 0.5))["worst, missed/1"]).astype(int))
    whole, cut = drawn
    np.testing.assert_array_equal(whole[:280], cut[:280])
    # "... not found at any score." and "... not found at any score above 0.400."
    assert (cut[280:] < 100).sum() > 1.05 * (whole[280:] < 100).sum()


def test_pictures_of_before_a_resumption_stay(tmp_path: Path, sample: PictureSample):
    before = board(tmp_path)
    before.write([epoch(0)], sample)
    before.write([epoch(0), epoch(1)], sample)
    # The second epoch is done again.
    board(tmp_path).write([epoch(0), epoch(1)], sample)
    found = pictures(tmp_path / "output" / "tensorboard" / "pictures")
    assert [step for step, _ in found["best/1"]] == [0, 1]


def test_a_picture_that_cannot_be_drawn_costs_no_curve(
    tmp_path: Path, sample: PictureSample, caplog: pytest.LogCaptureFixture
):
    sample.file.path.unlink()
    board(tmp_path).write([epoch(0)], sample)
    assert "A picture for TensorBoard could not be drawn" in caplog.text
    assert curves(tmp_path / "output" / "tensorboard")["validation/mAP"] == [(0, 0.5)]


def test_a_job_has_about_ten_sets_of_pictures():
    assert [number for number in range(5) if has_pictures(number, 5)] == [0, 1, 2, 3, 4]
    assert [number for number in range(30) if has_pictures(number, 30)] == [*range(0, 30, 3), 29]
    assert [number for number in range(1) if has_pictures(number, 1)] == [0]


# A limit on the size of files stands for the full disk, which it fails like, at the same call.
FULL_DISK = """
import json, logging, resource, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from worker.test_tensorboard import board, epoch
logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stdout)
written, epochs = board(Path(sys.argv[1])), []
for number in range(6):
    limit = 700 if 1 <= number <= 4 else resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    epochs.append(epoch(number))
    written.write(epochs, None)
"""


def test_a_full_disk_is_one_warning_and_the_curves_are_whole_again_when_there_is_room(tmp_path: Path):
    tests = str(Path(__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path), tests], capture_output=True, text=True, timeout=60, check=True
    )
    (line,) = done.stdout.splitlines()
    folder = tmp_path / "output" / "tensorboard"
    assert line.startswith(f"WARNING The files for TensorBoard in {folder} could not be written: [Errno 27]")
    assert done.stderr == ""
    assert curves(folder)["validation/mAP"] == [(number, number + 0.5) for number in range(6)]
