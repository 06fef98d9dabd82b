"""The report's pictures: which images tell most, the part of them that is shown, and the boxes on it as SVG."""

import base64
import io
import logging
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sagemaker_ssd.boxes import Floats, Indices
from sagemaker_ssd.errors import in_words
from sagemaker_ssd.fonts import dejavu_sans
from sagemaker_ssd.report.analysis import CLASSIFICATION, DUPLICATE, LOCALIZATION, Analysis
from sagemaker_ssd.report.wording import escape, plain, quoted

ReadImage = Callable[[int], Image.Image]

BEST_PICTURES = 3
MISTAKE_PICTURES = 6
# Boxes drawn in one picture, of each kind.
_MOST_BOXES = 60
# With more detections than this, and around a box to look at, the others have no labels.
_MOST_LABELS = 8
_NAME_LENGTH = 16
_LABEL_LENGTH = 22
# In units of the picture, for text of 17 units.
_LABEL_HEIGHT = 20.0
_LETTER_WIDTH = 9.5
# Longer side in pixels, and the size in bytes from which a lower quality is tried.
_SIDE = 560
_BYTES = 90_000
_QUALITIES = (82, 65, 45, 25)
# What is shown of an image around the box to look at: this many times its longer side, and at least so many pixels.
_SURROUNDINGS = 4.0
_LEAST_PIXELS = 200.0
# A part that is nearly all of the image is no part.
_NEARLY_ALL = 0.7

# Of pictures in pixels: the colours of the boxes, which are those of style.py, and the caption, in pixels.
_COLOURS = {"object": "#ffffff", "right": "#56b4e9", "wrong": "#ff9e3d"}
_FOCUS_COLOUR = "#f0e442"
_TEXT_HEIGHT, _LINE_HEIGHT, _MARGIN = 14, 19, 8

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """An image of the validation set, what there is to see, and the detection or object to look at, if it is one."""

    image: int
    sentence: str
    detection: int | None = None
    missed: int | None = None


def best_images(analysis: Analysis) -> list[Choice]:
    """Choose images with the best F1 of their own; of equal ones those with more objects, then higher scores."""
    right, wrong, boxes, scores = _counts(analysis)
    f1 = 2 * right / np.maximum(right + wrong + boxes, 1)
    order = np.lexsort([-scores, -right, -f1])
    return [
        Choice(int(image), _best_sentence(int(right[image]), int(wrong[image]), int(boxes[image])))
        for image in order[:BEST_PICTURES]
        if right[image]
    ]


def _counts(analysis: Analysis) -> tuple[Indices, Indices, Indices, Floats]:
    """Right and wrong detections, objects, and mean score of the right ones, for each image."""
    validation, matches = analysis.validation, analysis.matches
    size = len(validation.images)
    shown = matches.true_positive & (validation.scores >= analysis.score_threshold)
    images = validation.detections.images
    right = np.bincount(images[shown], minlength=size)
    wrong = np.bincount(images[analysis.mistakes.false_positives], minlength=size)
    boxes = np.bincount(validation.objects.images[~validation.difficult], minlength=size)
    scores = np.bincount(images[shown], validation.scores[shown], minlength=size) / np.maximum(right, 1)
    return right, wrong, boxes, scores


def _best_sentence(right: int, wrong: int, boxes: int) -> str:
    if right == boxes:
        found = "The only object is found" if boxes == 1 else f"All {boxes:,} objects are found"
    else:
        found = f"{right:,} of {in_words(boxes, 'object', 'objects')} {'is' if right == 1 else 'are'} found"
    return f"{found}, {in_words(wrong, 'detection', 'detections') if wrong else 'nothing'} wrong."


def false_detections(analysis: Analysis) -> list[Choice]:
    """Choose the wrong detections with the highest scores, one an image."""
    validation, mistakes = analysis.validation, analysis.mistakes
    _, first = np.unique(validation.detections.images[mistakes.false_positives], return_index=True)
    return [_false_choice(analysis, int(row)) for row in np.sort(first)[:MISTAKE_PICTURES]]


