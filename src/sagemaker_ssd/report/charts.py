"""Line charts as SVG that stands inside the page: its text is text, its colours follow the page's."""

import io
import logging
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from sagemaker_ssd.report.wording import escape

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


def chart(name: str, alternative: str, draw: "Callable[[Axes], None]") -> str:
    """Return a chart as an element; `name` is unique in the page, `alternative` says what the chart shows."""
    # It tells of its font cache when it is imported first, which is nothing for the log of a job.
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
