"""What the channels tell of one another."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from drawn_channels import BOX, png, write_rec
from sagemaker_ssd.channels.check import check_recordio
from sagemaker_ssd.channels.findings import CheckOptions
from sagemaker_ssd.worker.inputs import warn_of_differing_names, warn_of_same_images, warn_of_unlearnable_classes
from sagemaker_ssd.worker.metrics import channel_figures


def test_classes_that_train_never_shows_are_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        warn_of_unlearnable_classes([5, 0, 3, 0], [2, 1200, 0, 0])
    (line,) = caplog.messages
    assert "cannot be learned and lower the mAP: class_id 1 (1,200 boxes). Were the class ids" in line


def test_many_of_them_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        warn_of_unlearnable_classes([0] * 30, [1] * 30)
    assert "class_id 9 (1 boxes) and 20 more. Were" in caplog.messages[0]


def test_classes_that_validation_lacks_are_no_reason(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_unlearnable_classes([5, 2, 1], [1, 0, 0])
    assert caplog.messages == []


def test_class_ids_that_have_another_name_in_validation_are_named(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_differing_names({0: "dog", 1: "cat", 2: "Red  cell"}, {0: "cat", 1: "dog", 2: "red cell", 3: "cow"})
    (line,) = caplog.messages
    assert "different classes: class_id 0 ('dog' and 'cat'), class_id 1 ('cat' and 'dog'). Were the class ids" in line
    caplog.clear()
    warn_of_differing_names({0: "dog"}, {})
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("validation", "same"),
    [
        ([(BOX, png(1)), (BOX, png(2))], True),
        ([(BOX, png(2)), (BOX, png(1))], True),
        ([(BOX, png(1)), (BOX, png(3))], False),
        ([(BOX, png(1))], False),
        ([(BOX, png(1)), ([2, 5, 1, 0.25, 0.25, 0.5, 0.5], png(2))], False),
    ],
)
def test_validation_that_is_train(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, validation: Sequence[tuple[Any, bytes]], same: bool
) -> None:
    figures = []
    for name, drawn in (("train", [(BOX, png(1)), (BOX, png(2))]), ("validation", validation)):
        options = CheckOptions(name=name, num_classes=3, scratch=tmp_path, max_bad_images=0, label_width=350)
        figures.append(channel_figures(check_recordio(write_rec(tmp_path / f"{name}.rec", drawn), options)))
    warn_of_same_images(*figures)
    assert [message.partition(",")[0] for message in caplog.messages if "validation holds" in message] == (
        ["validation holds exactly the images and boxes of train"] if same else []
    )
