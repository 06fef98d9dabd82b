"""`python -m sagemaker_ssd.predict model.tar.gz image...`: detections in the built-in's format, and drawn on images."""

import argparse
import colorsys
import io
import itertools
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from sagemaker_ssd.commands import LARGER_MACHINE, class_names, memory_fault, system_fault
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.files import atomic_write
from sagemaker_ssd.fonts import dejavu_sans
from sagemaker_ssd.progress import images_line, phase, progress_lines
from sagemaker_ssd.scoring.command import (
    WRITABLE_FOLDER,
    add_model_arguments,
    check_class_names,
    prepare_detection,
    run,
    try_folder,
)

if TYPE_CHECKING:
    from sagemaker_ssd.scoring.detector import Detector
    from sagemaker_ssd.scoring.saved_model import LoadedModel

_DESCRIPTION: Final = (
    "Detects objects in images with the model of a training job, of this program or of the built-in. Prints one JSON a "
    'line and image, in the order given: {"prediction": [[class_id, score, xmin, ymin, xmax, ymax], ...]}, boxes as '
    'fractions of the image; with several images "file" names it, with --draw "drawn" names the picture.'
)
# Of a side in pixels: JPEG_MAX_DIMENSION of libjpeg.
_LONGEST_JPEG: Final = 65_500


def main() -> int:
    """Predict, and return the exit code: 1 when an image or the model cannot be used."""
    parser = _parser()
    options = parser.parse_args()
    if options.class_names and options.draw is None:
        parser.error("--class-names are written on pictures: give --draw too")
    return run(lambda: _predict_all(options))


def _predict_all(options: argparse.Namespace) -> int:
    """Predict image by image, say what is wrong with those that cannot be used, and return the exit code."""
    if options.draw is not None:
        try_folder(options.draw, f"--draw must be {WRITABLE_FOLDER}")
    precision = prepare_detection()
    # MXNet takes seconds to import: not for --help.
    from sagemaker_ssd.scoring.saved_model import load_model

    with phase("The model is being loaded"), tempfile.TemporaryDirectory() as scratch:
        model = load_model(
            options.model,
            Path(scratch),
            options.image_shape,
            precision_dtype=precision,
            detections=options.detections,
        )
        if options.class_names:
            check_class_names(options.class_names, model.network.num_classes)
        detector = model.detector(1)
    if options.draw is not None:
        options.draw.mkdir(parents=True, exist_ok=True)
    exit_code = done = 0
    with progress_lines(lambda seconds: images_line("Prediction", done, len(options.images), seconds)):
        for path in options.images:
            exit_code = max(exit_code, _answer(path, model, detector, options))
            done += 1
    return exit_code


def _answer(path: Path, model: "LoadedModel", detector: "Detector", options: argparse.Namespace) -> int:
    """Print what is detected in an image, or what is wrong with it, which leaves the others; return the exit code."""
    try:
        answer = _predict(path, model, detector, options)
    except UserError as error:
        print(error.sentence, file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(system_fault(error, path), file=sys.stderr)
        return UserError.exit_code
    except Exception as error:
        if (fault := memory_fault(error, f"use a smaller image, or {LARGER_MACHINE}")) is None:
            raise
        print(f"{path}: {fault}", file=sys.stderr)
        return UserError.exit_code
    print(json.dumps(answer if len(options.images) == 1 else {"file": str(path), **answer}), flush=True)
    return 0


def _predict(path: Path, model: "LoadedModel", detector: "Detector", options: argparse.Namespace) -> dict[str, Any]:
    """Return the detections (class_id, score, xmin, ymin, xmax, ymax), and the picture of them that is asked for."""
    import mxnet as mx

    from sagemaker_ssd.scoring.saved_model import decoded_file, network_input

    pixels = decoded_file(path)
    data = network_input(pixels, model.network.image_shape, model.network.mean)
    (found,) = detector.detect(mx.nd.array(data[None]))
    try:
        detector.check_finite()
    except UserError as error:
        raise UserError(f"{path}: {error.sentence}") from None
    detections = [[float(value) for value in row] for row in found]
    detections = [row for row in detections if row[1] >= options.confidence]
    answer: dict[str, Any] = {"prediction": detections}
    if options.draw is not None:
        picture = _drawn(pixels, detections, options.class_names, options.draw_confidence)
        # PIL itself does not notice that a disk is full, and leaves half a picture.
        content = io.BytesIO()
        picture.save(content, "JPEG")
        drawn = _write(content.getvalue(), options.draw, path)
        answer["drawn"] = str(drawn)
    return answer


def _drawn(
    pixels: NDArray[np.uint8], detections: Sequence[Sequence[float]], names: Sequence[str], confidence: float
) -> Image.Image:
    """Draw the detections that reach `confidence` on (H, W, 3) RGB."""
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    width, height = image.size
    thick = max(2, round(min(width, height) / 200))
    font = dejavu_sans(max(12, round(min(width, height) / 40)))
    # The best one on top.
    for class_id, score, *box in reversed(detections):
        if score < confidence:
            continue
        colour = tuple(round(255 * part) for part in colorsys.hsv_to_rgb(int(class_id) * 0.618 % 1, 0.9, 0.9))
        left, top, right, bottom = (value * side for value, side in zip(box, (width, height) * 2, strict=True))
        draw.rectangle((left, top, max(left, right), max(top, bottom)), outline=colour, width=thick)
        name = names[int(class_id)] if int(class_id) < len(names) else str(int(class_id))
        text = f"{name} {score:.2f}"
        place = (left + thick, top + thick)
        draw.rectangle(draw.textbbox(place, text, font=font), fill=colour)
        draw.text(place, text, fill="black", font=font)
    image.thumbnail((_LONGEST_JPEG, _LONGEST_JPEG))
    return image


def _write(jpeg: bytes, folder: Path, image: Path) -> Path:
    """Write a picture and return its file, which has its image's name, and a number where there is one of that name.

    What is there, also of an earlier run or of one beside this one, stays. Raises UserError.
    """
    for number in itertools.count(1):
        drawn = folder / (f"{image.stem}.jpg" if number == 1 else f"{image.stem}-{number}.jpg")
        try:
            drawn.open("xb").close()
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(system_fault(error, drawn)) from error
        try:
            with atomic_write(drawn) as part:
                part.write_bytes(jpeg)
        except BaseException as error:
            drawn.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise UserError(system_fault(error, drawn)) from error
            raise
        return drawn
    raise AssertionError("numbers have no end")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sagemaker_ssd.predict", description=_DESCRIPTION)
    add_model_arguments(parser)
    parser.add_argument("images", type=Path, nargs="+", metavar="image", help="JPEG, PNG, or what the data may be")
    parser.add_argument(
        "--confidence", type=_fraction, default=0.0, help="leave out what scores less (default 0: all from 0.01 on)"
    )
    parser.add_argument("--draw", type=Path, metavar="FOLDER", help="write pictures with the boxes into this folder")
    parser.add_argument(
        "--draw-confidence", type=_fraction, default=0.4, help="draw what scores at least this (default 0.4)"
    )
    parser.add_argument(
        "--class-names",
        type=class_names,
        default=(),
        help="a,b,c: names on the pictures, by class id, those that hold a comma in double quotes (default: the ids)",
    )
    return parser


def _fraction(text: str) -> float:
    try:
        fraction = float(text)
    except ValueError:
        fraction = -1.0
    if not 0 <= fraction <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 0 to 1")
    return fraction


if __name__ == "__main__":
    sys.exit(main())
