"""Pictures of detections."""

import colorsys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw


def drawn(
    pixels: NDArray[np.uint8], detections: Sequence[Sequence[float]], names: Sequence[str], confidence: float
) -> Image.Image:
    """Draw the detections (class_id, score, xmin, ymin, xmax, ymax) that reach `confidence` on (H, W, 3) RGB."""
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    width, height = image.size
    thick = max(2, round(min(width, height) / 200))
    # The best one on top.
    for class_id, score, *box in reversed(detections):
        if score < confidence:
            continue
        colour = tuple(round(255 * part) for part in colorsys.hsv_to_rgb(int(class_id) * 0.618 % 1, 0.9, 0.9))
        left, top, right, bottom = (value * side for value, side in zip(box, (width, height) * 2, strict=True))
        draw.rectangle((left, top, max(left, right), max(top, bottom)), outline=colour, width=thick)
        name = names[int(class_id)] if int(class_id) < len(names) else str(int(class_id))
        text = f"{name} {score:.2f}"
        place = (left + thick, top + thick)
        draw.rectangle(draw.textbbox(place, text), fill=colour)
        draw.text(place, text, fill="black")
    return image
