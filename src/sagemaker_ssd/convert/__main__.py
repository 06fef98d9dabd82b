"""The command line of `python -m sagemaker_ssd.convert`."""

import argparse
import contextlib
import io
import logging
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from sagemaker_ssd.commands import class_names, exit_code_of, give_up_closed_streams, system_fault
from sagemaker_ssd.convert.coco import read_coco
from sagemaker_ssd.convert.dataset import Choices, Coordinates, Dataset, Splits
from sagemaker_ssd.convert.findings import Findings
from sagemaker_ssd.convert.output import summarise, write_class_names, write_images, write_recordio
from sagemaker_ssd.convert.voc import read_voc
from sagemaker_ssd.errors import UserError, problems
from sagemaker_ssd.progress import phase

DEFAULT_FRACTION = 0.2
# That of the training job's hyperparameter of this name.
DEFAULT_MAX_BAD_IMAGES = 0.01
_FIRST_LINE_SECONDS = 10.0
_LINE_SECONDS = 30.0
_DESCRIPTION = """Turn a data set into the channels of a training job.
Images are copied byte for byte; images without objects stay, as examples of background."""
_VOC = """XML files in PASCAL VOC's format.
Corners are taken as they stand, as pixels counted from 0: the width of a box is xmax - xmin. (The VOC devkit counts
from 1 and includes the last pixel; most tools that export this format do not.) Boxes without area are kept as they
are; the training job counts and drops them. So are boxes with xmax below xmin or ymax below ymin, as long as they are
few: ten or more that are a tenth of a split's stop the conversion, as they stop the job. Rotated boxes and polygons
become the upright box around them."""
_COCO = """JSON files in COCO's format.
Classes are joined by name over both files, and get the ids 0, 1 ... in the order of their categories' ids; categories
without a box get none. Crowds (iscrowd or ignore) are left out, and so are images that show nothing else; where a
class has nothing but crowds, they are its objects. Rotated boxes, and annotations that have a polygon or RLE alone,
become the upright box around them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a conversion; return 0, or 1 for data that cannot be converted. Wrong usage exits with 2."""
    for stream in (sys.stdout, sys.stderr):
        # Names of files and classes may hold what the terminal's encoding has no bytes for.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    return exit_code_of(lambda: _convert(options))


def _convert(options: argparse.Namespace) -> int:
    try:
        _check_folders(options)
        with _progress("The data set is being read and checked"):
            dataset = _read(options)
        with _progress("The channels are being written"):
            _write(dataset, options)
    except OSError as error:
        place = error.filename2 or error.filename or options.output
        raise UserError(system_fault(error, place)) from error
    try:
        print(summarise(dataset, options.form, options.output), flush=True)
    except BrokenPipeError:
        # Whoever reads need not read on: the channels are whole.
        give_up_closed_streams()
    return 0


def _progress(activity: str) -> AbstractContextManager[None]:
    """Log on stderr how long something takes; on a terminal bars show it."""
    if sys.stderr.isatty():
        return contextlib.nullcontext()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger(phase.__module__).setLevel(logging.INFO)
    return phase(activity, first=_FIRST_LINE_SECONDS, every=_LINE_SECONDS)


def _check_folders(options: argparse.Namespace) -> None:
    folders = ("images", "validation_images", "annotations", "validation_annotations")
    given = {f"--{name.replace('_', '-')}": getattr(options, name, None) for name in folders}
    faults = [f"{name}: there is no folder {path}" for name, path in given.items() if path and not path.is_dir()]
    own_annotations = getattr(options, "validation_annotations", None)
    if own_annotations and options.validation_fraction is not None:
        faults.append("--validation-fraction: with --validation-annotations nothing is split off; leave one out")
    if options.validation_images and not options.validation and not own_annotations:
        also = " or --validation-annotations" if options.source == "voc" else ""
        faults.append(f"--validation-images: give --validation{also} too, which says what is annotated there")
    output = options.output
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        faults.append(f"--output: {output} is not an empty folder; name a new one, or empty it first")
    if faults:
        raise UserError(problems(faults))


