"""The reader alone, without a network, over many small images and over large photos: images/s, memory, disk.

`python tests/benchmarks/reader_scale.py [--small 100000] [--large 2000]`: draws a .rec of JPEGs of 2.4 kB and one of 12
megapixels, then checks each and reads one epoch of it in a process of its own, the photos at 300 and 512 px. A few
hundred images are drawn and stand in the file again and again: what is read and decoded is as much.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BATCH = 32
LABEL = [2, 5, 0, 0.1, 0.2, 0.5, 0.6, 1, 0.4, 0.3, 0.9, 0.8]
KINDS = {"small": (96, 72, 200, 40), "large": (4000, 3000, 12, 85)}
# What small images cost at 512 px is the resizing alone, for ten minutes on old cores.
IMAGE_SHAPES = {"small": (300,), "large": (300, 512)}


def draw(path: Path, kind: str, count: int) -> None:
    """Write `count` records of a kind."""
    import cv2
    import mxnet as mx

    width, height, different, quality = KINDS[kind]
    random = np.random.RandomState(0)
    images = []
    for _ in range(different):
        pixels = cv2.resize(
            random.randint(0, 256, (30, 40, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC
        )
        images.append(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes())
    writer = mx.recordio.MXRecordIO(str(path), "w")
    for number in range(count):
        writer.write(mx.recordio.pack(mx.recordio.IRHeader(0, LABEL, number, 0), images[number % different]))
    writer.close()


def read(path: Path, image_shape: int) -> None:
    """Check a file and read an epoch of it; print the figures as JSON."""
    from sagemaker_ssd.batches.reader import LoaderOptions, TrainingLoader
    from sagemaker_ssd.batches.shares import epoch_order
    from sagemaker_ssd.channels.check import check_recordio
    from sagemaker_ssd.channels.findings import CheckOptions
    from sagemaker_ssd.cores import usable_cores

    begin = time.monotonic()
    scratch = path.parent / "scratch"
    options = CheckOptions(name="train", num_classes=3, scratch=scratch, max_bad_images=0, label_width=350)
    file = check_recordio(path, options)
    checked = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    loader = TrainingLoader(
        file,
        LoaderOptions(BATCH, image_shape, (123.0, 117.0, 104.0), usable_cores()),
        seed=0,
        order=lambda epoch: epoch_order(file.images, seed=0, epoch=epoch),
        epochs=range(1),
    )
    images = sum(batch.data.shape[0] for batch in loader.batches(0))
    seconds = time.monotonic() - checked
    used = sum(each.stat().st_size for each in scratch.rglob("*")) if scratch.exists() else 0
    figures = {
        "images": images,
        "check, images/s": images / (checked - begin),
        "epoch, images/s": images / seconds,
        "peak after the check, MB": before / 1024,
        "peak, MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "scratch, MB": used / 1e6,
    }
    print(json.dumps(figures))


def main() -> None:
    """Draw and read both kinds, or read one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=100_000)
    parser.add_argument("--large", type=int, default=2_000)
    parser.add_argument("--read", nargs=2, metavar=("REC", "SHAPE"), help="used inside")
    options = parser.parse_args()
    if options.read:
        read(Path(options.read[0]), int(options.read[1]))
        return
    for kind, count in (("small", options.small), ("large", options.large)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{kind}.rec"
            draw(path, kind, count)
            size = path.stat().st_size / 1e6
            for shape in IMAGE_SHAPES[kind]:
                command = [sys.executable, __file__, "--read", str(path), str(shape)]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                figures = json.loads(done.stdout.splitlines()[-1])
                told = ", ".join(f"{name} {value:,.0f}" for name, value in figures.items())
                print(f"{kind}, {size:,.0f} MB, at {shape} px: {told}", flush=True)


if __name__ == "__main__":
    main()
