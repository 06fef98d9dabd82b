"""How well the objects of a channel fit the anchors of a network."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# MultiBoxTarget's overlap_threshold in the training graph.
OVERLAP: Final = 0.5
# More of them change the shares little, and 10,000 beside 24,576 anchors take six seconds on one core.
_MOST: Final = 10_000
_AT_ONCE: Final = 64


def anchor_fit(labels: Sequence[NDArray[np.float32]], anchors: NDArray[np.float32], image_shape: int) -> dict[str, Any]:
    """Return how many objects no anchor overlaps by 0.5, and how many are smaller than the smallest anchor.

    labels: (objects, 5 or 6) of each image, class_id, xmin, ymin, xmax, ymax as fractions. anchors: (A, 4). Of many
    objects evenly chosen ones are looked at. Sides are those of squares of the same area, in pixels at image_shape.
    """
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(objects[:, 1:5] for objects in labels)])
    if len(boxes) > _MOST:
        boxes = boxes[np.linspace(0, len(boxes) - 1, _MOST).astype(np.int64)]
    best = np.concatenate(
        [np.zeros(0), *(_best(boxes[begin : begin + _AT_ONCE], anchors) for begin in range(0, len(boxes), _AT_ONCE))]
    )
    smallest = float(np.sqrt(_areas(anchors.T).min()) * image_shape)
    sides = np.sqrt(_areas(boxes.T)) * image_shape
    return {
        "boxes": len(boxes),
        "unmatched": int((best < OVERLAP).sum()),
        "smallest": round(smallest, 2),
        "below_smallest": int((sides < smallest).sum()),
        "overlap": OVERLAP,
    }


def _best(boxes: NDArray[np.float32], anchors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the largest overlap of each of (N, 4) boxes with any of (A, 4) anchors."""
    own, others = boxes.T[:, :, None], anchors.T[:, None, :]
    width = np.minimum(own[2], others[2]) - np.maximum(own[0], others[0])
    height = np.minimum(own[3], others[3]) - np.maximum(own[1], others[1])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    overlap: NDArray[np.float32] = (shared / (_areas(own) + _areas(others) - shared)).max(axis=1)
    return overlap


def _areas(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the areas of boxes whose corners come first: (4, ...) as (...)."""
    areas: NDArray[np.float32] = (boxes[2] - boxes[0]) * (boxes[3] - boxes[1])
    return areas