def _read(options: argparse.Namespace) -> Dataset:
    given = Splits(
        images=options.images,
        validation_images=options.validation_images or options.images,
        train=options.train,
        validation=options.validation,
        fraction=DEFAULT_FRACTION if options.validation_fraction is None else options.validation_fraction,
        seed=options.seed,
    )
    choices = Choices(
        classes=options.classes or options.only_classes,
        only=options.only_classes is not None,
        coordinates=None if options.coordinates is None else Coordinates(options.coordinates),
    )
    findings = Findings(options.max_bad_images)
    if options.source == "coco":
        return read_coco(given, choices, findings, keep_crowds=options.keep_crowds)
    return read_voc(
        given,
        choices,
        findings,
        annotations=options.annotations,
        validation_annotations=options.validation_annotations,
        negatives=options.negatives,
    )


def _write(dataset: Dataset, options: argparse.Namespace) -> None:
    options.output.mkdir(parents=True, exist_ok=True)
    if options.form == "images":
        write_images(dataset, options.output)
    else:
        write_recordio(dataset, options.output, options.seed)
    write_class_names(dataset, options.output)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sagemaker_ssd.convert", description=_DESCRIPTION)
    sources = parser.add_subparsers(dest="source", required=True)
    layout = argparse.RawDescriptionHelpFormatter
    voc = sources.add_parser("voc", help="PASCAL VOC: XML files", description=_VOC, formatter_class=layout)
    voc.add_argument("--annotations", type=Path, required=True, help="folder of XML files")
    voc.add_argument(
        "--train", type=Path, help="list of images, one a line, as stems or file names; without: every XML file"
    )
    voc.add_argument("--validation-annotations", type=Path, help="folder of the XML files for validation")
    voc.add_argument("--negatives", action="store_true", help="keep images without an XML, as images without objects")
    coco = sources.add_parser("coco", help="COCO: JSON files", description=_COCO, formatter_class=layout)
    coco.add_argument("--train", type=Path, required=True, help="JSON file of the training images")
    coco.add_argument(
        "--keep-crowds",
        action="store_true",
        help="take annotations with iscrowd or ignore 1 as objects like all others",
    )
    _add_common(voc, "list of images", "alphabetical")
    _add_common(coco, "JSON file of images", "as the categories' ids")
    return parser


def _add_common(parser: argparse.ArgumentParser, kind: str, order: str) -> None:
    parser.add_argument("--images", type=Path, required=True, help="folder of images (.jpg, .jpeg, .png)")
    parser.add_argument("--validation-images", type=Path, help="their folder, if not --images")
    validation = parser.add_mutually_exclusive_group()
    validation.add_argument("--validation", type=Path, help=f"{kind} for validation")
    validation.add_argument(
        "--validation-fraction",
        type=_fraction,
        help=f"share of the training images to split off without --validation (default {DEFAULT_FRACTION})",
    )
    classes = parser.add_mutually_exclusive_group()
    classes.add_argument(
        "--classes",
        type=class_names,
        help=f"a,b,c: class ids in this order, names that hold a comma in double quotes; without: {order}",
    )
    classes.add_argument(
        "--only-classes", type=class_names, help="a,b,c: these classes alone, ids in this order; boxes of others go"
    )
    parser.add_argument(
        "--coordinates",
        choices=tuple(Coordinates),
        help="what the numbers of boxes are: pixels, or fractions of width and height; without: pixels, unless they "
        "look like fractions, which stops the conversion",
    )
    parser.add_argument(
        "--max-bad-images",
        type=_share,
        default=DEFAULT_MAX_BAD_IMAGES,
        help="share of the images, 0 to 1, that may be missing or have a fault such as a box outside of the image: "
        f"they are left out and named; more stop the conversion (default {DEFAULT_MAX_BAD_IMAGES})",
    )
    parser.add_argument("--seed", type=int, default=0, help="chooses that share, and the order of a .rec (default 0)")
    parser.add_argument(
        "--as",
        dest="form",
        choices=("images", "recordio"),
        required=True,
        help="images with a JSON each, or one .rec file a channel",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the channels, new or empty")


def _fraction(text: str) -> float:
    try:
        fraction = float(text)
    except ValueError:
        fraction = 0.0
    if not 0 < fraction < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number between 0 and 1")
    return fraction


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 0 to 1")
    return share


if __name__ == "__main__":
    sys.exit(main())
