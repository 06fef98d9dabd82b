"""`python -m sagemaker_ssd.evaluate model.tar.gz channel`: the figures and the report of a model, without training."""

import argparse
import dataclasses
import math
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sagemaker_ssd.commands import LARGER_MACHINE
from sagemaker_ssd.contract.channel_files import list_records
from sagemaker_ssd.contract.environment import BEST_CLASS
from sagemaker_ssd.cores import usable_cores
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.progress import phase
from sagemaker_ssd.scoring.command import WRITABLE_FOLDER, add_model_arguments, prepare_detection, run, try_folder

if TYPE_CHECKING:
    from sagemaker_ssd.channels.record_file import RecordFile
    from sagemaker_ssd.scoring.saved_model import LoadedModel

_DESCRIPTION: Final = (
    "Scores the model of a training job, of this program or of the built-in, on a channel of a job: .rec files, or "
    "images with a JSON each. Writes evaluation.json, ground_truth.json and detections.json (COCO's formats) and "
    "report.html into --output, and prints the means."
)
_REPORT, _FIGURES = "report.html", "evaluation.json"
# A job's default.
_MAX_BAD_IMAGES: Final = 0.01
_MAX_BAD_IMAGES_OPTION: Final = "--max-bad-images"
# Every label has room in it: an evaluation reads what it is given.
_LABEL_WIDTH: Final = 1 << 20
_GIVE_A_CHANNEL: Final = "give a .rec file, a folder of them, or a folder of images with one JSON each"


def main() -> int:
    """Evaluate, and return the exit code."""
    options = _parser().parse_args()

    def work() -> int:
        with tempfile.TemporaryDirectory() as scratch:
            _evaluate(options, Path(scratch))
        return 0

    smaller = f"lower --batch-size (now {options.batch_size}), or " if options.batch_size > 1 else ""
    return run(work, memory_remedy=f"{smaller}{LARGER_MACHINE}")


def _evaluate(options: argparse.Namespace, scratch: Path) -> None:
    precision = prepare_detection()
    # MXNet takes seconds to import: not for --help.
    from sagemaker_ssd.files import write_json
    from sagemaker_ssd.report.write import write_report
    from sagemaker_ssd.scoring.coco import definitions
    from sagemaker_ssd.scoring.evaluate import evaluate_model
    from sagemaker_ssd.scoring.saved_model import load_model, read_picture

    channel = _channel(options.channel)
    annotations = _annotations(options.annotations, channel)
    try_folder(options.output, f"--output must be {WRITABLE_FOLDER}")
    with phase("The model is being loaded"):
        model = load_model(
            options.model, scratch, options.image_shape, precision_dtype=precision, detections=options.detections
        )
    with phase("The channel is being checked"):
        file = _checked(channel, annotations, model.network.num_classes, scratch, options.max_bad_images)
    names = file.name_of_each_class()
    threshold = options.overlap_threshold or _overlap_threshold(model)
    try:
        found = evaluate_model(
            model,
            file,
            names,
            overlap_threshold=threshold,
            batch_size=options.batch_size,
            threads=usable_cores(),
        )
    except UserError as error:
        raise UserError(f"{options.model}: {error.sentence}") from None
    document = {
        "model": str(options.model),
        "hyperparameters": {**model.used_settings(), "overlap_threshold": str(threshold)},
        "detections": options.detections,
        "detection_dtype": model.precision_dtype,
        "best": found.figures,
        "definitions": definitions(options.detections),
        "anchors": found.anchors,
    }
    with phase("The files are being written"):
        found.write(options.output)
        write_json(options.output / _FIGURES, document)
        write_report(
            options.output / _REPORT,
            document,
            found.ground_truth,
            found.results,
            lambda number: read_picture(file, number),
        )
    _print_means(found.figures, options.detections, options.output)


def _overlap_threshold(model: "LoadedModel") -> float:
    try:
        return model.overlap_threshold()
    except UserError as error:
        raise UserError(f"the model: {error.sentence}; give it by --overlap-threshold") from None


