"""The figures of the job, written to output/data/metrics.json after every epoch."""

import dataclasses
import platform
from typing import Any

import mxnet as mx
import numpy as np

from sagemaker_ssd.artifacts.metrics_file import write_metrics
from sagemaker_ssd.contract import Job
from sagemaker_ssd.data import RecordFile
from sagemaker_ssd.engine.average_precision import Scores
from sagemaker_ssd.engine.epoch import EpochLosses
from sagemaker_ssd.version import version


class Metrics:
    """Collects the epochs' figures and rewrites the file with each."""

    def __init__(self, job: Job, train: RecordFile, validation: RecordFile) -> None:
        self._path = job.paths.output_data / "metrics.json"
        self._epochs: list[dict[str, Any]] = []
        self._document: dict[str, Any] = {
            "versions": {
                "sagemaker-ssd": version(),
                "mxnet": mx.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
            "host": job.cluster.current_host,
            "hyperparameters": job.hyperparameters.final_configuration(),
            "data": {"train": _channel(train), "validation": _channel(validation)},
        }

    def add(
        self,
        epoch: int,
        learning_rate: float | None,
        losses: EpochLosses,
        scores: Scores,
        *,
        best: bool,
        ended_early: bool,
    ) -> None:
        """Add an epoch, counted from 0, and write the file; `best`: its model is the one that is kept so far.

        learning_rate: at the epoch's end, None for an optimizer that takes none.
        """
        self._epochs.append(
            {
                "epoch": epoch,
                "learning_rate": learning_rate,
                "train": {
                    "cross_entropy": losses.cross_entropy,
                    "smooth_l1": losses.smooth_l1,
                    "batches": losses.batches,
                    "images": losses.images,
                    "seconds": losses.seconds,
                    "images_per_second": losses.images / losses.seconds,
                },
                "validation": {
                    "mAP": scores.mean,
                    "mAP_all_points": scores.all_points,
                    "mAP_coco": scores.coco,
                    "classes": [dataclasses.asdict(of_class) for of_class in scores.per_class],
                },
            }
        )
        if best:
            self._document |= {"best_epoch": epoch, "best_mAP": scores.mean}
        write_metrics(self._path, {**self._document, "ended_early": ended_early, "epochs": self._epochs})


def _channel(file: RecordFile) -> dict[str, Any]:
    return {
        "images": file.images,
        "boxes": file.boxes,
        "boxes_per_class": list(file.boxes_per_class),
        "images_without_objects": file.images_without_objects,
    }
