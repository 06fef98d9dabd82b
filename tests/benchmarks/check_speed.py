"""Speed and peak memory of the check of a channel, beside reading its file with `cat`.

`python tests/benchmarks/check_speed.py [--records 100000] [--images 10000]` draws a few hundred small JPEGs, repeats
them in a .rec (and in a tenth of it, to see whether memory grows with the number), and as files with a JSON each; and
photos of a usual size in a .rec. Prints records a second, MB/s, the peak memory of a process that makes the pass, and
what decoding takes by itself.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, HEIGHT = 32, 24
DIFFERENT = 300
SETTINGS: dict[str, Any] = {"name": "train", "num_classes": 3, "max_bad_images": 0.0, "label_width": 350}


def draw() -> list[bytes]:
    """Draw different small JPEGs."""
    import cv2

    random = np.random.RandomState(0)
    return [
        cv2.imencode(".jpg", random.randint(0, 256, (HEIGHT, WIDTH, 3), np.uint8))[1].tobytes()
        for _ in range(DIFFERENT)
    ]


def draw_photos() -> list[bytes]:
    """Draw soft blots, which are as large as photos when compressed."""
    import cv2

    random = np.random.RandomState(0)
    blots = [random.randint(0, 256, (60, 80, 3), np.uint8) for _ in range(20)]
    return [cv2.imencode(".jpg", cv2.resize(pixels, (640, 480)))[1].tobytes() for pixels in blots]


def write_records(path: Path, images: list[bytes], count: int) -> None:
    """Write a .rec of `count` records with two boxes each."""
    from sagemaker_ssd.channels.recordio import Payload, frame, join_payload

    label = np.array([2, 5, 0, 0.1, 0.2, 0.5, 0.6, 1, 0.4, 0.3, 0.9, 0.8], np.float32)
    with path.open("wb") as file:
        for number in range(count):
            file.write(frame(join_payload(Payload(number, label, images[number % len(images)]))))


def write_files(folder: Path, images: list[bytes], count: int) -> None:
    """Write `count` images with a JSON each, a thousand in a folder."""
    box = {"class_id": 1, "left": 3, "top": 4, "width": 10, "height": 12}
    text = json.dumps({"image_size": [{"width": WIDTH, "height": HEIGHT, "depth": 3}], "annotations": [box, box]})
    for number in range(count):
        name = f"{number // 1000}/{number}"
        for path, content in ((f"train/{name}.jpg", images[number % DIFFERENT]), (f"json/{name}.json", text.encode())):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)


def check(kind: str, path: Path) -> dict[str, float]:
    """Make the pass in this process; return its seconds, and its peak memory before and after in MB."""
    from sagemaker_ssd.channels.check import check_recordio
    from sagemaker_ssd.channels.findings import CheckOptions
    from sagemaker_ssd.channels.image_files import pack_images

    before = resource.getrusage(resource.RUSAGE_SELF)
    with tempfile.TemporaryDirectory() as scratch:
        begun = time.monotonic()
        if kind == "files":
            pack_images(path / "train", path / "json", CheckOptions(scratch=Path(scratch), **SETTINGS))
        else:
            check_recordio(path, CheckOptions(scratch=Path(scratch), **SETTINGS))
        seconds = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_SELF)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peaks = {"before": before.ru_maxrss / 1024, "peak": after.ru_maxrss / 1024}
    return {"seconds": seconds, "processor": processor, **peaks}


def examine_alone(images: list[bytes]) -> float:
    """Return how many images a second one thread decodes that does nothing else."""
    from sagemaker_ssd.channels.images import examine_image

    begun = time.monotonic()
    for image in images * 10:
        examine_image(image)
    return 10 * len(images) / (time.monotonic() - begun)


def report(kind: str, path: Path, count: int) -> float:
    """Run the pass in a process of its own and print its figures; return its peak memory in MB."""
    command = [sys.executable, __file__, "--inside", kind, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=3600)
    facts = json.loads(done.stdout.splitlines()[-1])
    megabytes = sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file()) / 1e6
    print(
        f"{kind}, {count:,}: {count / facts['seconds']:,.0f} records/s, {megabytes / facts['seconds']:.1f} MB/s, "
        f"processors used {facts['processor'] / facts['seconds']:.2f}, "
        f"peak {facts['peak']:.1f} MB (before the pass {facts['before']:.1f} MB)",
        flush=True,
    )
    return float(facts["peak"])


def read_plainly(path: Path) -> None:
    """Print how fast `cat` reads the file, the second time as the pass does."""
    for _ in range(2):
        begun = time.monotonic()
        with Path("/dev/null").open("wb") as nowhere:
            subprocess.run(["cat", path], stdout=nowhere, check=True)
        seconds = time.monotonic() - begun
    print(f"cat {path.name}: {path.stat().st_size / 1e6 / seconds:,.0f} MB/s")


def main() -> None:
    """Draw the data and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--inside", nargs=2, metavar=("KIND", "PATH"), help="one pass, used inside")
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(check(options.inside[0], Path(options.inside[1]))))
        return
    images = draw()
    few = options.records // 10
    with tempfile.TemporaryDirectory() as folder:
        peaks = []
        for count in (few, options.records):
            path = Path(folder) / f"{count}.rec"
            write_records(path, images, count)
            read_plainly(path)
            peaks.append(report("records", path, count))
        growth = (peaks[1] - peaks[0]) * 1024**2 / (options.records - few)
        print(f"records: {growth:.0f} bytes of memory for each more")
        peaks = []
        for count in (options.images // 10, options.images):
            files = Path(folder) / f"files{count}"
            write_files(files, images, count)
            peaks.append(report("files", files, count))
        growth = (peaks[1] - peaks[0]) * 1024**2 / (options.images - options.images // 10)
        print(f"files: {growth:.0f} bytes of memory for each more")
        photos, path = draw_photos(), Path(folder) / "photos.rec"
        write_records(path, photos, options.records // 50)
        report("photos", path, options.records // 50)
    print(
        f"decoding alone, one thread: {examine_alone(images):,.0f} small images/s, "
        f"{examine_alone(photos):,.0f} photos/s"
    )


if __name__ == "__main__":
    main()
