"""The augmentation of training images: the SSD paper's (arXiv:1512.02325, section 2.2) as MXNet's reader has it.

The figures are those of mxnet-ssd's configuration, the built-in's open ancestor, and the steps are those of MXNet
1.9.1's `src/io/image_det_aug_default.cc`: colour, mirroring, padding, crop, resizing. There each step copies the whole
image; here the geometry is drawn first, on fractions of the image, so that one crop and one resizing remain, and the
colours are changed on the small picture.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from sagemaker_ssd.boxes import box_iou
from sagemaker_ssd.channels.images import Pixels, decode, read_header

Boxes = NDArray[np.float32]
Window = tuple[float, float, float, float]


@dataclass(frozen=True)
class Augmentation:
    """How often an image is changed, and how much.

    pad_scale: the side of the padded picture in sides of the image, from 1 on; below pad_from nothing is padded.
    crop_scale: the geometric mean of a crop's sides in fractions of the picture. crop_aspect_ratio: its width over its
    height in pixels. crop_overlaps: of each sampler the least overlap (IoU) of a crop with some object; the samplers
    are tried in random order, each crop_tries times, until a crop has it and holds the centre of an object.
    hue, lightness, saturation: the most that is added or taken off, in OpenCV's HLS of 8 bits, where hue ends at 180.
    contrast: the most that a factor is above or below 1. Each of the four is changed with colour_probability.
    oversampling: a JPEG is decoded smaller only where it is still so many times larger than it is shown, so that the
    interpolations differ as much as on the whole image.
    """

    mirror_probability: float = 0.5
    pad_probability: float = 0.5
    pad_scale: float = 4.0
    pad_from: float = 1.05
    fill: int = 127
    crop_probability: float = 5 / 6
    crop_scale: tuple[float, float] = (0.3, 1.0)
    crop_aspect_ratio: tuple[float, float] = (0.5, 2.0)
    crop_overlaps: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    crop_tries: int = 25
    colour_probability: float = 0.5
    hue: int = 18
    lightness: int = 32
    saturation: int = 32
    contrast: float = 0.5
    interpolations: tuple[int, ...] = (
        cv2.INTER_NEAREST,
        cv2.INTER_LINEAR,
        cv2.INTER_CUBIC,
        cv2.INTER_AREA,
        cv2.INTER_LANCZOS4,
    )
    oversampling: float = 2.0


AUGMENTATION: Final = Augmentation()
_HLS_LIMITS: Final = (180, 255, 255)
_LEVELS: Final = np.arange(256)[:, None]
# MXNet leaves out a change of contrast too small to see.
_LEAST_CONTRAST: Final = 1e-3


def augment(
    generator: np.random.Generator,
    image: bytes,
    objects: Boxes,
    image_shape: int,
    augmentation: Augmentation = AUGMENTATION,
) -> tuple[Pixels, Boxes]:
    """Return a new view of an image, (image_shape, image_shape, 3) RGB, and the objects that it shows.

    objects: (n, 5 or more), class_id, xmin, ymin, xmax, ymax in fractions of the upright image. An object is shown
    where its centre is, and is cut off at the border. Raises UndecodableImageError.
    """
    header = read_header(image)
    if header is None:
        # Of a file that is neither JPEG nor PNG no size is known before it is decoded.
        decoded = decode(image)
        height, width = decoded.shape[:2]
        pixels: Pixels | None = decoded
    else:
        pixels, (width, height) = None, header.upright_size
    mirrored, window, objects = _draw_geometry(generator, objects, width / height, augmentation)
    shown = _shown(window, image_shape)
    view = np.full((image_shape, image_shape, 3), augmentation.fill, np.uint8)
    interpolation = augmentation.interpolations[generator.integers(len(augmentation.interpolations))]
    added, contrast = _draw_colours(generator, augmentation)
    if shown is not None:
        (left, top, right, bottom), (x_min, y_min, x_max, y_max) = shown
        if pixels is None:
            times = min((x_max - x_min) * width / (right - left), (y_max - y_min) * height / (bottom - top))
            # A JPEG that is shown so many times smaller than it is can be decoded that much smaller.
            reduction = next((factor for factor in (8, 4, 2) if factor * augmentation.oversampling <= times), 1)
            pixels = decode(image, header, reduction=reduction)
            height, width = pixels.shape[:2]
        x, y = min(int(x_min * width), width - 1), min(int(y_min * height), height - 1)
        part = pixels[y : max(y + 1, round(y_max * height)), x : max(x + 1, round(x_max * width))]
        part = cv2.resize(part, (right - left, bottom - top), interpolation=interpolation)
        view[top:bottom, left:right] = _recoloured(part, added, contrast)
    return (cv2.flip(view, 1) if mirrored else view), objects


def _draw_geometry(
    generator: np.random.Generator, objects: Boxes, aspect_ratio: float, augmentation: Augmentation
) -> tuple[bool, Window, Boxes]:
    """Draw mirroring, padding and crop: whether the view is mirrored, its window, and the objects in the view.

    aspect_ratio: the image's width over its height. The window is left, top, width, height in fractions of the image
    before it is mirrored, and reaches beyond the image where that is padded.
    """
    objects = objects.copy()
    mirrored = bool(generator.random() < augmentation.mirror_probability)
    if mirrored:
        objects[:, [1, 3]] = 1 - objects[:, [3, 1]]
    left, top, width, height = 0.0, 0.0, 1.0, 1.0
    if generator.random() < augmentation.pad_probability:
        scale = generator.uniform(1, augmentation.pad_scale)
        right_of, below = generator.uniform(0, scale - 1, 2)
        if scale >= augmentation.pad_from:
            left, top, width, height = -right_of, -below, scale, scale
            objects[:, 1:5] = _seen_from((left, top, width, height), objects[:, 1:5])
    if generator.random() < augmentation.crop_probability:
        drawn = _draw_crop(generator, objects[:, 1:5], aspect_ratio, augmentation)
        if drawn is not None:
            crop, shown = drawn
            objects = objects[shown]
            objects[:, 1:5] = _seen_from(crop, objects[:, 1:5])
            left, top = left + crop[0] * width, top + crop[1] * height
            width, height = crop[2] * width, crop[3] * height
    return mirrored, (1 - left - width if mirrored else left, top, width, height), objects


def _draw_crop(
    generator: np.random.Generator, boxes: Boxes, aspect_ratio: float, augmentation: Augmentation
) -> tuple[Window, NDArray[np.bool_]] | None:
    """Draw crops of a picture until one fits its boxes (n, 4), or any at all where there is no box; None if none fits.

    Returns the crop and which boxes' centres it holds, (n,).
    With the scale s the square of a crop's aspect ratio, in fractions of the picture, is uniform between the wider of
    s^2 and the least ratio and the narrower of 1 / s^2 and the largest one.
    """
    (least_scale, most_scale), (least_ratio, most_ratio) = augmentation.crop_scale, augmentation.crop_aspect_ratio
    for least_overlap in generator.permutation(augmentation.crop_overlaps).tolist():
        numbers = generator.random((augmentation.crop_tries, 4))
        scale = least_scale + (most_scale - least_scale) * numbers[:, 0]
        least = np.maximum(least_ratio / aspect_ratio, scale**2)
        ratio = np.sqrt(least + (np.minimum(most_ratio / aspect_ratio, scale**-2) - least) * numbers[:, 1])
        sides = np.minimum(1, np.stack([scale * ratio, scale / ratio], axis=1))
        corner = numbers[:, 2:] * (1 - sides)
        crops = np.concatenate([corner, sides], axis=1)
        holds = _holds_centres(crops, boxes)
        if len(boxes):
            overlap = box_iou(np.concatenate([corner, corner + sides], axis=1), boxes.astype(np.float64))
            fits = holds.any(axis=1) & (overlap >= least_overlap).any(axis=1)
        else:
            fits = np.ones(len(crops), np.bool_)
        first = int(fits.argmax())
        if fits[first]:
            left, top, width, height = crops[first].tolist()
            return (left, top, width, height), holds[first]
    return None


def _holds_centres(crops: NDArray[np.float64], boxes: Boxes) -> NDArray[np.bool_]:
    """Say which of (n, 4) crops holds the centre of which of (m, 4) boxes: (n, m)."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 - crops[:, None, :2]
    inside: NDArray[np.bool_] = ((centres >= 0) & (centres < crops[:, None, 2:])).all(axis=2)
    return inside


