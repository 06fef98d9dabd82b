"""The command line of `python -m sagemaker_ssd.convert`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sagemaker_ssd.convert.coco import read_coco
from sagemaker_ssd.convert.dataset import Dataset
from sagemaker_ssd.convert.output import summarise, write_images, write_recordio
from sagemaker_ssd.convert.voc import read_voc
from sagemaker_ssd.errors import UserError, problems

DEFAULT_FRACTION = 0.2
_DESCRIPTION = """Turn a data set into the channels of a training job.
Images are copied byte for byte; images without objects stay, as examples of background."""
_VOC = """XML files in PASCAL VOC's format.
Corners are taken as they stand, as pixels counted from 0: the width of a box is xmax - xmin. (The VOC devkit counts
from 1 and includes the last pixel; most tools that export this format do not.) Boxes without area are kept as they
are; the training job counts and drops them."""
_COCO = """JSON files in COCO's format.
Categories become class ids 0, 1 ... in the order of their ids. Crowds (iscrowd) are left out, and so are images
that show nothing else."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a conversion; return 0, or 1 for data that cannot be converted. Wrong usage exits with 2."""
    options = _parser().parse_args(arguments)
    try:
        _check_folders(options)
        dataset = _read(options)
        _write(dataset, options)
    except UserError as error:
        print(error.sentence, file=sys.stderr)
        return error.exit_code
    except OSError as error:
        place = error.filename2 or error.filename or options.output
        print(f"{place}: {error.strerror or error}", file=sys.stderr)
        return UserError.exit_code
    print(summarise(dataset, options.form, options.output))
    return 0


def _check_folders(options: argparse.Namespace) -> None:
    folders = ("images", "validation_images", "annotations")
    given = {f"--{name.replace('_', '-')}": getattr(options, name, None) for name in folders}
    faults = [f"{name}: there is no folder {path}" for name, path in given.items() if path and not path.is_dir()]
    output = options.output
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        faults.append(f"--output: {output} is not an empty folder; name a new one, or empty it first")
    if faults:
        raise UserError(problems(faults))


def _read(options: argparse.Namespace) -> Dataset:
    fraction = DEFAULT_FRACTION if options.validation_fraction is None else options.validation_fraction
    validation_images = options.validation_images or options.images
    if options.source == "coco":
        return read_coco(
            images=options.images,
            validation_images=validation_images,
            train=options.train,
            validation=options.validation,
            fraction=fraction,
            seed=options.seed,
        )
    return read_voc(
        images=options.images,
        validation_images=validation_images,
        annotations=options.annotations,
        train=options.train,
        validation=options.validation,
        fraction=fraction,
        seed=options.seed,
        classes=options.classes,
    )


def _write(dataset: Dataset, options: argparse.Namespace) -> None:
    options.output.mkdir(parents=True, exist_ok=True)
    if options.form == "images":
        write_images(dataset, options.output)
    else:
        write_recordio(dataset, options.output, options.seed)
    (options.output / "classes.txt").write_text("".join(f"{name}\n" for name in dataset.classes), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sagemaker_ssd.convert", description=_DESCRIPTION)
    sources = parser.add_subparsers(dest="source", required=True)
    layout = argparse.RawDescriptionHelpFormatter
    voc = sources.add_parser("voc", help="PASCAL VOC: XML files", description=_VOC, formatter_class=layout)
    voc.add_argument("--annotations", type=Path, required=True, help="folder of XML files")
    voc.add_argument(
        "--train", type=Path, help="list of images, one a line, as stems or file names; without: every XML file"
    )
    voc.add_argument("--classes", type=_class_names, help="a,b,c: class ids in this order; without: alphabetical")
    coco = sources.add_parser("coco", help="COCO: JSON files", description=_COCO, formatter_class=layout)
    coco.add_argument("--train", type=Path, required=True, help="JSON file of the training images")
    for source, kind in ((voc, "list of images"), (coco, "JSON file of images")):
        _add_common(source, kind)
    return parser


def _add_common(parser: argparse.ArgumentParser, kind: str) -> None:
    parser.add_argument("--images", type=Path, required=True, help="folder of images (.jpg, .jpeg, .png)")
    parser.add_argument("--validation-images", type=Path, help="their folder, if not --images")
    validation = parser.add_mutually_exclusive_group()
    validation.add_argument("--validation", type=Path, help=f"{kind} for validation")
    validation.add_argument(
        "--validation-fraction",
        type=_fraction,
        help=f"share of the training images to split off without --validation (default {DEFAULT_FRACTION})",
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


def _class_names(text: str) -> tuple[str, ...]:
    names = tuple(" ".join(name.split()) for name in text.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"'{text}' has an empty name, or one twice")
    return names


if __name__ == "__main__":
    sys.exit(main())
