"""Many draws of MXNet's own augmentation and of this program's, measured from their output; run it for the table."""

import argparse
import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import mxnet as mx
import numpy as np

from sagemaker_ssd.batches.augment import Augmentation, augment

SIDE = 64
WIDTH, HEIGHT = 200, 150
NOTHING: dict[str, Any] = {
    "mirror_probability": 0.0,
    "pad_probability": 0.0,
    "crop_probability": 0.0,
    "colour_probability": 0.0,
    "interpolations": (cv2.INTER_LINEAR,),
}
# mxnet-ssd's configuration, as the options of MXNet's reader.
MXNET = {
    "num_crop_sampler": 5,
    "min_crop_scales": (0.3,) * 5,
    "max_crop_scales": (1.0,) * 5,
    "min_crop_aspect_ratios": (0.5,) * 5,
    "max_crop_aspect_ratios": (2.0,) * 5,
    "min_crop_overlaps": (0.1, 0.3, 0.5, 0.7, 0.9),
    "max_crop_overlaps": (1.0,) * 5,
    "min_crop_sample_coverages": (0.0,) * 5,
    "max_crop_sample_coverages": (1.0,) * 5,
    "min_crop_object_coverages": (0.0,) * 5,
    "max_crop_object_coverages": (1.0,) * 5,
    "max_crop_trials": (25,) * 5,
    "crop_emit_mode": "center",
    "max_pad_scale": 4.0,
    "fill_value": 127,
}
MXNET_COLOURS = {
    "max_random_hue": 18,
    "max_random_saturation": 32,
    "max_random_illumination": 32,
    "max_random_contrast": 0.5,
}
_COLOUR_KINDS = ("hue", "saturation", "illumination", "contrast")


def colours_of_mxnet(probability: float) -> dict[str, float]:
    return MXNET_COLOURS | {f"random_{kind}_prob": probability for kind in _COLOUR_KINDS}


EVERYTHING = (
    MXNET
    | colours_of_mxnet(0.5)
    | {"rand_mirror_prob": 0.5, "rand_pad_prob": 0.5, "rand_crop_prob": 5 / 6, "inter_method": 10}
)
View = tuple[np.ndarray, np.ndarray]


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels[:, :, ::-1])[1].tobytes()


def coordinates() -> np.ndarray:
    """Red is the column, green the row, blue is far from the padding's 127."""
    columns, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    return np.stack([columns, rows, np.full_like(rows, 20)], axis=-1).astype(np.uint8)


def checks() -> np.ndarray:
    """16 px of noise a side, whose enlargement tells the five interpolations apart."""
    return np.random.RandomState(1).randint(0, 256, (16, 16, 3)).astype(np.uint8)