def _false_choice(analysis: Analysis, row: int) -> Choice:
    validation, mistakes = analysis.validation, analysis.mistakes
    detection = mistakes.false_positives[row]
    name = quoted(validation.class_names[validation.detections.classes[detection]])
    overlap, kind = mistakes.ious[row], mistakes.kinds[row]
    said = f"{name} with a score of {validation.scores[detection]:.2f}"
    if kind == CLASSIFICATION:
        other = validation.class_names[validation.objects.classes[mistakes.objects[row]]]
        sentence = f"{said}: the object is labelled {quoted(other)} (overlap {overlap:.2f})."
    elif kind == DUPLICATE:
        sentence = f"{said}: a second box on an object that is found already."
    elif kind == LOCALIZATION:
        own = analysis.matches.ious[detection]
        sentence = f"{said}: overlaps an object of its class by {own:.2f}, {analysis.overlap_threshold:.2f} is needed."
    else:
        sentence = f"{said}: nothing is labelled there."
    return Choice(int(validation.detections.images[detection]), sentence, detection=int(detection))


def missed_objects(analysis: Analysis, used: Collection[int]) -> list[Choice]:
    """Choose missed objects, class by class in turn, the largest of each class first, one an image.

    Images that are `used` come last, since they are shown already.
    """
    validation = analysis.validation
    objects = validation.objects
    missed = np.flatnonzero(~analysis.mistakes.found & ~validation.difficult)
    sizes = np.array([max(image.width * image.height, 1.0) for image in validation.images])
    shares = (objects.areas() / sizes[objects.images])[missed] if len(missed) else np.zeros(0)
    again = np.isin(objects.images[missed], list(used)).astype(np.int64)
    groups = again * len(validation.class_ids) + objects.classes[missed]
    order = np.lexsort([-shares, groups])
    turns = np.empty(len(missed), np.int64)
    turns[order] = np.arange(len(missed)) - np.searchsorted(groups[order], groups[order], side="left")
    order = missed[np.lexsort([groups, turns, again])]
    _, first = np.unique(objects.images[order], return_index=True)
    return [_missed_choice(analysis, int(order[row])) for row in np.sort(first)[:MISTAKE_PICTURES]]


def _missed_choice(analysis: Analysis, missed: int) -> Choice:
    validation = analysis.validation
    box = validation.objects.corners[missed]
    width, height = box[2:] - box[:2]
    sentence = (
        f"{quoted(validation.class_names[validation.objects.classes[missed]])} of {width:.0f} × {height:.0f} pixels is "
        f"{_what_became(analysis, missed)}."
    )
    return Choice(int(validation.objects.images[missed]), sentence, missed=missed)


def _what_became(analysis: Analysis, missed: int) -> str:
    validation, matches, mistakes = analysis.validation, analysis.matches, analysis.mistakes
    taken = mistakes.false_positives[(mistakes.objects == missed) & (mistakes.kinds == CLASSIFICATION)]
    if len(taken):
        other = validation.class_names[validation.detections.classes[taken[0]]]
        return f"taken for {quoted(other)} (score {validation.scores[taken[0]]:.2f})"
    near = (matches.objects == missed) & (matches.ious >= analysis.overlap_threshold)
    lower = validation.scores[near & (validation.scores < analysis.score_threshold)]
    if len(lower):
        return f"found with a score of {lower[0]:.2f} only"
    if analysis.left_out is None:
        return "not found at any score"
    # Rounded up: of those with just this score some may have been left out.
    return f"not found at any score above {math.ceil(1000 * analysis.left_out) / 1000:.3f}"


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
    view, width, height = _view(analysis, choice, image)
    overlay = Overlay(width, height, _shapes(analysis, choice, view))
    # Never more pixels than the image has: the browser enlarges as well.
    stored = [max(1, round(side * min(1.0, 1 / view.scale))) for side in (width, height)]
    part = image.resize((stored[0], stored[1]), Image.Resampling.BILINEAR, box=view.window, reducing_gap=2.0)
    detail = "" if view.window == (0, 0, image.width, image.height) else " Part of the image."
    name = analysis.validation.images[choice.image].name
    return overlay.element(_data_address(part), f"{name}: {choice.sentence}{detail}")


