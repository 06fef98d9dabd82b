"""Which boxes a picture shows, and where."""

from dataclasses import dataclass

import numpy as np

from sagemaker_ssd.report.analysis import Analysis
from sagemaker_ssd.report.choosing import Choice
from sagemaker_ssd.report.instances import Floats
from sagemaker_ssd.report.overlay import Shape
from sagemaker_ssd.report.wording import plain

_NAME_LENGTH = 16
# Boxes drawn in one picture, of each kind.
_MOST_BOXES = 60


@dataclass(frozen=True)
class View:
    """A part of an image: its window in pixels of the image; one of them is `scale` units of the picture.

    `ratio` is what the image has of the pixels that boxes are given in.
    """

    window: tuple[float, float, float, float]
    ratio: Floats  # (4,)
    scale: float

    def place(self, corners: Floats) -> tuple[float, ...]:
        """Return a box (4,) of the set in units of the picture."""
        return tuple(((corners * self.ratio - np.tile(self.window[:2], 2)) * self.scale).tolist())


def focus_of(analysis: Analysis, choice: Choice) -> Floats | None:
    """Return the box (4,) to look at, None for the whole image."""
    box: Floats | None = None
    if choice.detection is not None:
        box = analysis.validation.detections.corners[choice.detection]
    elif choice.missed is not None:
        box = analysis.validation.objects.corners[choice.missed]
    return box


def shapes(analysis: Analysis, choice: Choice, view: View) -> list[Shape]:
    """Return objects, then detections of the score threshold, and the box to look at on top of all."""
    validation = analysis.validation
    objects = np.flatnonzero(validation.objects.images == choice.image)
    shown = (validation.detections.images == choice.image) & (validation.scores >= analysis.score_threshold)
    found = np.flatnonzero(shown)
    drawn = [_object(analysis, row, view) for row in objects[objects != choice.missed][:_MOST_BOXES].tolist()]
    drawn += [_detection(analysis, row, view) for row in found[found != choice.detection][:_MOST_BOXES].tolist()]
    if choice.detection is not None:
        drawn.append(_detection(analysis, choice.detection, view, focus=True))
    elif choice.missed is not None:
        drawn.append(_object(analysis, choice.missed, view, focus=True))
    return drawn


def _object(analysis: Analysis, row: int, view: View, *, focus: bool = False) -> Shape:
    objects = analysis.validation.objects
    name = analysis.validation.class_names[objects.classes[row]]
    return Shape("object", view.place(objects.corners[row]), name, focus)


def _detection(analysis: Analysis, row: int, view: View, *, focus: bool = False) -> Shape:
    validation, matches = analysis.validation, analysis.matches
    name = validation.class_names[validation.detections.classes[row]]
    kind = "wrong" if matches.counted[row] and not matches.right[row] else "right"
    label = f"{plain(name, _NAME_LENGTH)} {validation.scores[row]:.2f}"
    return Shape(kind, view.place(validation.detections.corners[row]), label, focus)
