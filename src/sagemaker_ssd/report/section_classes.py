"""The classes: their figures in a table with bars, and their precision over recall."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sagemaker_ssd.report.analysis import Analysis
from sagemaker_ssd.report.chart_kinds import precision_recall_chart
from sagemaker_ssd.report.charts import LINES
from sagemaker_ssd.report.job_figures import ClassFigures, ModelFigures, kept_model, section
from sagemaker_ssd.report.page import details, figure, paragraph, side_by_side, table
from sagemaker_ssd.report.wording import counted, escape, number, percent
from sagemaker_ssd.report.wording import figure as digits

_ROWS = 300
_HEADER = (
    *("class", "AP (VOC 2007)", "AP, all points", "COCO AP"),
    *("boxes", "found", "recall", "missed", "wrong", "detections"),
)
# Figures over all classes, by their keys in the entry of the kept model.
_MEANS = {
    "mAP": "mAP (VOC 2007)",
    "mAP_all_points": "mAP, all points",
    "mAP_coco": "COCO AP",
    "AP50": "COCO AP at IoU 0.50",
    "AP75": "COCO AP at IoU 0.75",
    "AP_small": "COCO AP, small objects",
    "AP_medium": "COCO AP, medium objects",
    "AP_large": "COCO AP, large objects",
    "AR_100": "COCO AR, 100 detections",
    "recall": "recall at any score",
}
_NONE = ClassFigures(None, None, None)


def class_section(metrics: Mapping[str, Any], analysis: Analysis, figures: ModelFigures) -> str:
    """Return the table of the classes, lowest AP first, and their curves; empty without validation images."""
    if not analysis.validation.images or not analysis.validation.class_ids:
        return ""
    order = _order(analysis, figures)
    shown = order[:_ROWS]
    train = section(metrics, "data", "train").get("boxes_per_class")
    boxes = train if isinstance(train, Sequence) else None
    header = (*_HEADER, "boxes in train") if boxes is not None else _HEADER
    caption = "Classes, lowest AP first"
    if len(order) > len(shown):
        caption += f": {len(shown)} of {len(order):,}; metrics.json has all"
    text = (
        f"Found, missed and wrong are counted for detections with a score of {analysis.score_threshold:.2f} or more, "
        f"the score with the best balance of found and wrong (F1); a detection is right when its overlap (IoU) with an "
        f"object of its class is {analysis.overlap_threshold:g} or more. Difficult objects do not count."
    )
    listed = table(caption, header, (_row(analysis, figures, place, boxes) for place in shown))
    return paragraph(text) + listed + side_by_side(_curves(analysis, order), _means(metrics))


def _order(analysis: Analysis, figures: ModelFigures) -> list[int]:
    """Classes by rising AP, those without ground truth at the end."""

    def key(place: int) -> tuple[bool, float, int]:
        score = figures.classes.get(analysis.validation.class_ids[place], _NONE).voc07
        return (analysis.boxes[place] == 0, score or 0.0, place)

    return sorted(range(len(analysis.validation.class_ids)), key=key)


def _row(analysis: Analysis, figures: ModelFigures, place: int, train: Sequence[Any] | None) -> list[str]:
    class_id = analysis.validation.class_ids[place]
    of_class = figures.classes.get(class_id, _NONE)
    boxes, right = int(analysis.boxes[place]), int(analysis.right[place])
    cells = [
        escape(analysis.validation.class_names[place]),
        _bar(of_class.voc07),
        digits(of_class.all_points),
        digits(of_class.coco),
        f"{boxes:,}",
        f"{right:,}",
        percent(right, boxes) if boxes else "–",
        f"{boxes - right:,}",
        f"{analysis.wrong[place]:,}",
        f"{analysis.detections[place]:,}",
    ]
    if train is not None:
        cells.append(f"{train[class_id]:,}" if 0 <= class_id < len(train) else "–")
    return cells


def _bar(score: float | None) -> str:
    if score is None:
        return "<td>–</td>"
    width = 100 * min(max(score, 0.0), 1.0)
    return f'<td class="bar">{digits(score)}<span><i style="width:{width:.1f}%"></i></span></td>'


def _means(metrics: Mapping[str, Any]) -> str:
    """Return the figures over all classes that metrics.json has, and how they are defined."""
    entry = kept_model(metrics)
    found = [(name, number(entry.get(key))) for key, name in _MEANS.items()]
    rows = [(escape(name), digits(value)) for name, value in found if value is not None]
    if not rows:
        return ""
    defined = section(metrics, "definitions")
    words = [(escape(_MEANS.get(key, key.replace("_", " "))), escape(text, 500)) for key, text in defined.items()]
    listed = table("Figures over all classes", ("figure", "value"), rows)
    how = table("How they are defined", ("figure", "definition"), words, texts=True)
    return f"<h3>Over all classes</h3>{listed}" + (details("How they are defined", how) if words else "")


def _curves(analysis: Analysis, order: Sequence[int]) -> str:
    present = [place for place in order if analysis.curves[place] is not None]
    if not present or not np.any(analysis.detections):
        return ""
    drawn = present[: len(LINES)]
    lowest = "" if len(drawn) == len(present) else f" The {len(drawn)} with the lowest AP are drawn."
    caption = (
        "Precision over recall: going right, lower scores are let in, more objects are found and more detections are "
        f"wrong. The area under a line is the AP, up to how it is measured.{lowest}"
    )
    heading = f"<h3>Precision and recall of {counted(len(present), 'class', 'classes')}</h3>"
    return heading + figure(precision_recall_chart("recall", analysis, drawn), caption)
