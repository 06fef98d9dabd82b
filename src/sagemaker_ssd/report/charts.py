"""Charts as SVG for inside a page: no background, grey text that can be read on white and on black."""

import io
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sagemaker_ssd.report.matching import Matched, curve

# Okabe and Ito's colours, which colour-blind people can tell apart.
COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
_GREY: Final = "#808080"
_BARS, _CURVES = 40, 6


def _chart(width: float = 6.4, height: float = 3.4) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    axes.grid(alpha=0.25)
    axes.tick_params(colors=_GREY, labelcolor=_GREY, labelsize=11)
    for side in axes.spines.values():
        side.set_color(_GREY)
    return figure, axes


def _finish(figure: Figure, axes: Any, x: str, y: str, *, legend: bool = True) -> str:
    axes.set_xlabel(x, color=_GREY, fontsize=12)
    axes.set_ylabel(y, color=_GREY, fontsize=12)
    if legend:
        axes.legend(frameon=False, labelcolor=_GREY, fontsize=11)
    written = io.StringIO()
    # Without a date and with fixed names the same figures give the same bytes.
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "report", "svg.fonttype": "path"}):
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = written.getvalue()
    return text[text.index("<svg") :]


def losses(epochs: Sequence[dict[str, Any]]) -> str:
    """Draw both losses over the epochs."""
    figure, axes = _chart()
    numbers = [epoch["epoch"] for epoch in epochs]
    for name, label, colour in (
        ("cross_entropy", "cross entropy (classes)", COLOURS[0]),
        ("smooth_l1", "smooth L1 (boxes)", COLOURS[1]),
    ):
        axes.plot(numbers, [epoch["train"][name] for epoch in epochs], marker=".", label=label, color=colour)
    axes.set_ylim(bottom=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    return _finish(figure, axes, "epoch", "training loss")


def precision_over_epochs(epochs: Sequence[dict[str, Any]], best: int) -> str:
    """Draw the validation mAP over the epochs, with the best one marked."""
    figure, axes = _chart()
    values = [epoch["validation"]["mAP"] for epoch in epochs]
    numbers = [epoch["epoch"] for epoch in epochs]
    axes.plot(numbers, values, marker=".", color=COLOURS[2], label="validation mAP")
    axes.plot(best, values[best], marker="o", markersize=9, color=COLOURS[5], label=f"epoch {best}, which is kept")
    axes.set_ylim(0, max([*values, 0.05]) * 1.1)
    axes.xaxis.get_major_locator().set_params(integer=True)
    return _finish(figure, axes, "epoch", "mAP")


def bars(names: Sequence[str], values: Sequence[float]) -> str:
    """Draw a bar a class, the first forty."""
    names, values = names[:_BARS], values[:_BARS]
    figure, axes = _chart(height=0.8 + 0.26 * max(len(names), 1))
    axes.barh(range(len(names)), values, color=COLOURS[0])
    axes.set_yticks(range(len(names)), [name if len(name) <= 24 else f"{name[:23]}…" for name in names])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    return _finish(figure, axes, "average precision", "", legend=False)


def precision_recall(matched: Matched, names: Sequence[str]) -> str:
    """Draw the curves of the classes with most objects."""
    figure, axes = _chart()
    chosen = np.argsort(-matched.counts, kind="stable")[:_CURVES]
    for colour, class_id in zip(COLOURS, chosen, strict=False):
        recall, precision = curve(matched, int(class_id))
        if len(recall):
            # A few hundred points look the same as a hundred thousand.
            points = np.unique(np.linspace(0, len(recall) - 1, 300).astype(int))
            axes.plot(recall[points], precision[points], color=colour, label=names[class_id][:24])
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    return _finish(figure, axes, "recall", "precision", legend=bool(axes.lines))


def score_histogram(matched: Matched, threshold: float) -> str:
    """Draw how many detections have which score, the right and the wrong ones."""
    figure, axes = _chart()
    edges = np.linspace(0, 1, 26)
    parts = [matched.scores[matched.right], matched.scores[~matched.right]]
    axes.hist(parts, edges, stacked=True, color=[COLOURS[2], COLOURS[1]], label=["right", "wrong"])
    axes.axvline(threshold, color=COLOURS[5], linestyle="--", label=f"best threshold, {threshold:.2f}")
    axes.set_yscale("symlog")
    axes.set_ylim(bottom=0)
    return _finish(figure, axes, "score", "detections")


def confusion_table(table: NDArray[np.int64], names: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Return the names and the part of a confusion matrix for the classes with most objects, the background last."""
    classes = len(table) - 1
    chosen = np.sort(np.argsort(-table[:classes].sum(1), kind="stable")[:12])
    kept = np.append(chosen, classes)
    return [*(names[number] for number in chosen), "nothing"], table[np.ix_(kept, kept)]
