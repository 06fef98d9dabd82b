"""The figures of the job, written to output/data/metrics.json after every epoch."""

import dataclasses
import platform
from collections.abc import Mapping
from typing import Any

import mxnet as mx
import numpy as np

from sagemaker_ssd.artifacts.metrics_file import write_metrics
from sagemaker_ssd.contract import Job
from sagemaker_ssd.data import RecordFile
from sagemaker_ssd.engine.average_precision import Scores
from sagemaker_ssd.engine.epoch import EpochLosses
from sagemaker_ssd.version import version
from sagemaker_ssd.worker.history import History


class Metrics:
    """Rewrites the file with the figures of every epoch so far; `data` are the channels' own figures."""

    def __init__(self, job: Job, start: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        self._path = job.paths.output_data / "metrics.json"
        self._document: dict[str, Any] = {
            "versions": {
                "sagemaker-ssd": version(),
                "mxnet": mx.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
            "host": job.cluster.current_host,
            "hosts": list(job.cluster.hosts),
            "hyperparameters": job.hyperparameters.final_configuration(),
            "start": dict(start),
            "data": dict(data),
            "timings": {},
        }

    def write(self, history: History, *, ended_early: bool) -> None:
        """Write the file as it is after the last epoch of a history of at least one."""
        self._document |= {
            "best_epoch": history.best_epoch,
            "best_mAP": history.scores[history.best_epoch],
            "ended_early": ended_early,
            "epochs": history.epochs,
        }
        write_metrics(self._path, self._document)

    def took(self, phase: str, seconds: float) -> None:
        """Note how long a phase of the job took; it is added to what it took before."""
        timings = self._document["timings"]
        timings[phase] = round(timings.get(phase, 0.0) + seconds, 3)

    def add(self, **figures: Mapping[str, Any]) -> None:
        """Write the file anew with more figures."""
        self._document |= {name: dict(part) for name, part in figures.items()}
        write_metrics(self._path, self._document)

    def document(self) -> dict[str, Any]:
        """Return what was written last."""
        return dict(self._document)


def epoch_figures(epoch: int, learning_rate: float | None, losses: EpochLosses, scores: Scores) -> dict[str, Any]:
    """Return an epoch's figures; learning_rate: at its end, None for an optimizer that takes none."""
    return {
        "epoch": epoch,
        "learning_rate": learning_rate,
        "train": {
            "cross_entropy": losses.cross_entropy,
            "smooth_l1": losses.smooth_l1,
            "batches": losses.batches,
            "images": losses.images,
            "seconds": losses.seconds,
            "seconds_waiting_for_data": losses.waiting,
            "images_per_second": losses.images / losses.seconds,
        },
        "validation": {
            "mAP": scores.mean,
            "mAP_all_points": scores.all_points,
            "mAP_coco": scores.coco,
            "classes": [dataclasses.asdict(of_class) for of_class in scores.per_class],
        },
    }


def channel_figures(file: RecordFile) -> dict[str, Any]:
    """Return a checked channel's figures."""
    return {
        "images": file.images,
        "boxes": file.boxes,
        "boxes_per_class": list(file.boxes_per_class),
        "images_without_objects": file.images_without_objects,
    }
