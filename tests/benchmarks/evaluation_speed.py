"""Evaluation: detection beside PyTorch's inference on the same layers, and average precision beside pycocotools.

`python tests/benchmarks/evaluation_speed.py [--case resnet-50:300:8 ...] [--rounds 5]`. PyTorch's side neither decodes
boxes nor suppresses any. Average precision is that of 5,000 drawn images of 80 classes, 20 detections and 7 objects an
image; ours has VOC's figures and COCO's, pycocotools COCO's.
"""

import argparse
import contextlib
import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from training_step import mxnet_side, torch_side, write_spec
from turns import Side, table, take_turns

from serving import serve

IMAGES, CLASSES, DETECTIONS, OBJECTS = 5000, 80, 20, 7
CASES = ("vgg-16:300:8", "resnet-50:300:8")


def drawn() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Draw for each image detections (D, 6) and objects (G, 5), of which detections hit some."""
    random = np.random.RandomState(0)
    found, truth = [], []
    for _ in range(IMAGES):
        corners = random.uniform(0, 0.6, (OBJECTS, 2))
        boxes = np.hstack([corners, corners + random.uniform(0.05, 0.4, (OBJECTS, 2))])
        ids = random.randint(0, CLASSES, OBJECTS)
        truth.append(np.column_stack([ids, boxes]))
        chosen = random.randint(0, OBJECTS, DETECTIONS)
        shaken = np.clip(boxes[chosen] + random.normal(0, 0.03, (DETECTIONS, 4)), 0, 1)
        shaken[:, 2:] = np.maximum(shaken[:, 2:], shaken[:, :2] + 0.01)
        other = random.rand(DETECTIONS) < 0.3
        classes = np.where(other, random.randint(0, CLASSES, DETECTIONS), ids[chosen])
        found.append(np.column_stack([classes, random.permutation(DETECTIONS) / DETECTIONS, shaken]))
    return found, truth


def ours() -> Callable[[], object]:
    """Score with this project's engine."""
    from sagemaker_ssd.scoring.average_precision import AveragePrecision

    found, truth = drawn()

    def score() -> None:
        precision = AveragePrecision(CLASSES, 0.5)
        for detections, objects in zip(found, truth, strict=True):
            precision.add(detections, objects)
        precision.result()

    return score


def coco() -> Callable[[], object]:
    """Score with pycocotools, from its own dictionaries on."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    found, truth = drawn()

    def box(corners: np.ndarray) -> list[float]:
        left, top, right, bottom = (640 * corners).tolist()
        return [left, top, right - left, bottom - top]

    annotations = [
        {"id": 0, "image_id": image, "category_id": int(row[0]), "bbox": box(row[1:]), "area": 1e4, "iscrowd": 0}
        for image, rows in enumerate(truth)
        for row in rows
    ]
    for number, annotation in enumerate(annotations, start=1):
        annotation["id"] = number
    results = [
        {"image_id": image, "category_id": int(row[0]), "score": row[1], "bbox": box(row[2:])}
        for image, rows in enumerate(found)
        for row in rows
    ]

    def score() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            data = COCO()
            data.dataset = {
                "images": [{"id": image, "width": 640, "height": 640} for image in range(IMAGES)],
                "categories": [{"id": number} for number in range(CLASSES)],
                "annotations": annotations,
            }
            data.createIndex()
            evaluation = COCOeval(data, data.loadRes(results), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()

    return score


SIDES = {"ours, average precision": ours, "pycocotools": coco}


def main() -> None:
    """Compare detection, then scoring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", help=f"default: {', '.join(CASES)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", choices=SIDES, help="one side, used inside")
    options = parser.parse_args()
    if options.side:
        serve(SIDES[options.side]())
        return
    for case in options.case or CASES:
        with tempfile.TemporaryDirectory() as folder:
            spec = write_spec(Path(folder), case)
            path = Path(folder) / "spec.json"
            sides = [mxnet_side("ours-detecting", path), torch_side("pytorch", path, "--detect")]
            take_turns(sides, options.rounds)
        table(
            f"Detection, {spec['network']} at {spec['size']} px, batch {spec['batch']}", sides, spec["batch"], "images"
        )
    sides = [Side(name, [sys.executable, __file__, "--side", name], worker=name.startswith("ours")) for name in SIDES]
    take_turns(sides, 3)
    table(f"Scoring {IMAGES:,} images, {CLASSES} classes", sides, IMAGES, "images")


if __name__ == "__main__":
    main()
