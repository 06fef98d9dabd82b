#!/usr/bin/env python3
"""Draws a small detection data set as a complete SageMaker training job: a folder to run `train` on.

Coloured circles, squares and triangles on a noisy background; one image in ten shows none. Needs numpy and Pillow,
and MXNet for `--content recordio`.
"""

import argparse
import json
import random
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

CLASSES = ("circle", "square", "triangle")
MARKER = "drawn_by_draw_sample"
DEFAULTS = {
    "base_network": "vgg-16",
    "use_pretrained_model": "1",
    "freeze_layer_pattern": "^(conv1_|conv2_).*",
    "num_classes": str(len(CLASSES)),
    "mini_batch_size": "8",
    "epochs": "3",
    "image_shape": "300",
    "learning_rate": "0.001",
}
COLOURS = ((214, 39, 40), (31, 119, 180), (44, 160, 44), (255, 187, 20), (148, 103, 189), (23, 190, 207))
# A further shape has this many tries to find a free place.
TRIES = 20


@dataclass(frozen=True)
class Shape:
    """A drawn shape and the pixels it covers: from left, top up to but without right, bottom."""

    class_id: int
    left: int
    top: int
    right: int
    bottom: int


def main() -> int:
    """Draw the data set that the command line asks for; return 1 where something is in the way."""
    options = parse_options()
    root = options.output / "input"
    try:
        if root.exists() and not (root / MARKER).exists():
            print(f"{root} was not drawn by this program: remove it, or name another folder", file=sys.stderr)
            return 1
        draw_job(root, options)
    except OSError as error:
        place, reason = error.filename or root, error.strerror or error
        print(f"{place} cannot be replaced ({reason}): remove it, or name another folder", file=sys.stderr)
        return 1
    print(f"{root}: {options.train} images to train, {options.validation} to validate, as {options.content}")
    return 0


def draw_job(root: Path, options: argparse.Namespace) -> None:
    """Put the job into the folder `root`, in place of one that was drawn before; raises OSError."""
    if root.exists():
        empty_folder(root)
    root.mkdir(parents=True, exist_ok=True)
    (root / MARKER).write_text("draw_sample.py replaces this folder when it is run again.\n")
    write_config(root / "config", options)
    chance = random.Random(options.seed)
    for channel, count in (("train", options.train), ("validation", options.validation)):
        examples = draw_examples(count, options.size, chance)
        write = write_records if options.content == "recordio" else write_images
        write(root / "data", channel, examples)


def empty_folder(root: Path) -> None:
    """Remove what was drawn, but for the marker: if this breaks off, the next run knows the folder by it."""
    for path in root.iterdir():
        if path.name == MARKER:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, onerror=raise_with_path)
        else:
            path.unlink()


def raise_with_path(function: object, path: str, failure: tuple[object, OSError, object]) -> None:
    """Raise what stopped the removal of a folder, with the path, of which `shutil.rmtree` gives the last part alone."""
    failure[1].filename = path
    raise failure[1]


def draw_examples(
    count: int, size: tuple[int, int], chance: random.Random
) -> Iterator[tuple[Image.Image, list[Shape]]]:
    """Draw `count` images of width and height `size`; every tenth, from the tenth on, shows no shape."""
    for number in range(count):
        yield draw_example(size, 0 if number % 10 == 9 else chance.randint(1, 4), chance)


def draw_example(size: tuple[int, int], count: int, chance: random.Random) -> tuple[Image.Image, list[Shape]]:
    """Draw one image with up to `count` shapes that do not overlap."""
    noise = np.random.default_rng(chance.getrandbits(32))
    shade = noise.normal(chance.randint(70, 190), 25, (size[1], size[0], 3))
    image = Image.fromarray(shade.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.7))
    shapes: list[Shape] = []
    for _ in range(count):
        shape = find_place(size, shapes, chance)
        if shape is not None:
            shapes.append(shape)
            draw_shape(ImageDraw.Draw(image), shape, chance.choice(COLOURS))
    return image, shapes


def find_place(size: tuple[int, int], others: list[Shape], chance: random.Random) -> Shape | None:
    """Choose a class, a size and a free place for a further shape; None if there is no place."""
    for _ in range(TRIES):
        width = round(min(size) * chance.uniform(0.2, 0.6))
        height = round(width * chance.uniform(0.8, 1.2))
        left, top = chance.randint(0, size[0] - width), chance.randint(0, size[1] - height)
        shape = Shape(chance.randrange(len(CLASSES)), left, top, left + width, top + height)
        if all(
            shape.left >= other.right or shape.right <= other.left or shape.top >= other.bottom
            or shape.bottom <= other.top for other in others
        ):  # fmt: skip
            return shape
    return None


