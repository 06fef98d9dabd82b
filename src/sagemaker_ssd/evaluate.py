"""`python -m sagemaker_ssd.evaluate model.tar.gz channel`: the figures and the report of a model, without training."""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sagemaker_ssd.cores import usable_cores
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.scoring.command import run

if TYPE_CHECKING:
    from sagemaker_ssd.channels.record_file import RecordFile

_DESCRIPTION: Final = (
    "Scores the model of a training job, of this program or of the built-in, on a channel of a job: .rec files, or "
    "images with a JSON each. Writes evaluation.json, ground_truth.json and detections.json (COCO's formats) and "
    "report.html into --output, and prints the means."
)
_REPORT, _FIGURES = "report.html", "evaluation.json"
# A job's default, and a width that every label has room in: an evaluation reads what it is given.
_MAX_BAD_IMAGES: Final = 0.01
_LABEL_WIDTH: Final = 1 << 20


def main() -> int:
    """Evaluate, and return the exit code."""
    options = _parser().parse_args()

    def work() -> int:
        with tempfile.TemporaryDirectory() as scratch:
            _evaluate(options, Path(scratch))
        return 0

    return run(work)


def _evaluate(options: argparse.Namespace, scratch: Path) -> None:
    # MXNet takes seconds to import: not for --help.
    from sagemaker_ssd.channels.annotations import class_names
    from sagemaker_ssd.files import write_json
    from sagemaker_ssd.report.write import write_report
    from sagemaker_ssd.scoring.coco import DEFINITIONS
    from sagemaker_ssd.scoring.evaluate import evaluate_model
    from sagemaker_ssd.scoring.saved_model import load_model, read_picture

    model = load_model(options.model, scratch, options.image_shape)
    channel = options.channel.resolve()
    annotations = options.annotations or channel.with_name(f"{channel.name}_annotation")
    annotations = annotations if annotations.is_dir() else None
    file = _checked(channel, annotations, model.network.num_classes, scratch)
    names = class_names(annotations, model.network.num_classes)
    threshold = options.overlap_threshold or float(model.settings.get("overlap_threshold", 0.5))
    found = evaluate_model(
        model,
        file,
        names,
        overlap_threshold=threshold,
        batch_size=options.batch_size,
        threads=usable_cores(),
    )
    found.write(options.output)
    document = {
        "model": str(options.model),
        "hyperparameters": dict(model.settings),
        "best": found.figures,
        "definitions": DEFINITIONS,
        "anchors": found.anchors,
    }
    write_json(options.output / _FIGURES, document)
    write_report(
        options.output / _REPORT, document, found.ground_truth, found.results, lambda number: read_picture(file, number)
    )
    _print_means(found.figures, options.output)


def _checked(channel: Path, annotations: Path | None, num_classes: int, scratch: Path) -> "RecordFile":
    """Return the channel's checked records; the images' names are kept for the files."""
    from sagemaker_ssd.channels.check import check_recordio
    from sagemaker_ssd.channels.image_files import pack_images

    name = channel.name or "channel"
    records = sorted(channel.rglob("*.rec"))
    if records:
        return check_recordio(
            records,
            name=name,
            num_classes=num_classes,
            scratch=scratch,
            max_bad_images=_MAX_BAD_IMAGES,
            label_width=_LABEL_WIDTH,
            keep_names=True,
        )
    if annotations is None:
        raise UserError(
            f"{channel}: there is no .rec file, and no folder {channel.name}_annotation of JSONs beside it: give the "
            "folder of a channel, or --annotations"
        )
    return pack_images(
        channel,
        annotations,
        name=name,
        num_classes=num_classes,
        scratch=scratch,
        max_bad_images=_MAX_BAD_IMAGES,
        label_width=_LABEL_WIDTH,
        keep_names=True,
    )


def _print_means(figures: dict[str, Any], output: Path) -> None:
    from sagemaker_ssd.scoring.coco import GROUND_TRUTH_FILE, RESULTS_FILE

    print(f"{figures['images']} images, {figures['boxes']} objects, {figures['detections']} detections")
    for name in ("mAP", "mAP_all_points", "mAP_coco", "AP50", "AP75"):
        print(f"{name}: {'-' if figures[name] is None else f'{figures[name]:.4f}'}")
    print(f"Written: {output / _REPORT}, {_FIGURES}, {GROUND_TRUTH_FILE}, {RESULTS_FILE}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sagemaker_ssd.evaluate", description=_DESCRIPTION)
    parser.add_argument("model", type=Path, help="model.tar.gz, its .params file, or a folder with one of them")
    parser.add_argument("channel", type=Path, help="folder of .rec files, or of images")
    parser.add_argument("--annotations", type=Path, help="folder of the JSONs (default: <channel>_annotation)")
    parser.add_argument("--output", type=Path, default=Path("evaluation"), help="folder (default ./evaluation)")
    parser.add_argument("--overlap-threshold", type=_fraction, help="IoU of a right detection (default: the job's own)")
    parser.add_argument("--batch-size", type=_positive, default=8, help="images at once (default 8)")
    parser.add_argument("--image-shape", type=int, help="for a model without its hyperparams.json: pixels a side")
    return parser


def _fraction(text: str) -> float:
    try:
        fraction = float(text)
    except ValueError:
        fraction = 0.0
    if not 0 < fraction <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number above 0 and at most 1")
    return fraction


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number, 1 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
