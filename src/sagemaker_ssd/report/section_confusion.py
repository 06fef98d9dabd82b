"""What is taken for what, and how scores tell right from wrong."""

from collections.abc import Sequence

import numpy as np

from sagemaker_ssd.report.analysis import Analysis
from sagemaker_ssd.report.chart_kinds import score_chart
from sagemaker_ssd.report.instances import Indices
from sagemaker_ssd.report.mistakes import CONFUSED, LOOSE, NOTHING, REPEATED
from sagemaker_ssd.report.page import figure, paragraph, side_by_side, table
from sagemaker_ssd.report.wording import counted, escape, percent, quoted

_MOST_CLASSES = 15
_PAIRS = 20
_KINDS = (
    (NOTHING, "where nothing is labelled"),
    (CONFUSED, "on an object of another class"),
    (LOOSE, "on an object of the class, but not fitting it"),
    (REPEATED, "a second time on the same object"),
)


def confusion_section(analysis: Analysis) -> str:
    """Return the confusion matrix, the kinds of mistakes and the scores; empty without objects or detections."""
    if not analysis.total_boxes or not len(analysis.validation.scores):
        return ""
    caption = (
        f"Scores of right and wrong detections, on a logarithmic scale. The dotted line is at "
        f"{analysis.score_threshold:.2f}, from where on detections are counted here."
    )
    chart = f"<h3>Scores</h3>{figure(score_chart('scores', analysis), caption)}"
    return _matrix(analysis) + _pairs(analysis) + side_by_side(chart, _kinds(analysis))


def _matrix(analysis: Analysis) -> str:
    """Rows are true classes, columns detected ones; of many classes those with the most mistakes, the rest as one."""
    names = analysis.validation.class_names
    chosen = _classes_of_matrix(analysis)
    size = len(chosen)
    rest = size < len(names)
    places = np.full(len(names) + 1, size, np.int64)
    places[chosen] = np.arange(size)
    places[len(names)] = size + rest
    counts = np.zeros((size + rest + 1, size + rest + 1), np.int64)
    truth, detected, count = analysis.mistakes.confusions.T
    np.add.at(counts, (places[truth], places[detected]), count)
    labels = [escape(names[number]) for number in chosen] + ["other classes"] * rest
    rows = [
        [label, *(_cell(counts[row], column, row) for column in range(len(counts)))]
        for row, label in enumerate([*labels, "nothing there"])
    ]
    text = (
        f"Each row has the objects of a class, by what they are detected as with a score of "
        f"{analysis.score_threshold:.2f} or more and an overlap of {analysis.overlap_threshold:g} or more. "
        "The last row has the other detections: on the background, too loose, or of an object that is found already."
    )
    caption = "Confusion matrix: true class down, detected class across"
    return paragraph(text) + table(caption, ["", *labels, "missed"], rows, style="confusion")


def _classes_of_matrix(analysis: Analysis) -> Indices:
    size = len(analysis.validation.class_ids)
    if size <= _MOST_CLASSES:
        return np.arange(size)
    truth, detected, count = analysis.mistakes.confusions.T
    between = (truth != detected) & (truth < size) & (detected < size)
    weights = np.bincount(truth[between], count[between], minlength=size)
    weights += np.bincount(detected[between], count[between], minlength=size)
    return np.sort(np.lexsort([np.arange(size), -analysis.boxes, -weights])[:_MOST_CLASSES])


def _cell(counts: Indices, column: int, row: int) -> str:
    count, total = int(counts[column]), int(counts.sum())
    if row == len(counts) - 1 == column or not count:
        return '<td class="zero">·</td>' if row == len(counts) - 1 == column else '<td class="zero">0</td>'
    colour = "right" if row == column else "wrong"
    return f'<td style="background:rgb(var(--{colour}-fill) / {0.08 + 0.47 * count / total:.2f})">{count:,}</td>'


def _pairs(analysis: Analysis) -> str:
    """With too many classes for the matrix, what is most often taken for what."""
    names = analysis.validation.class_names
    if len(names) <= _MOST_CLASSES:
        return ""
    truth, detected, count = analysis.mistakes.confusions.T
    rows = np.flatnonzero((truth != detected) & (truth < len(names)) & (detected < len(names)))
    rows = rows[np.argsort(-count[rows], kind="stable")][:_PAIRS]
    listed: Sequence[Sequence[str]] = [
        (
            escape(quoted(names[truth[row]])),
            escape(quoted(names[detected[row]])),
            f"{count[row]:,}",
            f"{analysis.boxes[truth[row]]:,}",
        )
        for row in rows
    ]
    header = ("true class", "detected as", "times", "of boxes")
    return table("The most frequent confusions", header, listed) if listed else ""


def _kinds(analysis: Analysis) -> str:
    wrong = len(analysis.mistakes.wrong)
    if not wrong:
        return ""
    counts = np.bincount(analysis.mistakes.kinds, minlength=len(_KINDS))
    rows = [(name, f"{counts[kind]:,}", percent(int(counts[kind]), wrong)) for kind, name in _KINDS]
    caption = f"Where the {counted(wrong, 'wrong detection')} {'is' if wrong == 1 else 'are'}"
    return "<h3>Wrong detections</h3>" + table(caption, ("where", "detections", "share"), rows)
