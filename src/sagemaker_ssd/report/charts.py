"""The report's charts, as SVG inside the page: the course of the training, precision over recall, the scores."""

import io
import logging
import re
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sagemaker_ssd.report.analysis import RECALL_STEPS, Analysis
from sagemaker_ssd.report.metrics_file import EpochFigures
from sagemaker_ssd.report.wording import digits, escape, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# matplotlib takes no CSS variables, so it draws in these colours, which then become variables of the page.
INK, SOFT, RIGHT, WRONG = "#010101", "#020202", "#030303", "#040404"
LINES = ("#110001", "#110002", "#110003", "#110004", "#110005", "#110006")
DASHES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 1)))
_VARIABLES = {INK: "ink", SOFT: "soft", RIGHT: "right", WRONG: "wrong"}
_VARIABLES |= {colour: f"line-{index}" for index, colour in enumerate(LINES)}
# Inches of 72 points: 331 points wide, so that text of 10 points can be read on a phone without scrolling.
_SIZE = (4.6, 3.2)
_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "sagemaker-ssd",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.parse_math": False,
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": SOFT,
    "grid.alpha": 0.25,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.handlelength": 2.6,
}
# Points of a line, so that a job of many epochs does not make the file large.
_POINTS = 300
_LEGEND_NAME = 18
_BINS = np.linspace(0.0, 1.0, 21)
# A line over the epochs: its title, and its figure of an epoch.
Series = tuple[str, Callable[[EpochFigures], float | None]]
LOSSES: tuple[Series, ...] = (
    ("cross-entropy (classes)", lambda epoch: epoch.cross_entropy),
    ("smooth L1 (boxes)", lambda epoch: epoch.smooth_l1),
)
MEANS: tuple[Series, ...] = (("mAP (VOC 2007)", lambda epoch: epoch.mean), ("COCO AP", lambda epoch: epoch.coco))


def epoch_chart(
    name: str, label: str, series: Sequence[Series], epochs: Sequence[EpochFigures], best: int | None
) -> str:
    """Draw figures over the epochs; a line marks the best epoch. Empty where no epoch has any of the figures."""
    drawn, said = [], []
    for title, value in series:
        points = [(epoch.epoch, shown) for epoch in epochs if (shown := value(epoch)) is not None]
        if points:
            drawn.append((title, points[:: 1 + len(points) // _POINTS] + points[-1:]))
            said.append(f"{title} from {digits(points[0][1])} to {digits(points[-1][1])}")
    if not drawn:
        return ""

    def draw(axes: "Axes") -> None:
        for index, (title, points) in enumerate(drawn):
            marker = "o" if len(points) <= 40 else None
            axes.plot(
                *zip(*points, strict=True), color=LINES[index], ls=DASHES[index], marker=marker, ms=3.5, label=title
            )
        if best is not None:
            axes.axvline(best, color=SOFT, lw=1.2, ls=":", label=f"best epoch ({best})")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.locator_params("x", integer=True, nbins=8, min_n_ticks=1)
        axes.legend()

    return _chart(name, f"Line chart over {len(epochs)} epochs: {'; '.join(said)}.", draw)


def precision_recall_chart(name: str, analysis: Analysis, classes: Sequence[int]) -> str:
    """Draw precision over recall of some classes, and the mean over all."""
    recalls = np.linspace(0.0, 1.0, RECALL_STEPS + 1)
    present = [curve.precisions for curve in analysis.curves if curve is not None]
    mean = np.mean(present, axis=0)
    names = analysis.validation.class_names

    def draw(axes: "Axes") -> None:
        for index, number in enumerate(classes):
            curve = analysis.curves[number]
            if curve is not None:
                label = plain(names[number], _LEGEND_NAME)
                axes.plot(recalls, curve.precisions, color=LINES[index], ls=DASHES[index], label=_legend_name(label))
        if len(present) > 1:
            axes.plot(recalls, mean, color=INK, lw=2.6, label=f"mean of {len(present)} classes")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("recall: objects found")
        axes.set_ylabel("precision: detections right")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)

    at_half = f"Mean precision is {mean[0]:.2f} at recall 0 and {mean[RECALL_STEPS // 2]:.2f} at recall 0.5."
    return _chart(name, f"Precision over recall, {len(classes)} classes drawn. {at_half}", draw)


def score_chart(name: str, analysis: Analysis) -> str:
    """Draw how many detections are right and wrong at each score, on a logarithmic scale."""
    matches, scores = analysis.matches, analysis.validation.scores
    right, _ = np.histogram(np.clip(scores[matches.true_positive], 0, 1), _BINS)
    wrong, _ = np.histogram(np.clip(scores[matches.false_positive], 0, 1), _BINS)

    def draw(axes: "Axes") -> None:
        width = 0.022
        centres = (_BINS[:-1] + _BINS[1:]) / 2
        axes.bar(centres - width / 2, right, width, color=RIGHT, label="right")
        axes.bar(centres + width / 2, wrong, width, color="none", edgecolor=WRONG, hatch="/////", lw=0.8, label="wrong")
        axes.axvline(
            analysis.score_threshold, color=SOFT, lw=1.2, ls=":", label=f"score {analysis.score_threshold:.2f}"
        )
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.yaxis.set_minor_formatter("")
        axes.set_ylim(bottom=0.7)
        axes.set_xlim(0, 1)
        axes.set_xlabel("score")
        axes.set_ylabel("detections")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)

    high = _BINS[:-1] >= 0.5
    said = f"{right[high].sum():,} right and {wrong[high].sum():,} wrong detections have a score of 0.5 or more, "
    return _chart(
        name, f"Histogram of scores: {said}{right[~high].sum():,} and {wrong[~high].sum():,} a lower one.", draw
    )


def _legend_name(name: str) -> str:
    """Put a space before a name that matplotlib would leave out of the legend for its underscore."""
    return f" {name}" if name.startswith("_") else name


def _chart(name: str, alternative: str, draw: "Callable[[Axes], None]") -> str:
    """Return a chart as an element; `name` is unique in the page, `alternative` says what the chart shows."""
    # When it is imported first it logs that it builds its font cache, which is nothing for the log of a job.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
        # A font of its own measures the text; it is the browser that draws it.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=_SIZE, layout="constrained")
        draw(figure.add_subplot())
        output = io.StringIO()
        figure.savefig(output, format="svg", metadata={"Creator": None, "Date": None, "Format": None, "Type": None})
    return _inline(output.getvalue(), name, alternative)


def _inline(svg: str, name: str, alternative: str) -> str:
    body = svg[svg.index("<svg") :]
    (view_box,) = re.findall(r'viewBox="([^"]+)"', body)
    body = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", body[body.index(">") + 1 :], flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*">', "<g>", body)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'xlink:href="#|\bhref="#', f'href="#{name}-', body)
    body = body.replace("url(#", f"url(#{name}-")
    body = re.sub(r"font: [^;\"]*?(\d+)px [^;\"]*", r"font-size: \1px", body)
    body = re.sub("|".join(_VARIABLES), lambda found: f"var(--{_VARIABLES[found[0]]})", body)
    body = re.sub(r"\n\s*", "\n", body)
    return f'<svg class="chart" viewBox="{view_box}" role="img" aria-label="{escape(alternative, 400)}">{body}'
