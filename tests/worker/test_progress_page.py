"""The small report after every epoch, and its copies among the checkpoints."""

import json
import logging
from pathlib import Path

import pytest

from report.report_samples import Page
from sagemaker_ssd.checkpoints.format import manifest_files, parameter_files, partial_files
from sagemaker_ssd.checkpoints.search import newest_checkpoint
from sagemaker_ssd.worker.progress_page import ProgressPage


def metrics(epochs: int) -> dict:
    return {
        "hyperparameters": {"base_network": "vgg-16", "image_shape": "300", "epochs": "5"},
        "data": {
            "train": {"images": 12, "boxes": 34, "boxes_per_class": [30, 4], "images_without_objects": 0},
            "validation": {"images": 5, "boxes": 7, "boxes_per_class": [7, 0], "images_without_objects": 1},
        },
        "best_epoch": epochs - 1,
        "best_mAP": epochs / 10,
        "epochs": [
            {
                "epoch": number,
                "learning_rate": 0.1,
                "train": {"cross_entropy": 5 - number, "smooth_l1": 1, "images_per_second": 8.25},
                "validation": {
                    "mAP": (number + 1) / 10,
                    "mAP_coco": 0.05,
                    "classes": [
                        {"class_id": 1, "average_precision": None, "boxes": 0, "detections": 3},
                        {"class_id": 0, "average_precision": 0.5 + number / 10, "boxes": 7, "detections": 1234},
                    ],
                },
            }
            for number in range(epochs)
        ],
    }


@pytest.fixture
def page(tmp_path: Path) -> ProgressPage:
    for name in ("output", "checkpoints"):
        (tmp_path / name).mkdir()
    return ProgressPage(tmp_path / "output" / "report.html", tmp_path / "checkpoints", ["cat & dog", "owl"])


def test_the_page_says_how_far_the_job_is_and_how_good(tmp_path: Path, page: ProgressPage):
    for epochs in (1, 2):
        page.write_report(metrics(epochs))
    found = Page((tmp_path / "output" / "report.html").read_text())
    assert "Training of vgg-16 at 300 pixels: object detection, 2 of 5 epochs" in found.text
    assert "best validation mAP so far 0.200 best epoch, of 0 to 1 1 images a second, latest epoch 8.2" in found.text
    assert "training data 12 images, 34 boxes validation data 5 images, 7 boxes" in found.text
    # The class with a figure first, then the one without.
    assert "after epoch 1, the best one" in found.text
    assert "cat & dog 0.600 – – 7 1,234 owl – – – 0 3" in found.text
    assert found.tags.count("svg") == 2
    assert "image" not in found.tags
    assert not list((tmp_path / "checkpoints").iterdir())


def test_epochs_on_other_validation_data_have_no_map(tmp_path: Path, page: ProgressPage):
    page.write_report(metrics(3) | {"best_epoch": 1, "best_mAP": 0.2, "validation_since": 2})
    found = Page((tmp_path / "output" / "report.html").read_text())
    assert "Epochs 0 to 1 were scored on other validation data" in found.text
    assert "0 5.000 1.000 – – 1 4.000 1.000 0.200 0.050 2 3.000 1.000 0.300 0.050" in found.text
    # The classes are those of the kept model.
    assert "after epoch 1, the best one" in found.text


def test_copies_among_the_checkpoints_are_no_checkpoint(tmp_path: Path, page: ProgressPage):
    page.write_report(metrics(1))
    page.write_copies(metrics(1))
    folder = tmp_path / "checkpoints"
    assert {path.name for path in folder.iterdir()} == {"progress.html", "progress.json"}
    assert (folder / "progress.html").read_bytes() == (tmp_path / "output" / "report.html").read_bytes()
    assert json.loads((folder / "progress.json").read_text()) == metrics(1)
    assert (manifest_files(folder), parameter_files(folder), list(partial_files(folder))) == ({}, {}, [])
    found = newest_checkpoint(folder)
    assert (found.manifest, found.unusable) == (None, ())


def test_what_cannot_be_written_is_told_once(tmp_path: Path, page: ProgressPage, caplog: pytest.LogCaptureFixture):
    in_the_way = tmp_path / "checkpoints" / "progress.html"
    in_the_way.mkdir()
    with caplog.at_level(logging.WARNING):
        for epochs in (1, 2):
            page.write_report(metrics(epochs))
            page.write_copies(metrics(epochs))
    (said,) = caplog.messages
    assert said.startswith(f"{in_the_way} could not be written: ")
    assert json.loads((tmp_path / "checkpoints" / "progress.json").read_text()) == metrics(2)
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"progress.html", "progress.json"}


def test_figures_that_no_page_can_be_made_of_cost_a_warning(
    tmp_path: Path, page: ProgressPage, caplog: pytest.LogCaptureFixture
):
    page.write_report({"epochs": [{"epoch": "first"}]})
    page.write_copies({"epochs": []})
    assert "The small report could not be drawn" in caplog.text
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"progress.json"}
