"""The metric lines against the regular expressions that SageMaker publishes for the built-in."""

import re

from sagemaker_ssd.worker import log_lines

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


def test_the_score_is_between_the_lines_only_parentheses():
    # AWS's notebooks cut it out with find("(") and with [:-1].
    line = log_lines.validation_map("algo-1", 12, 0.5)
    assert line.count("(") == line.count(")") == 1
    assert line.endswith(")")