def draw_shape(canvas: ImageDraw.ImageDraw, shape: Shape, colour: tuple[int, int, int]) -> None:
    """Fill a shape so that it touches all four sides of its box."""
    right, bottom = shape.right - 1, shape.bottom - 1  # Pillow includes the last pixel
    if CLASSES[shape.class_id] == "circle":
        canvas.ellipse((shape.left, shape.top, right, bottom), fill=colour)
    elif CLASSES[shape.class_id] == "square":
        canvas.rectangle((shape.left, shape.top, right, bottom), fill=colour)
    else:
        top = ((shape.left + right) // 2, shape.top)
        canvas.polygon((top, (right, bottom), (shape.left, bottom)), fill=colour)


def write_images(data: Path, channel: str, examples: Iterator[tuple[Image.Image, list[Shape]]]) -> None:
    """Write a channel of JPEG files and one of their JSON annotations."""
    images, annotations = data / channel, data / f"{channel}_annotation"
    images.mkdir(parents=True)
    annotations.mkdir()
    for number, (image, shapes) in enumerate(examples):
        name = f"{channel}_{number:04}"
        image.save(images / f"{name}.jpg", quality=90)
        annotation = {
            "file": f"{name}.jpg",
            "image_size": [{"width": image.width, "height": image.height, "depth": 3}],
            "annotations": [
                {
                    "class_id": shape.class_id,
                    "left": shape.left,
                    "top": shape.top,
                    "width": shape.right - shape.left,
                    "height": shape.bottom - shape.top,
                }
                for shape in shapes
            ],
            "categories": [{"class_id": number, "name": name} for number, name in enumerate(CLASSES)],
        }
        (annotations / f"{name}.json").write_text(json.dumps(annotation))


def write_records(data: Path, channel: str, examples: Iterator[tuple[Image.Image, list[Shape]]]) -> None:
    """Write a channel of one RecordIO file: label 2, 5, then class_id and corners in fractions of each shape."""
    from io import BytesIO

    from mxnet.recordio import IRHeader, MXRecordIO, pack

    path = data / channel / f"{channel}.rec"
    path.parent.mkdir(parents=True)
    file = MXRecordIO(str(path), "w")
    for number, (image, shapes) in enumerate(examples):
        label: list[float] = [2, 5]
        for shape in shapes:
            label += [shape.class_id, shape.left / image.width, shape.top / image.height]
            label += [shape.right / image.width, shape.bottom / image.height]
        # MXNet's reader aborts on a label without an object, but drops one without area.
        label += [] if shapes else [0, 0.5, 0.5, 0.5, 0.5]
        jpeg = BytesIO()
        image.save(jpeg, "JPEG", quality=90)
        file.write(pack(IRHeader(0, np.array(label, np.float32), number, 0), jpeg.getvalue()))
    file.close()


def write_config(config: Path, options: argparse.Namespace) -> None:
    """Write the three files that SageMaker writes; hyperparameters are strings, whatever they mean."""
    channels, content_type = ["train", "validation"], "application/x-recordio"
    if options.content == "images":
        channels, content_type = [*channels, "train_annotation", "validation_annotation"], "image/jpeg"
    channel = {
        "ContentType": content_type,
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
    }
    hyperparameters = {**DEFAULTS, "num_training_samples": str(options.train), **dict(options.hyperparameter)}
    config.mkdir()
    for name, content in {
        "hyperparameters": hyperparameters,
        "inputdataconfig": dict.fromkeys(sorted(channels), channel),
        "resourceconfig": {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"},
    }.items():
        (config / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Draw a small detection data set as a complete training job.")
    parser.add_argument("output", type=Path, help="folder to put input/ into, in place of /opt/ml")
    parser.add_argument("--content", choices=("images", "recordio"), default="images")
    parser.add_argument("--train", type=positive, default=40, help="images to train (default 40)")
    parser.add_argument("--validation", type=positive, default=12, help="images to validate (default 12)")
    parser.add_argument("--size", type=image_size, default=(160, 120), help="WIDTHxHEIGHT in pixels (default 160x120)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed draws the same images (default 0)")
    parser.add_argument(
        "--hyperparameter",
        type=assignment,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set or add a hyperparameter; may be repeated",
    )
    return parser.parse_args()


def positive(text: str) -> int:
    """Read a whole number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of 1 or more")
    return int(text)


def image_size(text: str) -> tuple[int, int]:
    """Read WIDTHxHEIGHT, both 40 or more."""
    sides = text.split("x")
    if len(sides) != 2 or not all(side.isdecimal() and int(side) >= 40 for side in sides):
        raise argparse.ArgumentTypeError(f"'{text}' is not WIDTHxHEIGHT, as 160x120, with 40 or more for each")
    return int(sides[0]), int(sides[1])


def assignment(text: str) -> tuple[str, str]:
    """Read NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=VALUE")
    return name, value


if __name__ == "__main__":
    sys.exit(main())
