"""What a report costs for 100, 1,000 and 10,000 validation images of 20 megapixels: seconds of a core, memory, bytes.

Each set has 80 classes, 7 objects and 200 detections an image, and is made in a process of its own. Images are noise,
which JPEG codes worst, and are decoded whenever they are asked for, as those of a job are.

    python tests/benchmarks/report_cost.py [--images 100 1000 10000]
"""

import argparse
import io
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sagemaker_ssd.report.write import write_report

WIDTH, HEIGHT = 5472, 3648
CLASSES, OBJECTS, DETECTIONS = 80, 7, 200


def draw_set(images: int, seed: int = 0) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Objects anywhere; of each a detection that is off by a little, and others by more, of any class."""
    random = np.random.default_rng(seed)
    sides = random.uniform(0.02, 0.4, (images, OBJECTS, 2)) * (WIDTH, HEIGHT)
    boxes = np.concatenate([random.uniform(0, 1, (images, OBJECTS, 2)) * ((WIDTH, HEIGHT) - sides), sides], axis=2)
    classes = random.integers(0, CLASSES, (images, OBJECTS))
    of = np.arange(DETECTIONS) % OBJECTS
    first = np.arange(DETECTIONS) < OBJECTS
    spread = np.where(first, 0.05, 0.4)[None, :, None] * np.tile(sides, 2)[:, of]
    found = boxes[:, of] + random.normal(0, 1, (images, DETECTIONS, 4)) * spread
    found[:, :, 2:] = np.maximum(found[:, :, 2:], 8)
    scores = np.where(first, random.beta(5, 2, (images, DETECTIONS)), random.beta(1, 9, (images, DETECTIONS)))
    right = first | (random.random((images, DETECTIONS)) < 0.05)
    found_classes = np.where(right, classes[:, of], random.integers(0, CLASSES, (images, DETECTIONS)))
    truth = {
        "images": [
            {"id": number, "file_name": f"{number:06}.jpg", "width": WIDTH, "height": HEIGHT}
            for number in range(images)
        ],
        "categories": [{"id": number, "name": f"class {number}"} for number in range(CLASSES)],
        "annotations": [
            {"image_id": row // OBJECTS, "category_id": class_id, "bbox": box}
            for row, (class_id, box) in enumerate(
                zip(classes.ravel().tolist(), boxes.round(2).reshape(-1, 4).tolist(), strict=True)
            )
        ],
    }
    columns = (found_classes.ravel().tolist(), found.round(2).reshape(-1, 4).tolist(), scores.round(4).ravel().tolist())
    detections = [
        {"image_id": row // DETECTIONS, "category_id": class_id, "bbox": box, "score": score}
        for row, (class_id, box, score) in enumerate(zip(*columns, strict=True))
    ]
    return truth, detections


def memory(which: str) -> float:
    """Return VmRSS, the memory in MB now, or VmHWM, the most since `forget_peak`."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(which))
    return int(line.split()[1]) / 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def measure(images: int) -> None:
    truth, detections = draw_set(images)
    noise = np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG", quality=90)
    del noise
    reads: list[float] = []

    def read_image(image_id: int) -> Image.Image:
        begin = time.process_time()
        image = Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")
        reads.append(time.process_time() - begin)
        return image

    forget_peak()
    before = memory("VmRSS")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        begin = time.process_time()
        write_report(path, {}, truth, detections, read_image)
        seconds = time.process_time() - begin
        size = path.stat().st_size / 1e6
    print(
        f"{images:>6,} images, {len(detections):>9,} detections: {seconds:6.2f} s, of which {sum(reads):5.2f} s for "
        f"decoding {len(reads)} images; {memory('VmHWM') - before:.0f} MB of memory; file {size:.2f} MB",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[100, 1_000, 10_000])
    chosen = parser.parse_args().images
    if len(chosen) == 1:
        measure(chosen[0])
        return
    for images in chosen:
        subprocess.run([sys.executable, __file__, "--images", str(images)], check=True)


if __name__ == "__main__":
    main()