def _view(analysis: Analysis, choice: Choice, image: Image.Image) -> tuple["View", int, int]:
    """Return the part of the image that is shown, and the picture's width and height in its units."""
    entry = analysis.validation.images[choice.image]
    # The image may be a smaller copy of that which the boxes were drawn on.
    ratio = np.array([image.width / (entry.width or image.width), image.height / (entry.height or image.height)] * 2)
    focus = _focus(analysis, choice)
    window = _window(image.width, image.height, None if focus is None else focus * ratio)
    view = View(window, ratio, _SIDE / max(window[2] - window[0], window[3] - window[1]))
    width, height = (max(1, round((window[side + 2] - window[side]) * view.scale)) for side in (0, 1))
    return view, width, height


def captioned_picture(analysis: Analysis, choice: Choice, image: Image.Image) -> Image.Image:
    """Draw a choice as pixels, its boxes on the image and its sentence below, for viewers that take no SVG."""
    image = image if image.mode == "RGB" else image.convert("RGB")
    view, width, height = _view(analysis, choice, image)
    part = image.resize((width, height), Image.Resampling.BILINEAR, box=view.window, reducing_gap=2.0)
    overlay = Overlay(width, height, _shapes(analysis, choice, view))
    overlay.draw_on(part)
    font = dejavu_sans(_TEXT_HEIGHT)
    lines = _wrapped(plain(choice.sentence, 300), font, width - 2 * _MARGIN)
    lines += _wrapped(plain(analysis.validation.images[choice.image].name, 300), font, width - 2 * _MARGIN)
    drawn = Image.new("RGB", (width, height + 2 * _MARGIN + round(_LINE_HEIGHT * len(lines))), "white")
    drawn.paste(part)
    ImageDraw.Draw(drawn).text(
        (_MARGIN, height + _MARGIN), "\n".join(lines), fill="black", font=font, spacing=_LINE_HEIGHT - _TEXT_HEIGHT
    )
    return drawn


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Break a text into lines of at most `width` pixels; a word that is longer is broken too."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
            continue
        lines.append("")
        for letter in word:
            if lines[-1] and font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    return [line for line in lines if line]


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


@dataclass(frozen=True)
class Shape:
    """A box in units of the picture; kind: object, right or wrong; focus: the one that the picture is about."""

    kind: str
    corners: tuple[float, ...]
    label: str
    focus: bool = False


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


def _focus(analysis: Analysis, choice: Choice) -> Floats | None:
    """Return the box (4,) to look at, None for the whole image."""
    box: Floats | None = None
    if choice.detection is not None:
        box = analysis.validation.detections.corners[choice.detection]
    elif choice.missed is not None:
        box = analysis.validation.objects.corners[choice.missed]
    return box


def _shapes(analysis: Analysis, choice: Choice, view: View) -> list[Shape]:
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
    right = matches.true_positive[row] or matches.ignored[row]
    label = f"{plain(name, _NAME_LENGTH)} {validation.scores[row]:.2f}"
    return Shape("right" if right else "wrong", view.place(validation.detections.corners[row]), label, focus)


class _Label(NamedTuple):
    """A text and the room that it takes."""

    kind: str
    text: str
    left: float
    top: float
    width: float

    def overlaps(self, other: "_Label") -> bool:
        apart = self.left + self.width <= other.left or other.left + other.width <= self.left
        return not apart and abs(self.top - other.top) < _LABEL_HEIGHT

    def element(self) -> str:
        place = f'x="{self.left:.1f}" y="{self.top + _LABEL_HEIGHT - 5:.1f}"'
        return f'<text class="{self.kind}" {place}>{escape(self.text)}</text>'


