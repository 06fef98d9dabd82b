"""What the channels tell of one another."""

import logging

import pytest

from sagemaker_ssd.worker.inputs import warn_of_differing_names, warn_of_unlearnable_classes


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
