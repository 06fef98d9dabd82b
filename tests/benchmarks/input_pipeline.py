"""Images a second through the input pipeline, a core second and with all cores, compared with others and the decoder.

`python tests/benchmarks/input_pipeline.py [--images 800] [--rounds 5] [--folder DIR] [--only WORD ...]`: 640x480
JPEGs, drawn or from a folder, to batches of 8 at 300 px. Sides: this project's reader as a job uses it, with one thread
and with all cores; the same of images with a JSON each; MXNet's ImageDetRecordIter with the same augmentation, which
uses all cores but one; GluonCV's SSD transform behind its DataLoader with one worker process; torchvision's SSD preset
(references/detection/presets.py, transforms v2) behind PyTorch's DataLoader with one worker process, in the
environment .venv-torchvision that `make bench-torchvision` makes; and cv2.imdecode alone. Then the same for evaluation,
where images are only resized.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from input_data import LABEL, photos, read_all, write, write_files
from turns import Side, table, take_turns

from sagemaker_ssd.cores import usable_cores
from serving import serve

TESTS = Path(__file__).parent.parent
sys.path.insert(0, str(TESTS))

BATCH, SIZE, MEAN = 8, 300, (123.0, 117.0, 104.0)


def checked(path: Path) -> Any:
    """Check the .rec, or the folders with images and annotations, as a job does."""
    from sagemaker_ssd.channels.check import check_recordio
    from sagemaker_ssd.channels.findings import CheckOptions
    from sagemaker_ssd.channels.image_files import pack_images

    scratch = path if path.is_dir() else path.parent
    options = CheckOptions(name="train", num_classes=3, scratch=scratch, max_bad_images=0, label_width=len(LABEL))
    if path.is_dir():
        return pack_images(path / "train", path / "train_annotation", options)
    return check_recordio(path, options)


def options(threads: int) -> Any:
    from sagemaker_ssd.batches.reader import LoaderOptions

    return LoaderOptions(BATCH, SIZE, MEAN, threads)


def ours(path: Path, threads: int) -> Callable[[], object]:
    """Read an epoch after the other, in orders of their own."""
    from sagemaker_ssd.batches.reader import TrainingLoader
    from sagemaker_ssd.batches.shares import epoch_order

    file, epochs = checked(path), iter(range(1000))
    loader = TrainingLoader(
        file,
        options(threads),
        seed=0,
        order=lambda epoch: epoch_order(file.images, seed=0, epoch=epoch),
        # Even numbers alone are asked for, so that none is made ready before its time is taken.
        epochs=range(0, 2000, 2),
    )

    def epoch() -> None:
        for batch in loader.batches(2 * next(epochs)):
            batch.data.wait_to_read()

    return epoch


def ours_evaluating(path: Path, threads: int) -> Callable[[], object]:
    """Read the file as an evaluation does."""
    from sagemaker_ssd.batches.reader import evaluation_batches

    file = checked(path)

    def epoch() -> None:
        for batch in evaluation_batches(file, options(threads)):
            batch.data.wait_to_read()

    return epoch


def plain(path: Path, *, augmented: bool) -> Callable[[], object]:
    """Read with MXNet's reader alone."""
    import mxnet as mx

    from batches.augmentation_draws import EVERYTHING

    def epoch() -> None:
        reader = mx.io.ImageDetRecordIter(
            path_imgrec=str(path),
            batch_size=BATCH,
            data_shape=(3, SIZE, SIZE),
            label_pad_width=len(LABEL),
            preprocess_threads=usable_cores(),
            resize_mode="force",
            verbose=False,
            **dict(zip(("mean_r", "mean_g", "mean_b"), MEAN, strict=True)),
            **(EVERYTHING if augmented else {}),
        )
        for batch in reader:
            batch.data[0].wait_to_read()

    return epoch


def gluoncv(path: Path, *, augmented: bool) -> Callable[[], object]:
    """Read with GluonCV's transform and loader; targets are left to the step, as ours are."""
    import mxnet as mx
    from gluoncv.data.batchify import Pad, Stack, Tuple
    from gluoncv.data.transforms.presets.ssd import SSDDefaultTrainTransform, SSDDefaultValTransform

    label = np.array([[64, 96, 320, 288, 0], [256, 144, 576, 384, 1]], np.float32)
    images = read_all(path)

    class Images(mx.gluon.data.Dataset):
        def __len__(self) -> int:
            return len(images)

        def __getitem__(self, number: int) -> Any:
            return mx.image.imdecode(images[number], 1), label

    transform = (SSDDefaultTrainTransform if augmented else SSDDefaultValTransform)(SIZE, SIZE)
    loader = mx.gluon.data.DataLoader(
        Images().transform(transform), BATCH, batchify_fn=Tuple(Stack(), Pad(pad_val=-1)), num_workers=1
    )

    def epoch() -> None:
        for data, _ in loader:
            data.wait_to_read()

    return epoch


def decoder(path: Path) -> Callable[[], object]:
    """Decode alone."""
    import cv2

    cv2.setNumThreads(0)
    images = read_all(path)
    return lambda: [cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR) for image in images]


CORES = usable_cores()
SIDES: dict[str, Callable[[Path], Callable[[], object]]] = {
    "ImageDetRecordIter": lambda path: plain(path, augmented=True),
    "ours, one thread": lambda path: ours(path, 1),
    f"ours, {CORES} threads": lambda path: ours(path, CORES),
    f"ours, {CORES} threads, from JSON": lambda path: ours(path.parent / "files", CORES),
    "GluonCV": lambda path: gluoncv(path, augmented=True),
    "torchvision": lambda path: decoder(path),
    "cv2.imdecode": decoder,
    "ImageDetRecordIter, evaluating": lambda path: plain(path, augmented=False),
    "ours, evaluating, one thread": lambda path: ours_evaluating(path, 1),
    f"ours, evaluating, {CORES} threads": lambda path: ours_evaluating(path, CORES),
    "GluonCV, evaluating": lambda path: gluoncv(path, augmented=False),
}
TORCHVISION = TESTS.parent / ".venv-torchvision" / "bin" / "python"


def main() -> None:
    """Compare all sides, or be one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only", nargs="+", default=[""], help="words of the names of the sides that take part")
    parser.add_argument("--side", nargs=2, metavar=("NAME", "REC"), help="one side, used inside")
    options = parser.parse_args()
    if options.side:
        serve(SIDES[options.side[0]](Path(options.side[1])))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "drawn.rec"
        images = photos(options.images, options.folder)
        write(path, images)
        write_files(path.parent / "files", images)
        print(f"{len(images)} images, {np.mean([len(image) for image in images]) / 1000:.0f} kB each")
        sides = []
        for name in SIDES:
            if not any(word in name for word in options.only):
                continue
            command: list[object] = [sys.executable, __file__, "--side", name, path]
            if name == "torchvision":
                if not TORCHVISION.exists():
                    print("torchvision is left out: `make bench-torchvision` makes its environment")
                    continue
                command = [TORCHVISION, Path(__file__).parent / "torchvision_input.py", path.parent / "files" / "train"]
            sides.append(Side(name, command, worker=name.startswith("ours")))
        take_turns(sides, options.rounds)
    training = [side for side in sides if "evaluating" not in side.name]
    evaluating = [side for side in sides if side not in training]
    for title, chosen in (("Input for training", training), ("Input for evaluation", evaluating)):
        if chosen:
            table(title, chosen, len(images), "images")


if __name__ == "__main__":
    main()
