"""The pictures, and what their lines mean."""

from collections.abc import Sequence

from sagemaker_ssd.report.analysis import Analysis
from sagemaker_ssd.report.choosing import Choice, best_images, false_detections, missed_objects
from sagemaker_ssd.report.page import paragraph
from sagemaker_ssd.report.pictures import ReadImage, picture

_KINDS = (
    ("object", "object, as labelled"),
    ("object focus", "object that is missed"),
    ("right", "right detection"),
    ("wrong", "wrong detection"),
)


def picture_section(analysis: Analysis, read_image: ReadImage) -> str:
    """Return the best, the most wrong and the missed; empty without objects or detections to show."""
    if not len(analysis.validation.objects) and not len(analysis.validation.scores):
        return ""
    best, false = best_images(analysis), false_detections(analysis)
    groups = [
        ("Images with the best detections", best),
        ("Wrong detections with the highest scores", false),
        ("Missed objects, the largest of each class first", missed_objects(analysis, {each.image for each in false})),
    ]
    text = (
        f"Detections with a score of {analysis.score_threshold:.2f} or more. Where one box is to be looked at, the "
        "picture shows the part of the image around it. What is wrong may also be a fault of the labels."
    )
    drawn = "".join(_group(title, choices, analysis, read_image) for title, choices in groups)
    return paragraph(text) + _legend() + drawn if drawn else ""


def _group(title: str, choices: Sequence[Choice], analysis: Analysis, read_image: ReadImage) -> str:
    if not choices:
        return ""
    figures = "\n".join(picture(analysis, choice, read_image) for choice in choices)
    return f'<h3>{title}</h3>\n<div class="pictures">{figures}</div>\n'


def _legend() -> str:
    entries = "".join(
        f'<li><svg class="picture" viewBox="0 0 44 26" aria-hidden="true"><rect width="44" height="26" '
        f'style="fill:#6b7680"/><rect class="casing" x="5" y="5" width="34" height="16"/>'
        f'<rect class="box {kind}" x="5" y="5" width="34" height="16"/></svg>{name}</li>'
        for kind, name in _KINDS
    )
    return f'<ul class="legend">{entries}</ul>\n'
