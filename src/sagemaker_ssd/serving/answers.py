"""The forms of an answer: the built-in's two, chosen by the Accept header, and errors."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any, Final, Literal

from sagemaker_ssd.errors import shown
from sagemaker_ssd.serving.detection import Detections, RefusedError

MediaType = Literal["application/json", "application/jsonlines"]
_MEDIA_TYPES: Final[tuple[MediaType, ...]] = ("application/json", "application/jsonlines")
# As a JPEG or a PNG of any kind is decoded.
_DEPTH: Final = 3


@dataclass(frozen=True)
class AnswerForm:
    """The media type of an answer, and whether it has the training data's annotations instead of rows."""

    media_type: MediaType
    annotations: bool

    def write(self, detections: Detections, score: float, class_names: Sequence[str]) -> bytes:
        """Write an answer with the rows that reach `score`, and with names of classes where there are any."""
        rows = [row for row in detections.rows if row[1] >= score]
        if self.annotations:
            content = _annotations(rows, detections, class_names)
        else:
            content = {"prediction": rows}
            if class_names:
                content["class_names"] = [class_names[int(row[0])] for row in rows]
        end = b"\n" if self.media_type == "application/jsonlines" else b""
        return json.dumps(content, ensure_ascii=False).encode() + end


def _annotations(rows: Sequence[Sequence[float]], image: Detections, class_names: Sequence[str]) -> dict[str, Any]:
    """Write rows as the training data has its boxes: whole pixels of the image as a viewer shows it."""
    annotations: list[dict[str, Any]] = []
    for class_id, score, xmin, ymin, xmax, ymax in rows:
        left, top = round(xmin * image.width), round(ymin * image.height)
        # Both edges are rounded, so that boxes which touch still do.
        width, height = round(xmax * image.width) - left, round(ymax * image.height) - top
        box = {"left": left, "top": top, "width": width, "height": height}
        annotations.append({"class_id": int(class_id), "score": score, **box})
    content: dict[str, Any] = {
        "image_size": [{"width": image.width, "height": image.height, "depth": _DEPTH}],
        "annotations": annotations,
    }
    if class_names:
        content["categories"] = [{"class_id": number, "name": name} for number, name in enumerate(class_names)]
    return content


def choose_form(accept: str | None) -> AnswerForm:
    """Choose the form that an Accept header prefers (RFC 9110, 12.5.1); raises RefusedError where there is none.

    Of equal q-values the first one counts. Parameters other than `annotation` are the client's own and change nothing.
    """
    best: tuple[float, AnswerForm] | None = None
    for element in (accept or "*/*").split(","):
        name, *parameters = (part.strip().lower() for part in element.split(";"))
        values = dict(parameter.replace(" ", "").partition("=")[::2] for parameter in parameters)
        media_type = _media_type(name)
        quality = _quality(values.get("q", "1"))
        if media_type is not None and quality > (0.0 if best is None else best[0]):
            best = quality, AnswerForm(media_type, values.get("annotation", "").strip('"') == "1")
    if best is None:
        raise RefusedError(
            406,
            f"Accept is {shown(accept or '')}, and this model answers in application/json or application/jsonlines, "
            "either also with `;annotation=1`: set Accept to one of them",
        )
    return best[1]


def _media_type(name: str) -> MediaType | None:
    if name in ("", "*/*", "application/*"):
        return "application/json"
    return next((media_type for media_type in _MEDIA_TYPES if media_type == name), None)


def _quality(text: str) -> float:
    """Read a q-value; one that is none does not take the media type away."""
    try:
        quality = float(text)
    except ValueError:
        return 1.0
    return 1.0 if isnan(quality) else min(max(quality, 0.0), 1.0)
