"""Lines of progress: into silence alone, whatever the program waits for."""

import logging
import time

import mxnet as mx
import pytest

from sagemaker_ssd import progress
from sagemaker_ssd.progress import images_line, phase, progress_lines


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_line_comes_within_a_minute():
    assert progress.SECONDS_BETWEEN_LINES < 60


def test_a_line_comes_while_mxnet_is_waited_for(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO), progress_lines(lambda seconds: "still at it", every=0.05):
        product = mx.nd.ones((3000, 3000))
        for _ in range(4):
            product = mx.nd.dot(product, product) / 3000
        product.wait_to_read()
    assert messages(caplog)[:2] == ["still at it"] * 2


def test_the_innermost_tells_and_only_into_silence(caplog: pytest.LogCaptureFixture):
    with (
        caplog.at_level(logging.INFO),
        progress_lines(lambda seconds: "outer", every=0.2),
        progress_lines(lambda seconds: "inner", every=0.2),
    ):
        time.sleep(0.7)
        assert set(messages(caplog)) == {"inner"}
        assert 2 <= len(caplog.records) <= 3
        caplog.clear()
        for _ in range(10):
            logging.getLogger("another").info("news")
            time.sleep(0.05)
    assert set(messages(caplog)) == {"news"}


def test_silence_that_begins_in_one_block_ends_in_the_next(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO), progress_lines(lambda seconds: "the job", every=0.3):
        for name in "abcdefgh":
            with progress_lines(lambda seconds, name=name: name):
                time.sleep(0.1)
    assert len(caplog.records) >= 2
    assert set(messages(caplog)) <= set("abcdefgh") | {"the job"}


def test_a_failure_passes_and_ends_the_lines(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO), pytest.raises(OSError, match="gone"), phase("The model is being loaded"):
        raise OSError("gone")
    assert progress._under_way == []
    assert logging.getLogger().handlers.count(caplog.handler) == 1


def test_the_first_line_can_come_sooner(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO), phase("It goes on", first=0.1, every=60):
        time.sleep(0.5)
    assert messages(caplog) == ["It goes on, for 0:00:00 so far"]


def test_how_far_something_is():
    assert images_line("Detection", 0, 48, 7.2) == "Detection: 0 of 48 images in 0:00:07"
    line = images_line("Detection", 1000, 5000, 100.0)
    assert line == "Detection: 1,000 of 5,000 images in 0:01:40, 10.0 images/s; about 0:06:40 left"
