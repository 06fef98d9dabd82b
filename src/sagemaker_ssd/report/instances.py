"""Ground truth and detections in COCO's form as arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.report.wording import plain

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]


class ImageEntry(NamedTuple):
    """An image of the ground truth; width and height in pixels, 0 where they are not given."""

    image_id: int
    name: str
    width: float
    height: float


@dataclass(frozen=True)
class Boxes:
    """B boxes: indices into the set's images and classes, and corners xmin, ymin, xmax, ymax in pixels."""

    images: Indices  # (B,)
    classes: Indices  # (B,)
    corners: Floats  # (B, 4)

    def __len__(self) -> int:
        return len(self.images)

    def areas(self) -> Floats:
        """Return the areas in square pixels, (B,)."""
        sides = np.maximum(self.corners[:, 2:] - self.corners[:, :2], 0.0)
        product: Floats = sides[:, 0] * sides[:, 1]
        return product


@dataclass(frozen=True)
class ValidationSet:
    """Images, classes, G objects and D detections; detections by falling score, equal scores as they came."""

    images: tuple[ImageEntry, ...]
    class_ids: tuple[int, ...]
    class_names: tuple[str, ...]
    objects: Boxes
    difficult: Flags  # (G,)
    detections: Boxes
    scores: Floats  # (D,)


def read_instances(ground_truth: Mapping[str, Any], detections: Sequence[Mapping[str, Any]]) -> ValidationSet:
    """Read COCO's instances and results; boxes of unknown images and numbers that are not finite are left out."""
    images = [_image(entry) for entry in ground_truth.get("images", ())]
    annotations = ground_truth.get("annotations", ())
    names = {int(entry["id"]): plain(entry.get("name", entry["id"])) for entry in ground_truth.get("categories", ())}
    used = {int(entry["category_id"]) for entry in annotations} | {int(entry["category_id"]) for entry in detections}
    class_ids = tuple(sorted(names.keys() | used))
    places = {image.image_id: index for index, image in enumerate(images)}
    numbers = {class_id: index for index, class_id in enumerate(class_ids)}
    objects, kept = _boxes(annotations, places, numbers)
    difficult = np.array([bool(entry.get("ignore") or entry.get("iscrowd")) for entry in annotations], np.bool_)
    found, good = _boxes(detections, places, numbers)
    scores = np.array([entry["score"] for entry in detections], np.float64)
    good &= np.isfinite(scores)
    order = np.flatnonzero(good)
    order = order[np.argsort(-scores[order], kind="stable")]
    return ValidationSet(
        images=tuple(images),
        class_ids=class_ids,
        class_names=tuple(names.get(class_id, str(class_id)) for class_id in class_ids),
        objects=_chosen(objects, np.flatnonzero(kept)),
        difficult=difficult[kept],
        detections=_chosen(found, order),
        scores=scores[order],
    )


def _image(entry: Mapping[str, Any]) -> ImageEntry:
    image_id = int(entry["id"])
    name = plain(entry.get("file_name") or f"image {image_id}")
    return ImageEntry(image_id, name, float(entry.get("width") or 0), float(entry.get("height") or 0))


def _boxes(
    entries: Sequence[Mapping[str, Any]], places: Mapping[int, int], numbers: Mapping[int, int]
) -> tuple[Boxes, Flags]:
    """Return all boxes, and which of them are in an image of the set and finite."""
    images = np.array([places.get(entry["image_id"], -1) for entry in entries], np.int64)
    classes = np.array([numbers[entry["category_id"]] for entry in entries], np.int64)
    corners = np.array([entry["bbox"] for entry in entries], np.float64).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    return Boxes(images, classes, corners), (images >= 0) & np.isfinite(corners).all(axis=1)


def _chosen(boxes: Boxes, rows: Indices) -> Boxes:
    return Boxes(boxes.images[rows], boxes.classes[rows], boxes.corners[rows])
