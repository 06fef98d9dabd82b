"""The rules for boxes, alike for every input format: class ids, the image's border, area."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Decided for rounding in annotation tools: a box may reach this far past the border and is clipped.
BORDER_PIXELS = 2
# Fractions are stored in float32, so a box that ends at the border may seem to pass it by less than this.
_ROUNDING = 1e-6
CLIPPED = f"box past the image's border by up to {BORDER_PIXELS} px, clipped"
NO_AREA = "box without area or inverted, dropped"
ONLY_NO_AREA = "image whose boxes all have no area, left out"


def valid_class_ids(class_ids: NDArray[np.floating[Any]], num_classes: int) -> NDArray[np.bool_]:
    """Tell which of (n,) class ids are whole numbers from 0 to num_classes - 1."""
    valid: NDArray[np.bool_] = (class_ids >= 0) & (class_ids < num_classes) & (class_ids == np.floor(class_ids))
    return valid


def pixels_outside(corners: NDArray[np.floating[Any]], width: float, height: float) -> NDArray[np.float64]:
    """Tell how many pixels each of (n, 4) corners, in fractions of the image, lies past its border; (n,)."""
    fractions = np.maximum(-corners, corners - 1).astype(np.float64)
    fractions[fractions < _ROUNDING] = 0
    outside: NDArray[np.float64] = (fractions * (width, height, width, height)).max(axis=1, initial=0)
    return outside


def too_far_outside(outside: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which of (n,) distances in pixels are more than is clipped."""
    # A hundredth of a pixel for float32 in the fractions.
    far: NDArray[np.bool_] = outside > BORDER_PIXELS + 0.01
    return far


def with_area(corners: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Tell which of (n, 4) corners the reader keeps: xmax > xmin and ymax > ymin."""
    mask: NDArray[np.bool_] = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
    return mask


def id_range(num_classes: int) -> str:
    """Say which class ids there are."""
    return f"ids run from 0 to {num_classes - 1}"
