"""How predict, evaluate and export, the commands on saved models, run: environment, options, faults, exit codes."""

import argparse
import contextlib
import io
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from sagemaker_ssd import amx
from sagemaker_ssd.commands import LARGER_MACHINE, exit_code_of
from sagemaker_ssd.contract.environment import (
    BEST_CLASS,
    DETECTIONS,
    THREADS_VARIABLE,
    detection_dtype,
    read_threads,
)
from sagemaker_ssd.contract.hyperparameter_values import LARGEST_IMAGE_SHAPE, SMALLEST_IMAGE_SHAPE
from sagemaker_ssd.cores import usable_cores
from sagemaker_ssd.errors import UserError, in_words
from sagemaker_ssd.gpu import use_stand_in
from sagemaker_ssd.native_faults import end_at_native_faults
from sagemaker_ssd.progress import phase

WRITABLE_FOLDER: Final = "a folder that can be written to, or one that is not there yet"
_FIRST_LINE_SECONDS: Final = 5.0
_LINE_SECONDS: Final = 30.0
# Whose lines say how far a command is.
_TELL_PROGRESS: Final = ("sagemaker_ssd.progress", "sagemaker_ssd.channels.findings")


def run(work: Callable[[], int], memory_remedy: str = LARGER_MACHINE) -> int:
    """Do the work and return its exit code or that of its failure; MXNet must not have been imported before it.

    While it takes long, lines on stderr say how far it is: results alone go to stdout. memory_remedy: what to do where
    the memory does not suffice.
    """
    # Paths need not be of the characters that stdout has.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    for name in _TELL_PROGRESS:
        logging.getLogger(name).setLevel(logging.INFO)
    # MXNet would announce every graph, and take one thread for every two processors.
    os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")

    def timed() -> int:
        # These commands compute on processors, in the GPU image too.
        use_stand_in()
        os.environ[THREADS_VARIABLE] = str(read_threads(os.environ) or usable_cores())
        with phase("The command is under way", first=_FIRST_LINE_SECONDS, every=_LINE_SECONDS):
            return work()

    return exit_code_of(timed, memory_remedy=memory_remedy)


def try_folder(folder: Path, must: str) -> None:
    """Raise UserError, which ends with `must`, unless files can be made in a folder: what takes long writes at its end.

    Nothing is left of the trial, a folder that was missing included: the command may still fail.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".trial-"):
            pass
    except OSError as error:
        reason = "it is a file" if folder.is_file() else error.strerror or str(error)
        raise UserError(f"{folder}: no files can be made in it ({reason}); {must}") from error
    finally:
        for made in missing:
            with contextlib.suppress(OSError):
                made.rmdir()


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, what its files may not tell, and which classes of an anchor it detects."""
    parser.add_argument("model", type=Path, help="model.tar.gz, its .params file, or a folder with one of them")
    parser.add_argument(
        "--image-shape",
        type=_image_shape,
        help="pixels a side, for a model without its hyperparams.json; where that file names another size, this one is "
        "used, with a warning",
    )
    parser.add_argument(
        "--detections",
        choices=DETECTIONS,
        default=BEST_CLASS,
        help="of each anchor the class with the highest score, as the built-in detects, or every class from 0.01 on "
        f"(default {BEST_CLASS})",
    )


def check_class_names(names: Sequence[str], num_classes: int) -> None:
    """Raise UserError unless --class-names names every class of a model."""
    if len(names) != num_classes:
        raise UserError(
            f"--class-names has {in_words(len(names), 'name', 'names')}, and the model knows "
            f"{in_words(num_classes, 'class', 'classes')}: name every class by its id, from 0 on"
        )


def _image_shape(text: str) -> int:
    """Read the side in pixels of the square that a network takes, of a size that networks have."""
    if not text.isdecimal() or not SMALLEST_IMAGE_SHAPE <= int(text) <= LARGEST_IMAGE_SHAPE:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not a whole number from {SMALLEST_IMAGE_SHAPE} to {LARGEST_IMAGE_SHAPE}"
        )
    return int(text)


def prepare_detection() -> str:
    """Import MXNet, ready to detect, and return the number format; to be called in the main thread, before others do.

    Raises UserError when SAGEMAKER_SSD_DETECTION_DTYPE names no number format.
    """
    precision = detection_dtype(os.environ)
    if precision == "bfloat16":
        amx.use_for_bfloat16()
    else:
        amx.request_permission()
    import mxnet  # noqa: F401

    end_at_native_faults()
    return precision
