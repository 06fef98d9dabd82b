"""Boxes as they are written to files, between fractions of an image and COCO's pixels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_PIXEL_DIGITS, _SCORE_DIGITS = 2, 6


def corners_to_box(corners: NDArray[np.float32], width: int, height: int) -> list[float]:
    """Return COCO's [left, top, width, height] in pixels of xmin, ymin, xmax, ymax in fractions."""
    left, top, right, bottom = (
        float(value) * side for value, side in zip(corners, (width, height, width, height), strict=True)
    )
    return [round(value, _PIXEL_DIGITS) for value in (left, top, right - left, bottom - top)]


def box_to_corners(box: Sequence[float], width: int, height: int) -> list[float]:
    """Return the fractions that a box in pixels stands for."""
    left, top, wide, high = box
    return [left / width, top / height, (left + wide) / width, (top + high) / height]


def written_score(score: float) -> float:
    """Return a score as it is written."""
    return round(float(score), _SCORE_DIGITS)