def _channel(given: Path) -> Path:
    """Return the channel's folder, or its one .rec file; raises UserError for what is neither."""
    # The folder of annotations is looked for beside a link, not beside what it leads to.
    channel = Path(os.path.abspath(given))  # noqa: PTH100, resolve() follows links
    endings = {path.suffix.lower() for path in (channel, channel.resolve())}
    if channel.is_dir() or (channel.is_file() and ".rec" in endings):
        return channel
    if not channel.exists():
        raise UserError(f"{given}: there is no such file or folder; {_GIVE_A_CHANNEL}")
    raise UserError(f"{given}: it is a file, and not a .rec file; {_GIVE_A_CHANNEL}")


def _annotations(given: Path | None, channel: Path) -> Path | None:
    """Return the folder of the channel's JSONs, None where there is none; raises UserError if the one given is none."""
    if given is None:
        beside = channel.parent / f"{channel.name}_annotation"
        return beside if beside.is_dir() else None
    if given.is_dir():
        return given
    if not given.exists():
        raise UserError(f"{given}: there is no such folder; --annotations is a folder with one JSON for each image")
    raise UserError(
        f"{given}: it is a file; --annotations is a folder with one JSON for each image. `python -m "
        "sagemaker_ssd.convert` makes one of COCO's single file, and of PASCAL VOC's XMLs"
    )


def _checked(
    channel: Path, annotations: Path | None, num_classes: int, scratch: Path, max_bad_images: float
) -> "RecordFile":
    """Return the channel's checked records; the images' names are kept for the files."""
    from sagemaker_ssd.channels.annotations import class_names
    from sagemaker_ssd.channels.check import check_recordio
    from sagemaker_ssd.channels.findings import CheckOptions
    from sagemaker_ssd.channels.image_files import pack_images

    options = CheckOptions(
        name=(channel.stem if channel.is_file() else channel.name) or "channel",
        num_classes=num_classes,
        scratch=scratch,
        max_bad_images=max_bad_images,
        max_bad_images_name=_MAX_BAD_IMAGES_OPTION,
        label_width=_LABEL_WIDTH,
        keep_names=True,
        scored=True,
    )
    records = [channel] if channel.is_file() else list_records(channel).found
    if records:
        file = check_recordio(records, options)
        if annotations is None:
            return file
        # Records have no names of classes; JSONs that lie beside them do.
        return dataclasses.replace(file, class_names=class_names(annotations, num_classes=num_classes))
    if annotations is None:
        raise UserError(
            f"{channel}: there is no .rec file in it, and no folder {channel.name}_annotation of JSONs beside it; "
            f"{_GIVE_A_CHANNEL}, and --annotations where its JSONs are elsewhere"
        )
    return pack_images(channel, annotations, options)


def _print_means(figures: dict[str, Any], detections: str, output: Path) -> None:
    from sagemaker_ssd.scoring.coco import GROUND_TRUTH_FILE, RESULTS_FILE

    kind = "" if detections == BEST_CLASS else f" of {detections}"
    print(f"{figures['images']} images, {figures['boxes']} objects, {figures['detections']} detections{kind}")
    for name in ("mAP", "mAP_all_points", "mAP_coco", "AP50", "AP75"):
        print(f"{name}: {'-' if figures[name] is None else f'{figures[name]:.4f}'}")
    print(f"Written: {output / _REPORT}, {_FIGURES}, {GROUND_TRUTH_FILE}, {RESULTS_FILE}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sagemaker_ssd.evaluate", description=_DESCRIPTION)
    add_model_arguments(parser)
    parser.add_argument("channel", type=Path, help="a .rec file, or a folder of .rec files or of images")
    parser.add_argument("--annotations", type=Path, help="folder of the JSONs (default: <channel>_annotation)")
    parser.add_argument("--output", type=Path, default=Path("evaluation"), help="folder (default ./evaluation)")
    parser.add_argument("--overlap-threshold", type=_fraction, help="IoU of a right detection (default: the job's own)")
    parser.add_argument(
        _MAX_BAD_IMAGES_OPTION,
        type=_share,
        default=_MAX_BAD_IMAGES,
        help=f"the share of images that may be left out because they cannot be used (default {_MAX_BAD_IMAGES})",
    )
    parser.add_argument("--batch-size", type=_positive, default=8, help="images at once (default 8)")
    return parser


def _fraction(text: str) -> float:
    fraction = _number(text)
    if not 0 < fraction <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above 0 and at most 1")
    return fraction


def _share(text: str) -> float:
    share = _number(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 0 to 1")
    return share


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number, 1 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