@dataclass(frozen=True)
class Overlay:
    """A picture of `width` by `height` units and the boxes on it, later ones above earlier ones."""

    width: int
    height: int
    shapes: Sequence[Shape]

    def element(self, data_address: str, alternative: str) -> str:
        """Return the picture with its boxes as one image, described by `alternative`."""
        seen = [shape for shape in self.shapes if self._inside(shape)]
        drawn = [self._rectangle(shape) for shape in seen] + [label.element() for label in self._labels(seen)]
        size = f'width="{self.width}" height="{self.height}"'
        return (
            f'<svg class="picture" viewBox="0 0 {self.width} {self.height}" role="img" '
            f'aria-label="{escape(alternative, 400)}">'
            f'<image {size} preserveAspectRatio="none" href="{data_address}"/>{"".join(drawn)}</svg>'
        )

    def draw_on(self, image: Image.Image) -> None:
        """Draw the boxes on an image of this size, in the colours that they have in the page."""
        pen, font = ImageDraw.Draw(image), dejavu_sans(_TEXT_HEIGHT)
        seen = [shape for shape in self.shapes if self._inside(shape)]
        for shape in seen:
            left, top, right, bottom = shape.corners
            corners = (left, top, max(right, left + 1), max(bottom, top + 1))
            width = 4 if shape.focus else 2
            # As in the page: a dark casing, so that a line is seen on every ground.
            pen.rectangle(
                [corners[0] - 1, corners[1] - 1, corners[2] + 1, corners[3] + 1], outline="black", width=width + 2
            )
            colour = _FOCUS_COLOUR if shape.focus and shape.kind == "object" else _COLOURS[shape.kind]
            pen.rectangle(corners, outline=colour, width=width)
        for label in self._labels(seen):
            place = (label.left, label.top + 1)
            pen.text(place, label.text, fill=_COLOURS[label.kind], font=font, stroke_width=2, stroke_fill="black")

    def _inside(self, shape: Shape) -> bool:
        left, top, right, bottom = shape.corners
        return left < self.width and top < self.height and right > 0 and bottom > 0

    def _rectangle(self, shape: Shape) -> str:
        left, top, right, bottom = shape.corners
        place = f'x="{left:.1f}" y="{top:.1f}" width="{max(right - left, 1):.1f}" height="{max(bottom - top, 1):.1f}"'
        focus = " focus" if shape.focus else ""
        return f'<rect class="casing{focus}" {place}/><rect class="box {shape.kind}{focus}" {place}/>'

    def _labels(self, seen: Sequence[Shape]) -> list[_Label]:
        """Label the box to look at, or else detections that are few; where there is no room, none."""
        named = [shape for shape in seen if shape.focus]
        if not named:
            named = [shape for shape in seen if shape.kind != "object"]
            named = named if len(named) <= _MOST_LABELS else []
        placed: list[_Label] = []
        for shape in named:
            free = (label for label in self._places(shape) if not any(map(label.overlaps, placed)))
            placed += [label for label in (next(free, None),) if label is not None]
        return placed

    def _places(self, shape: Shape) -> list[_Label]:
        """Above the box, inside of it at its top, and below, as far as they are in the picture; above if none is."""
        left, top, _, bottom = shape.corners
        text = plain(shape.label, _LABEL_LENGTH)
        width = _LETTER_WIDTH * len(text)
        x = max(3.0, min(left, self.width - width - 3))
        labels = [_Label(shape.kind, text, x, y, width) for y in (top - _LABEL_HEIGHT - 3, top + 3, bottom + 3)]
        inside = [label for label in labels if 0 <= label.top <= self.height - _LABEL_HEIGHT]
        return inside or [labels[1]._replace(top=max(0.0, min(top, self.height - _LABEL_HEIGHT)))]
