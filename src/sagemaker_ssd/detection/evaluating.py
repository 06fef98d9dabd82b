"""A saved model held against a checked channel: the truth, the detections, the figures, and their files."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagemaker_ssd.artifacts.whole_file import whole_file
from sagemaker_ssd.data import RecordFile
from sagemaker_ssd.detection.anchor_fit import anchor_fit
from sagemaker_ssd.detection.figures import figures, labels_of
from sagemaker_ssd.detection.found import coco_results
from sagemaker_ssd.detection.loading import LoadedModel
from sagemaker_ssd.detection.truth import coco_truth
from sagemaker_ssd.model.anchor_boxes import anchor_boxes

TRUTH, RESULTS = "ground_truth.json", "detections.json"


@dataclass(frozen=True)
class Evaluation:
    """COCO's instances and results, the figures of them, and how the objects fit the anchors."""

    truth: dict[str, Any]
    results: list[dict[str, Any]]
    figures: dict[str, Any]
    anchors: dict[str, Any]

    def write(self, folder: Path) -> None:
        """Write the two files in COCO's formats, each whole or not at all; raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in ((TRUTH, self.truth), (RESULTS, self.results)):
            with whole_file(folder / name) as part:
                part.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")


def evaluate_model(
    model: LoadedModel,
    file: RecordFile,
    class_names: Sequence[str],
    *,
    overlap_threshold: float,
    batch_size: int,
    threads: int,
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
    )
    anchors = anchor_boxes(model.network)
    return Evaluation(
        truth,
        results,
        figures(truth, results, overlap_threshold),
        anchor_fit(labels_of(truth), anchors, model.network.image_shape),
    )
