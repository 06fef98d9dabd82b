"""Detections of all classes of an anchor in plain loops, after torchvision's SSD: what the graphs are compared with."""

from collections.abc import Sequence

import numpy as np

LEAST_SCORE = 0.01
VARIANCES = (0.1, 0.1, 0.2, 0.2)


def detect_all_classes(
    probabilities: np.ndarray, offsets: np.ndarray, anchors: np.ndarray, *, nms_threshold: float, nms_topk: int
) -> np.ndarray:
    """Return the rows (D, 6) of an image: class_id, score, xmin, ymin, xmax, ymax, by falling score.

    probabilities: (num_classes + 1, A), the background first. offsets: (4A,). anchors: (A, 4).
    """
    most = min(nms_topk, len(anchors))
    boxes = [
        decoded(row, anchor) for row, anchor in zip(offsets.reshape(-1, 4).tolist(), anchors.tolist(), strict=True)
    ]
    found = []
    for class_id, scores in enumerate(probabilities[1:].tolist()):
        enough = [number for number, score in enumerate(scores) if score >= LEAST_SCORE]
        enough.sort(key=lambda number: -scores[number])
        kept: list[int] = []
        for number in enough[:most]:
            if all(overlap(boxes[number], boxes[better]) < nms_threshold for better in kept):
                kept.append(number)
        found += [[class_id, scores[number], *boxes[number]] for number in kept]
    found.sort(key=lambda row: -row[1])
    return np.array(found[:most], np.float64).reshape(-1, 6)


def decoded(offsets: Sequence[float], anchor: Sequence[float]) -> list[float]:
    left, top, right, bottom = anchor
    width, height = right - left, bottom - top
    x = (left + right) / 2 + offsets[0] * VARIANCES[0] * width
    y = (top + bottom) / 2 + offsets[1] * VARIANCES[1] * height
    width *= np.exp(offsets[2] * VARIANCES[2])
    height *= np.exp(offsets[3] * VARIANCES[3])
    corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return [min(max(float(corner), 0.0), 1.0) for corner in corners]


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0.0) * max(height, 0.0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared) if shared else 0.0


def assert_same_detections(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """As many rows, each of them in both, both by falling score; nearly equal scores may change places."""
    assert found.shape == expected.shape
    assert (np.diff(found[:, 1]) <= 0).all()
    np.testing.assert_allclose(found[:, 1], expected[:, 1], atol=tolerance)
    distances = np.abs(found[:, None] - expected[None]).max(2, initial=0)
    assert (distances.min(0, initial=np.inf) < tolerance).all()
    assert (distances.min(1, initial=np.inf) < tolerance).all()


def drawn_predictions(
    images: int, classes: int, anchors: int, spread: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw scores before the softmax (images, classes + 1, A), offsets (images, 4A) and anchors (A, 4).

    Scores lie around the threshold, boxes reach past the border; nothing is found on the second image.
    """
    random = np.random.RandomState(anchors + classes)
    corners = random.uniform(-0.1, 0.8, (anchors, 2))
    boxes = np.hstack([corners, corners + random.uniform(0.05, 0.5, (anchors, 2))]).astype(np.float32)
    scores = random.normal(0, 1, (images, classes + 1, anchors)).astype(np.float32) * spread
    scores[:, 0] += 3 + 20 * (np.arange(images) == 1)[:, None]
    offsets = random.normal(0, 0.7, (images, 4 * anchors)).astype(np.float32)
    return scores, offsets, boxes


# Images, classes, anchors, nms_topk, nms_threshold, spread: one class and one anchor; more candidates than are looked
# at, of a class and in all; overlaps of every kind; only boxes that are the same suppressed.
CASES = [
    (1, 1, 1, 400, 0.45, 1.0),
    (3, 4, 300, 400, 0.45, 1.0),
    (1, 1, 300, 40, 0.45, 3.0),
    (3, 4, 300, 40, 0.45, 3.0),
    (1, 4, 300, 1, 0.45, 1.0),
    (1, 20, 120, 400, 0.1, 2.0),
    (2, 3, 120, 400, 1.0, 1.0),
]
