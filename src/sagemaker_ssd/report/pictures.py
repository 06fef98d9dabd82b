"""The most telling pictures: what went best, the surest mistakes, what was missed."""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from sagemaker_ssd.report.matching import NOTHING, Matched, Rows

ReadImage = Callable[[int], Image.Image]
_EACH: Final = 4
_LONGEST: Final = 560
# More boxes than these hide the image.
_DRAWN, _NAMED = 30, 12
_TRUTH, _FOUND = (0, 158, 115), (213, 94, 0)


@dataclass(frozen=True)
class Picture:
    """A JPEG as a data address, or none where the image could not be read, with a caption."""

    address: str
    caption: str


@dataclass(frozen=True)
class Scene:
    """What pictures are made of. names: of the classes; files: of the images by id."""

    objects: dict[int, Rows]
    found: dict[int, Rows]
    matched: Matched
    names: Sequence[str]
    files: dict[int, str]
    threshold: float
    read_image: ReadImage


def best(scene: Scene) -> list[Picture]:
    """Return images whose objects were all found with the highest scores."""
    worth = {}
    for image, scores in scene.matched.found_at.items():
        truth = scene.objects.get(image, NOTHING)
        if len(scores) and (scores > 0).all() and (truth.more == 0).all():
            worth[image] = float(scores.min())
    chosen = sorted(worth, key=lambda image: (-worth[image], image))[:_EACH]
    return [_picture(scene, image, f"all {len(scene.objects[image].boxes)} found") for image in chosen]


def surest_mistakes(scene: Scene) -> list[Picture]:
    """Return the images of the wrong detections with the highest scores, one an image."""
    pictures: dict[int, Picture] = {}
    for number in np.flatnonzero(~scene.matched.right):
        image = int(scene.matched.images[number])
        if image in pictures:
            continue
        name, score = scene.names[scene.matched.classes[number]], scene.matched.scores[number]
        on = scene.matched.on[number]
        what = "where nothing is" if on < 0 else f"on {scene.names[on]}"
        if on == scene.matched.classes[number]:
            what = "a second time on the same object"
        pictures[image] = _picture(scene, image, f"{name}, {score:.2f}, {what}")
        if len(pictures) == _EACH:
            break
    return list(pictures.values())


def missed(scene: Scene) -> list[Picture]:
    """Return the images with the most objects that no detection above the threshold is on."""
    lost = {}
    for image, scores in scene.matched.found_at.items():
        truth = scene.objects.get(image, NOTHING)
        count = int(((scores < scene.threshold) & (truth.more == 0)).sum())
        if count:
            lost[image] = count
    chosen = sorted(lost, key=lambda image: (-lost[image], image))[:_EACH]
    return [
        _picture(scene, image, f"{lost[image]} of {len(scene.objects[image].boxes)} objects missed") for image in chosen
    ]


def _picture(scene: Scene, image: int, what: str) -> Picture:
    caption = f"{scene.files.get(image, image)}: {what}"
    try:
        picture = scene.read_image(image).convert("RGB")
    except Exception as error:  # a picture that is missing is no reason to do without the report
        return Picture("", f"{caption} (the image could not be read: {error})")
    scale = min(1.0, _LONGEST / max(picture.size))
    picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    draw = ImageDraw.Draw(picture)
    for box in scene.objects.get(image, NOTHING).boxes[:200]:
        draw.rectangle([float(value) * scale for value in box], outline=_TRUTH, width=3)
    _draw_found(draw, scene, image, scale)
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=80)
    return Picture(f"data:image/jpeg;base64,{base64.b64encode(written.getvalue()).decode()}", caption)


def _draw_found(draw: ImageDraw.ImageDraw, scene: Scene, image: int, scale: float) -> None:
    found = scene.found.get(image, NOTHING)
    ranked = [number for number in np.argsort(-found.more, kind="stable") if found.more[number] >= scene.threshold]
    # The surest on top.
    for rank, number in reversed(list(enumerate(ranked[:_DRAWN]))):
        left, top, right, bottom = (float(value) * scale for value in found.boxes[number])
        draw.rectangle([left, top, max(left, right), max(top, bottom)], outline=_FOUND, width=1)
        if rank < _NAMED:
            text = f"{scene.names[found.classes[number]][:16]} {found.more[number]:.2f}"
            place = (left + 2, max(0.0, top - 11))
            draw.rectangle(draw.textbbox(place, text), fill=_FOUND)
            draw.text(place, text, fill="white")