def mxnet_views(image: bytes, objects: np.ndarray, draws: int, options: dict[str, Any]) -> Iterator[View]:
    """Yield MXNet's views (SIDE, SIDE, 3) RGB with the objects (n, 5) in them; its random numbers go on over epochs."""
    records = min(draws, 500)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "image.rec")
        writer = mx.recordio.MXRecordIO(path, "w")
        for number in range(records):
            label = [2, 5, *objects.ravel().tolist()]
            writer.write(mx.recordio.pack(mx.recordio.IRHeader(0, label, number, 0), image))
        writer.close()
        reader = mx.io.ImageDetRecordIter(
            path_imgrec=path,
            batch_size=records,
            data_shape=(3, SIDE, SIDE),
            label_pad_width=2 + objects.size + 4,
            preprocess_threads=1,
            shuffle=False,
            verbose=False,
            resize_mode="force",
            **({"inter_method": 1} | options),
        )
        for _ in range(-(-draws // records)):
            for batch in reader:
                pixels = batch.data[0].asnumpy().transpose(0, 2, 3, 1).astype(np.uint8)
                for view, row in zip(pixels, batch.label[0].asnumpy(), strict=True):
                    yield view, row[6 : 4 + int(row[3])].reshape(-1, 5).copy()
            reader.reset()


def our_views(image: bytes, objects: np.ndarray, draws: int, changes: dict[str, Any]) -> Iterator[View]:
    """Yield this program's views, each with random numbers of its own."""
    augmentation = dataclasses.replace(Augmentation(), **changes)
    for number in range(draws):
        yield augment(np.random.default_rng((7, 0, number)), image, objects, SIDE, augmentation)


def window(view: View) -> dict[str, float]:
    """Read from a view of `coordinates` which part of the image it shows, in fractions."""
    pixels = view[0].astype(np.float64)
    shown = pixels[:, :, 2] < 70
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    if len(rows) < 4 or len(columns) < 4:
        return {}
    # Away from the border, which interpolation mixes with the padding.
    inner_rows, inner_columns = rows[1:-1], columns[1:-1]
    red = np.polyfit(inner_columns + 0.5, pixels[inner_rows[0]][inner_columns, 0] + 0.5, 1)
    green = np.polyfit(inner_rows + 0.5, pixels[inner_rows, inner_columns[0], 1] + 0.5, 1)
    width, height = abs(red[0]) * SIDE / WIDTH, abs(green[0]) * SIDE / HEIGHT
    left = (red[1] if red[0] > 0 else red[1] + red[0] * SIDE) / WIDTH
    return {
        "left": left,
        "top": green[1] / HEIGHT,
        "width": width,
        "height": height,
        "area": width * height,
        "mirrored": float(red[0] < 0),
    }


def padding(view: View) -> dict[str, float]:
    """Read from a padded view of `coordinates` how large the picture is in sides of the image, and where that lies."""
    shown = view[0][:, :, 2].astype(int) < 70
    share = shown.any(axis=0).mean()
    if share > 0.96:
        return {"padded": 0.0}
    return {
        "padded": 1.0,
        "side": 1 / share,
        "offset": float(shown.any(axis=0).argmax()) / SIDE,
        "offset below": float(shown.any(axis=1).argmax()) / SIDE,
    }


def kept(view: View) -> dict[str, float]:
    """Count the objects of a view, and measure the first."""
    objects = view[1]
    found: dict[str, float] = {"objects": float(len(objects))}
    if len(objects):
        sides = objects[:, 3:5] - objects[:, 1:3]
        found |= {
            "object area": float(np.prod(sides, axis=1).mean()),
            "at the border": float((objects[:, 1:] % 1 == 0).any(axis=1).mean()),
        }
    return found


GREY = cv2.cvtColor(np.full((40, 40, 3), (60, 120, 120), np.uint8), cv2.COLOR_HLS2RGB)


def colour(view: View) -> dict[str, float]:
    """Read from a view of one colour by how much each of its values has changed."""
    hue, lightness, saturation = (int(x) for x in cv2.cvtColor(view[0], cv2.COLOR_RGB2HLS)[20, 20])
    changes = {"hue": hue - 60, "lightness": lightness - 120, "saturation": saturation - 120}
    return {f"{kind} changed": float(abs(change) > 1) for kind, change in changes.items()} | {
        kind: float(change) for kind, change in changes.items() if abs(change) > 1
    }


def brightness_factor(view: View) -> dict[str, float]:
    """Read from a view of one colour by which factor it has become brighter."""
    return {"factor": float(view[0][20, 20].mean() / GREY[0, 0].mean())}


def interpolation(view: View) -> dict[str, float]:
    """Tell by which of the five interpolations `checks` was enlarged."""
    methods = {
        "nearest": cv2.INTER_NEAREST,
        "linear or area": cv2.INTER_LINEAR,
        "cubic": cv2.INTER_CUBIC,
        "Lanczos": cv2.INTER_LANCZOS4,
    }
    distances = {
        name: float(np.abs(cv2.resize(checks(), (SIDE, SIDE), interpolation=method).astype(int) - view[0]).mean())
        for name, method in methods.items()
    }
    best = min(distances, key=lambda name: distances[name])
    return {name: float(name == best) for name in methods}


def appearance(view: View) -> dict[str, float]:
    """Measure what a whole view looks like."""
    pixels = view[0]
    hls = cv2.cvtColor(pixels, cv2.COLOR_RGB2HLS).reshape(-1, 3).mean(axis=0)
    filled = (np.abs(pixels.astype(int) - 127) <= 1).all(axis=2).mean()
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float64)
    return {
        "brightness": grey.mean(),
        "contrast": grey.std(),
        "saturation": float(hls[2]),
        "filled": float(filled),
        "detail": float(np.abs(np.diff(grey, axis=1)).mean()),
    } | kept(view)


CENTRE = np.array([[0, 0.45, 0.45, 0.55, 0.55]], np.float32)
SCATTERED = np.array([[0, 0.05, 0.1, 0.35, 0.5], [1, 0.5, 0.3, 0.9, 0.95], [2, 0.6, 0.05, 0.7, 0.2]], np.float32)
# What is measured, the image, its objects, MXNet's options, ours.
Case = tuple[Callable[[View], dict[str, float]], bytes, np.ndarray, dict[str, Any], dict[str, Any]]


def cases(photo: bytes) -> dict[str, Case]:
    """One augmentation at a time, and all at once on a photo."""
    image, high = png(coordinates()), png(coordinates().transpose(1, 0, 2)[:, :, [1, 0, 2]].copy())
    pad = {"rand_pad_prob": 0.5, "max_pad_scale": 4.0, "fill_value": 127}
    crop, our_crop = MXNET | {"rand_crop_prob": 1.0}, NOTHING | {"crop_probability": 1.0}
    hls = colours_of_mxnet(0.5) | {"random_contrast_prob": 0.0}
    contrast = {"random_contrast_prob": 0.5, "max_random_contrast": 0.5}
    our_contrast = NOTHING | {"colour_probability": 0.5, "hue": 0, "lightness": 0, "saturation": 0}
    any_interpolation = {key: value for key, value in NOTHING.items() if key != "interpolations"}
    return {
        "mirror": (window, image, CENTRE, {"rand_mirror_prob": 0.5}, NOTHING | {"mirror_probability": 0.5}),
        "pad": (padding, image, CENTRE, pad, NOTHING | {"pad_probability": 0.5}),
        "crop": (window, image, CENTRE, crop, our_crop),
        "crop of scattered objects": (lambda view: window(view) | kept(view), image, SCATTERED, crop, our_crop),
        "crop of a high image": (window, high, CENTRE, crop, our_crop),
        "colour": (colour, png(GREY), CENTRE, hls, NOTHING | {"colour_probability": 0.5, "contrast": 0.0}),
        "contrast": (brightness_factor, png(GREY), CENTRE, contrast, our_contrast),
        "interpolation": (interpolation, png(checks()), CENTRE, {"inter_method": 10}, any_interpolation),
        "all": (appearance, photo, SCATTERED, EVERYTHING, {}),
    }


def drawn(case: Case, draws: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return what was measured over so many draws of MXNet's augmentation, and of ours, by name."""
    measure, image, objects, options, changes = case
    both = []
    for views in (mxnet_views(image, objects, draws, options), our_views(image, objects, draws, changes)):
        values: dict[str, list[float]] = {}
        for view in views:
            for name, value in measure(view).items():
                values.setdefault(name, []).append(value)
        both.append({name: np.array(found) for name, found in values.items()})
    return both[0], both[1]


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest distance of two samples' cumulative shares (Kolmogorov and Smirnov's statistic)."""
    places = np.sort(np.concatenate([one, other]))
    shares = (np.searchsorted(np.sort(values), places, side="right") / len(values) for values in (one, other))
    return float(np.abs(np.subtract(*shares)).max())


def photo() -> bytes:
    """A picture with detail of every size, as JPEG."""
    random = np.random.RandomState(5)
    layers = [
        cv2.resize(random.randint(0, 256, (side, side, 3)).astype(np.uint8), (320, 240)) for side in (3, 9, 40, 160)
    ]
    mixed = np.mean(layers, axis=0).astype(np.uint8)
    return cv2.imencode(".jpg", mixed)[1].tobytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=5000)
    options = parser.parse_args()
    print(
        "| augmentation | measured | MXNet mean, deviation | ours mean, deviation | distance |\n|---|---|---|---|---|"
    )
    for name, case in cases(photo()).items():
        theirs, ours = drawn(case, options.draws)
        for measured in theirs:
            a, b = theirs[measured], ours[measured]
            row = f"{a.mean():.4g}, {a.std():.3g} | {b.mean():.4g}, {b.std():.3g} | {distance(a, b):.3f}"
            print(f"| {name} | {measured} ({len(a)}, {len(b)}) | {row} |", flush=True)


if __name__ == "__main__":
    main()