def _seen_from(window: Window, boxes: Boxes) -> NDArray[np.float64]:
    """Return boxes (n, 4) in fractions of a window, cut off at its border."""
    corners = (boxes.reshape(-1, 2, 2) - np.array(window[:2])) / np.array(window[2:])
    seen: NDArray[np.float64] = np.minimum(1, np.maximum(0, corners)).reshape(-1, 4)
    return seen


def _shown(window: Window, image_shape: int) -> tuple[tuple[int, int, int, int], Window] | None:
    """Return the part of a view that shows image, in its pixels, and what of the image that is, in fractions of it.

    Both are xmin, ymin, xmax, ymax. None where all of the view is padding.
    """
    left, top, width, height = window
    first_x, last_x = max(0.0, -left / width), min(1.0, (1 - left) / width)
    first_y, last_y = max(0.0, -top / height), min(1.0, (1 - top) / height)
    x_min, y_min = round(first_x * image_shape), round(first_y * image_shape)
    x_max, y_max = round(last_x * image_shape), round(last_y * image_shape)
    if x_max <= x_min or y_max <= y_min:
        return None
    return (x_min, y_min, x_max, y_max), (
        max(0.0, left + first_x * width),
        max(0.0, top + first_y * height),
        min(1.0, left + last_x * width),
        min(1.0, top + last_y * height),
    )


def _draw_colours(generator: np.random.Generator, augmentation: Augmentation) -> tuple[tuple[int, int, int], float]:
    """Draw what is added to hue, lightness and saturation, whole numbers, and the factor of the contrast."""
    drawn = generator.uniform(-1, 1, 4) * (generator.random(4) < augmentation.colour_probability)
    hue, lightness, saturation, contrast = drawn.tolist()
    added = (
        int(hue * augmentation.hue),
        int(lightness * augmentation.lightness),
        int(saturation * augmentation.saturation),
    )
    return added, 1 + contrast * augmentation.contrast


def _recoloured(pixels: Pixels, added: tuple[int, int, int], contrast: float) -> Pixels:
    """Return BGR pixels as RGB, with values added in HLS, and then multiplied."""
    if any(added):
        table = np.minimum(_HLS_LIMITS, np.maximum(0, _LEVELS + np.array(added))).astype(np.uint8)
        pixels = cv2.LUT(cv2.cvtColor(pixels, cv2.COLOR_BGR2HLS), table[None])
        pixels = cv2.cvtColor(pixels, cv2.COLOR_HLS2RGB)
    else:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return cv2.convertScaleAbs(pixels, alpha=contrast) if abs(contrast - 1) > _LEAST_CONTRAST else pixels
