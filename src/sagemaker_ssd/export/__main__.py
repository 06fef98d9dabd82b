"""`python -m sagemaker_ssd.export model.tar.gz`: the ONNX model of a saved model, such as a job writes at its end."""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Final

from sagemaker_ssd.commands import class_names
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.native_faults import end_at_native_faults
from sagemaker_ssd.progress import phase
from sagemaker_ssd.scoring.command import WRITABLE_FOLDER, add_model_arguments, check_class_names, run, try_folder

_DESCRIPTION: Final = (
    "Writes the model of a training job, of this program or of the built-in, as one ONNX file: from RGB pixels to "
    "detections, as the model.onnx that a job writes at its end."
)


def main() -> int:
    """Export, and return the exit code."""
    options = _parser().parse_args()

    def work() -> int:
        with tempfile.TemporaryDirectory() as scratch:
            _export(options, Path(scratch))
        return 0

    return run(work)


def _export(options: argparse.Namespace, scratch: Path) -> None:
    # What a link leads to is replaced, not the link.
    output = options.output.resolve()
    if output.is_dir():
        raise UserError(
            f"{options.output}: it is a folder; --output must be a file, such as {options.output / 'model.onnx'}"
        )
    if output.exists() and not output.is_file():
        raise UserError(f"{options.output}: it is a device or a pipe; --output must be a file")
    try_folder(output.parent, f"--output must be a file in {WRITABLE_FOLDER}")
    # MXNet takes seconds to import: not for --help.
    from sagemaker_ssd.export.onnx import write_onnx
    from sagemaker_ssd.scoring.saved_model import load_model

    end_at_native_faults()
    with phase("The model is being loaded"):
        model = load_model(options.model, scratch, options.image_shape, detections=options.detections)
    network, weights = model.network, model.weights
    names = options.class_names or [str(number) for number in range(network.num_classes)]
    check_class_names(names, network.num_classes)
    output.parent.mkdir(parents=True, exist_ok=True)
    with phase("The ONNX model is being written"):
        write_onnx(output, network, weights.arguments, weights.states, names, model.detections)
    print(f"Written: {options.output}, with detections of {model.detections}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sagemaker_ssd.export", description=_DESCRIPTION)
    add_model_arguments(parser)
    parser.add_argument("--output", type=Path, default=Path("model.onnx"), help="file (default ./model.onnx)")
    parser.add_argument(
        "--class-names",
        type=class_names,
        default=(),
        help="a,b,c: names by class id, those that hold a comma in double quotes (default: the ids)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
