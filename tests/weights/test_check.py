"""`weights check`: a file run beside its conversion."""

import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from sagemaker_ssd.errors import UserError
from sagemaker_ssd.weights.check import check_conversion, compare, drawn_picture
from sagemaker_ssd.weights.sources import find_source
from zoo_files import resnet50, saved, vgg16

NAME_ANOTHER = (
    "Name a Python that has torchvision: --python .venv-torchvision/bin/python, after `make "
    ".venv-torchvision/.complete`"
)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), drawn_picture(300)[:250])
    return path


def test_a_classifier_and_its_best_classes(tmp_path: Path, picture: Path, capsys: pytest.CaptureFixture[str]):
    assert compare(saved(resnet50()[0], tmp_path), "resnet-50", picture, sys.executable, tmp_path) == 0
    layout, *maps, theirs, ours, end = capsys.readouterr().out.splitlines()
    assert layout.startswith(
        "anything: ONNX resnet50_v2; bn_data's mean and variance fitted to pixels of 0-255, on the"
    )
    assert [line.partition(":")[0] for line in maps] == [f"_plus{number}" for number in range(16)]
    assert maps[15].endswith("shape (1, 2048, 7, 7)")
    assert theirs.startswith("photo.png by the file: class ")
    # The same five classes with the same shares.
    assert theirs.partition(": ")[2] == ours.partition(": ")[2]
    assert theirs.count("class ") == 5
    assert end == "The conversion computes what the file computes."


def test_vgg16_with_our_mean_around_the_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert compare(saved(vgg16()[0], tmp_path), "vgg-16", None, sys.executable, tmp_path) == 0
    maps = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines() if "largest difference" in line]
    counts = {1: 2, 2: 2, 3: 3, 4: 3, 5: 3}
    assert maps == [f"relu{group}_{number}" for group, count in counts.items() for number in range(1, count + 1)]


def test_another_result_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """As if the pixels had been fitted to another mean."""
    monkeypatch.setattr("sagemaker_ssd.pretrained.onnx_networks.IMAGENET_MEAN", (120.0, 115.0, 110.0))
    assert compare(saved(vgg16()[0], tmp_path), "vgg-16", None, sys.executable, tmp_path) == 1
    assert capsys.readouterr().out.endswith("The conversion computes SOMETHING ELSE.\n")


WITHOUT_ONNXRUNTIME = """
import sys
sys.modules["onnxruntime"] = None
from sagemaker_ssd.weights.__main__ import main
sys.exit(main())
"""


def test_what_runs_the_file_is_looked_for_before_it_is_downloaded(tmp_path: Path):
    command = [sys.executable, "-P", "-c", WITHOUT_ONNXRUNTIME, "check", "resnet-50"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        "sagemaker_ssd.weights: the file is run in onnxruntime, which is not installed here: check in the .venv that "
        "`make setup` makes\n",
    )
    detector = find_source("vgg-16", "coco-ssd")
    nowhere = str(tmp_path / "python")
    for python, text in (
        (sys.executable, f"the file is run in torchvision, which {sys.executable} does not have. {NAME_ANOTHER}"),
        (nowhere, f"{nowhere} cannot be started: No such file or directory. {NAME_ANOTHER}"),
    ):
        with pytest.raises(UserError) as caught:
            check_conversion(detector, None, None, python)
        assert caught.value.sentence == text


def test_what_cannot_be_checked(tmp_path: Path, picture: Path):
    for network, name, file, photo, text in (
        ("vgg-16", "keras", None, None, "vgg-16 keras has no file that another program runs; check onnx-zoo, or for"),
        ("resnet-50", "gluoncv", None, None, "resnet-50 gluoncv has no file that another program runs; check onnx-zoo"),
        ("vgg-16", "coco-ssd", None, picture, "--picture is for classifiers of ImageNet; coco-ssd is a detector"),
        ("resnet-50", "onnx-zoo", picture, None, f"{picture} is not Gluon's resnet50_v2 of the ONNX model zoo, "),
    ):
        with pytest.raises(UserError) as caught:
            check_conversion(find_source(network, name), file, photo, sys.executable)
        assert caught.value.sentence.startswith(text)
