"""A saved model held against a checked channel: the truth, the detections, the figures, and their files."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import mxnet as mx

from sagemaker_ssd.data import RecordFile
from sagemaker_ssd.detection.figures import figures
from sagemaker_ssd.detection.found import coco_results
from sagemaker_ssd.detection.loading import LoadedModel
from sagemaker_ssd.detection.truth import coco_truth
from sagemaker_ssd.model.graph import detection_graph

TRUTH, RESULTS = "ground_truth.json", "detections.json"
_ANCHORS: Final = "multibox_anchors_output"


@dataclass(frozen=True)
class Evaluation:
    """COCO's instances and results, and what was computed of them."""

    truth: dict[str, Any]
    results: list[dict[str, Any]]
    figures: dict[str, Any]

    def write(self, folder: Path) -> None:
        """Write the two files in COCO's formats, each whole or not at all; raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in ((TRUTH, self.truth), (RESULTS, self.results)):
            part = folder / f"{name}.part"
            part.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")
            part.replace(folder / name)


def evaluate_model(
    model: LoadedModel,
    file: RecordFile,
    class_names: Sequence[str],
    *,
    overlap_threshold: float,
    batch_size: int,
    threads: int,
    each_batch: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Detect on every image of a channel and score what is found."""
    truth = coco_truth(file, class_names)
    size = min(batch_size, file.images)
    results = coco_results(
        model.detector(size),
        file,
        truth,
        batch_size=size,
        image_shape=model.network.image_shape,
        mean=model.network.mean,
        threads=threads,
        each_batch=each_batch,
    )
    return Evaluation(
        truth, results, figures(truth, results, overlap_threshold=overlap_threshold, anchors=anchors_of(model))
    )


def anchors_of(model: LoadedModel) -> Any:
    """Return the network's anchors (A, 4), corners as fractions of the image."""
    size = model.network.image_shape
    graph = detection_graph(model.network).get_internals()[_ANCHORS]
    executor = graph.simple_bind(mx.cpu(), grad_req="null", data=(1, 3, size, size))
    return executor.forward(is_train=False)[0].asnumpy()[0]
