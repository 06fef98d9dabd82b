"""A line every 100 batches, with the time that is left."""

import logging

import pytest

from sagemaker_ssd.training.loop import EpochProgress
from sagemaker_ssd.worker.log_lines import batch_reporter


def test_a_line_every_100_batches(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO), batch_reporter(3, 250, bar=False) as report:
        for batch in range(1, 251):
            report(EpochProgress(batches=batch, images=batch * 8, seconds=batch * 0.5))
    # 0.5 s a batch: 150 batches, then 50, are left.
    assert [record.getMessage() for record in caplog.records] == [
        "Epoch:    3, batches:    100, num_examples:    800, 16.0 samples/sec, "
        "epoch time so far:  0:00:50, epoch time left: 0:01:15",
        "Epoch:    3, batches:    200, num_examples:   1600, 16.0 samples/sec, "
        "epoch time so far:  0:01:40, epoch time left: 0:00:25",
    ]


def test_the_bar_shows_the_speed_and_no_lines(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]):
    with caplog.at_level(logging.INFO), batch_reporter(0, 200, bar=True) as report:
        for batch in range(1, 201):
            report(EpochProgress(batches=batch, images=batch * 4, seconds=batch * 0.5))
    assert caplog.records == []
    shown = capfd.readouterr().err
    assert "epoch 0" in shown
    assert "8.0 images/s" in shown
