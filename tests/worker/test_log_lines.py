"""The metric lines against SageMaker's regular expressions for the built-in, and lines of progress."""

import logging
import re
import time
from dataclasses import replace

import pytest

from sagemaker_ssd.training.loop import EpochLosses, EpochProgress
from sagemaker_ssd.worker import log_lines
from sagemaker_ssd.worker.log_lines import batch_reporter, epoch_progress_line

# Copied from the console page of a real job of the built-in algorithm.
PUBLISHED = {
    "train:progress": r"#progress_metric: host=\S+, completed (\S+) %",
    "train:smooth_l1": r"#quality_metric: host=\S+, epoch=\S+, batch=\S+ train smooth_l1 <loss>=(\S+)",
    "train:cross_entropy": r"#quality_metric: host=\S+, epoch=\S+, batch=\S+ train cross_entropy <loss>=(\S+)",
    "train:throughput": r"#throughput_metric: host=\S+, train throughput=(\S+) records/second",
    "validation:mAP": r"#quality_metric: host=\S+, epoch=\S+, validation mAP <score>=\((\S+)\)",
}


def test_lines_of_a_real_job_are_reproduced():
    # Real lines of a job of the built-in (NEU-DET, 2022).
    assert log_lines.cross_entropy("algo-1", 0, 72, 2.015441646388144) == (
        "#quality_metric: host=algo-1, epoch=0, batch=72 train cross_entropy <loss>=(2.015441646388144)"
    )
    assert log_lines.smooth_l1("algo-1", 0, 72, 0.7727404780864044) == (
        "#quality_metric: host=algo-1, epoch=0, batch=72 train smooth_l1 <loss>=(0.7727404780864044)"
    )
    assert log_lines.validation_map("algo-1", 0, 0.0008992603222396422) == (
        "#quality_metric: host=algo-1, epoch=0, validation mAP <score>=(0.0008992603222396422)"
    )
    assert log_lines.progress("algo-1", 1, 100) == "#progress_metric: host=algo-1, completed 1.0 % of epochs"
    assert log_lines.batches_line(0, 100, 3200, 27.779193, 60.4) == (
        "Epoch:    0, batches:    100, num_examples:   3200, 115.2 samples/sec, "
        "epoch time so far:  0:00:27.779193, epoch time left: 0:01:00"
    )


def test_published_expressions_match_every_line():
    lines = {
        "train:progress": (log_lines.progress("algo-1", 3, 7), str(300 / 7)),
        "train:smooth_l1": (log_lines.smooth_l1("algo-1", 3, 9, 1e-7), "(1e-07)"),
        "train:cross_entropy": (log_lines.cross_entropy("algo-1", 3, 9, 2.5), "(2.5)"),
        "train:throughput": (log_lines.throughput("algo-1", 30, 4.0), "7.5"),
        "validation:mAP": (log_lines.validation_map("algo-1", 3, 0.25), "0.25"),
    }
    for name, expression in PUBLISHED.items():
        line, value = lines[name]
        found = re.search(expression, line)
        assert found is not None, name
        assert found.group(1) == value


def test_a_host_has_no_lines_of_what_no_anchor_or_image_counts_for():
    losses = EpochLosses(cross_entropy=2.5, smooth_l1=0.5, batches=9, images=30, seconds=4.0, anchors=8)
    entropy, offsets, speed = log_lines.of_training("algo-1", 3, losses)
    assert entropy == log_lines.cross_entropy("algo-1", 3, 9, 2.5)
    assert offsets == log_lines.smooth_l1("algo-1", 3, 9, 0.5)
    assert speed == "#throughput_metric: host=algo-1, train throughput=7.5 records/second"
    nothing = {"cross_entropy": 0.0, "smooth_l1": 0.0, "anchors": 0}
    without_anchors = log_lines.of_training("algo-1", 3, replace(losses, **nothing))
    no_losses = "Epoch 3: this host has no losses to tell, since no anchor counts (images: 30)"
    assert without_anchors == [no_losses, speed]
    without_images = log_lines.of_training("algo-1", 3, replace(losses, **nothing, images=0))
    assert without_images == ["Epoch 3: this host has no losses to tell, since no anchor counts (images: 0)"]
    assert not any(re.search(expression, no_losses) for expression in PUBLISHED.values())


def test_the_best_map_is_in_a_line_that_no_published_expression_matches():
    line = log_lines.best_validation_map("algo-1", 12, 0.7)
    assert line == "#quality_metric: host=algo-1, epoch=12, validation best mAP <score>=(0.7)"
    assert not any(re.search(expression, line) for expression in PUBLISHED.values())
    # What AWS's notebooks look for in a line.
    assert "validation mAP <score>=" not in line


def test_the_score_is_between_the_lines_only_parentheses():
    # AWS's notebooks cut it out with find("(") and with [:-1].
    line = log_lines.validation_map("algo-1", 12, 0.5)
    assert line.count("(") == line.count(")") == 1
    assert line.endswith(")")


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


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_an_epoch_is_never_silent(caplog: pytest.LogCaptureFixture):
    """Not even where the first batch takes longer than the time between lines."""
    with caplog.at_level(logging.INFO), batch_reporter(2, 73, bar=False, later_epochs=1, every=0.2) as report:
        time.sleep(0.5)
        # The first is begun, then it is done and the second is begun.
        report(EpochProgress(batches=1, images=8, seconds=0.1))
        time.sleep(0.3)
        report(EpochProgress(batches=2, images=16, seconds=0.5))
        time.sleep(0.3)
    *none, last = messages(caplog)
    assert none.count("Epoch 2: none of 73 batches is done after 0:00:00") >= 2
    assert re.fullmatch(
        r"Epoch 2: 1 of 73 batches in 0:00:01, 1\d\.\d images/s; about 0:00:[34]\d left of the epoch and 0:01:[12]\d "
        r"of the job",
        last,
    )
    # Of an epoch of many fast batches too: the built-in's lines tell no losses.
    caplog.clear()
    with caplog.at_level(logging.INFO), batch_reporter(0, 1000, bar=False, every=0.2) as report:
        for batch in range(100, 700, 100):
            report(EpochProgress(batch, batch * 8, batch * 0.01, 2.0, 0.7))
            time.sleep(0.1)
    assert sum(" so far; about " in line for line in messages(caplog)) >= 2


def test_what_a_line_tells_of_an_epoch():
    # 40 batches of 8 in 400 s, then the 41st is under way; two epochs are left, and an evaluation of a minute.
    progress = EpochProgress(41, 328, 400.0, 2.1344, 0.7719)
    line = epoch_progress_line(3, 73, progress, 404.4, 146, 60.0)
    assert line == (
        "Epoch 3: 40 of 73 batches in 0:06:44, 0.8 images/s, train cross_entropy 2.134 and smooth_l1 0.772 so far; "
        "about 0:05:26 left of the epoch and 0:30:46 of the job"
    )
    assert not any(re.search(expression, line) for expression in PUBLISHED.values())
    # The 41st takes longer than all before: nobody knows the rest, but it is no less than that.
    line = epoch_progress_line(3, 73, progress, 4100.0, 146, 0.0)
    assert "40 of 73 batches in 1:08:20, 0.1 images/s" in line
    assert "about 0:53:20 left of the epoch" in line
    assert epoch_progress_line(0, 1, EpochProgress(1, 8, 0.1), 60.0, 0, 0.0) == (
        "Epoch 0: none of 1 batches is done after 0:01:00"
    )
