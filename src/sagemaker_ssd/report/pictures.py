"""A picture of an image with its objects and detections, as an element of the page."""

import base64
import io
import logging
from collections.abc import Callable

import numpy as np
from PIL import Image

from sagemaker_ssd.report.analysis import Analysis
from sagemaker_ssd.report.choosing import Choice
from sagemaker_ssd.report.drawn_boxes import View, focus_of, shapes
from sagemaker_ssd.report.instances import Floats
from sagemaker_ssd.report.overlay import Overlay
from sagemaker_ssd.report.wording import escape

_log = logging.getLogger(__name__)

# Longer side in pixels, and the size in bytes from which a lower quality is tried.
_SIDE = 560
_BYTES = 90_000
_QUALITIES = (82, 65, 45, 25)
# What is shown of an image beside the box to look at: this many times its longer side, and at least so many pixels.
_SURROUNDINGS = 4.0
_LEAST_PIXELS = 200.0
# A part that is nearly all of the image is no part.
_NEARLY_ALL = 0.7

ReadImage = Callable[[int], Image.Image]


def picture(analysis: Analysis, choice: Choice, read_image: ReadImage) -> str:
    """Read the image and draw; an image that cannot be read leaves a sentence in its place."""
    entry = analysis.validation.images[choice.image]
    try:
        image = read_image(entry.image_id)
        image.load()
        inside = _element(analysis, choice, image if image.mode == "RGB" else image.convert("RGB"))
    except Exception as error:  # whatever the reader raises, the report is worth more than one picture
        _log.warning("report: image %s cannot be read: %s", entry.name, error)
        inside = '<div class="unread">This image could not be read.</div>'
    caption = f"{escape(choice.sentence, 300)}<br><small>{escape(entry.name)}</small>"
    return f"<figure>{inside}<figcaption>{caption}</figcaption></figure>"


def _element(analysis: Analysis, choice: Choice, image: Image.Image) -> str:
    entry = analysis.validation.images[choice.image]
    # The image may be a smaller copy of that which the boxes were drawn on.
    ratio = np.array([image.width / (entry.width or image.width), image.height / (entry.height or image.height)] * 2)
    focus = focus_of(analysis, choice)
    window = _window(image.width, image.height, None if focus is None else focus * ratio)
    view = View(window, ratio, _SIDE / max(window[2] - window[0], window[3] - window[1]))
    width, height = (max(1, round((window[side + 2] - window[side]) * view.scale)) for side in (0, 1))
    overlay = Overlay(width, height, shapes(analysis, choice, view))
    # Never more pixels than the image has: the browser enlarges as well.
    stored = [max(1, round(side * min(1.0, 1 / view.scale))) for side in (width, height)]
    part = image.resize((stored[0], stored[1]), Image.Resampling.BILINEAR, box=window, reducing_gap=2.0)
    detail = "" if window == (0, 0, image.width, image.height) else " Part of the image."
    return overlay.element(_data_address(part), f"{entry.name}: {choice.sentence}{detail}")


def _window(width: int, height: int, focus: Floats | None) -> tuple[float, float, float, float]:
    whole = (0.0, 0.0, float(width), float(height))
    if focus is None:
        return whole
    low, high = np.clip(focus[:2], 0, [width, height]), np.clip(focus[2:], 0, [width, height])
    side = max(_SURROUNDINGS * float((high - low).max()), _LEAST_PIXELS)
    if side >= _NEARLY_ALL * max(width, height):
        return whole
    span = np.minimum([side, side], [width, height])
    begin = np.clip((low + high) / 2 - span / 2, 0, np.array([width, height]) - span).round()
    end = np.minimum(begin + span.round(), [width, height])
    return float(begin[0]), float(begin[1]), float(end[0]), float(end[1])


def _data_address(part: Image.Image) -> str:
    coded = b""
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        part.save(buffer, "JPEG", quality=quality, optimize=True)
        coded = buffer.getvalue()
        if len(coded) <= _BYTES:
            break
    return f"data:image/jpeg;base64,{base64.b64encode(coded).decode()}"
