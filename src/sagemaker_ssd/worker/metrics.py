"""metrics.json: the figures of the job, written to output/data after every epoch, and the schema of that file.

`MetricsDocument.model_json_schema()` gives the schema as JSON Schema.
"""

import dataclasses
import platform
from collections.abc import Mapping
from typing import Any

import mxnet as mx
import numpy as np
from pydantic import BaseModel, ConfigDict

from sagemaker_ssd.channels.record_file import RecordFile
from sagemaker_ssd.contract.job import Job
from sagemaker_ssd.files import write_json
from sagemaker_ssd.scoring.average_precision import Scores
from sagemaker_ssd.training.loop import EpochLosses
from sagemaker_ssd.training.state import History
from sagemaker_ssd.version import version


class Metrics:
    """Rewrites the file with the figures of every epoch so far.

    start: where the training began. data: the channels' figures.
    """

    def __init__(self, job: Job, start: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        self._path = job.paths.metrics
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
            "best_mAP": history.best_score,
            "validation_since": history.validation_since,
            "ended_early": ended_early,
            "epochs": history.epochs,
        }
        write_json(self._path, self._document)

    def write_unevaluated(self) -> None:
        """Write the file for a model that was saved before the first evaluation: its mAP is unknown."""
        self._document |= {"best_epoch": None, "best_mAP": None, "ended_early": False, "epochs": []}
        write_json(self._path, self._document)

    def add_seconds(self, phase: str, seconds: float) -> None:
        """Add to the time that a phase of the job has taken so far."""
        timings = self._document["timings"]
        timings[phase] = round(timings.get(phase, 0.0) + seconds, 3)

    def add_final(self, best: Mapping[str, Any], definitions: Mapping[str, str], anchors: Mapping[str, Any]) -> None:
        """Write the file anew with the figures of the saved model."""
        self._document |= {"best": dict(best), "definitions": dict(definitions), "anchors": dict(anchors)}
        write_json(self._path, self._document)

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
        "validation": validation_figures(scores),
    }


def validation_figures(scores: Scores) -> dict[str, Any]:
    """Return an evaluation's figures, as those of an epoch have them."""
    return {
        "mAP": scores.mean,
        "mAP_all_points": scores.all_points,
        "mAP_coco": scores.coco,
        "classes": [dataclasses.asdict(of_class) for of_class in scores.per_class],
    }


def channel_figures(file: RecordFile) -> dict[str, Any]:
    """Return a checked channel's figures."""
    return {
        "images": file.images,
        "boxes": file.boxes,
        "boxes_per_class": list(file.boxes_per_class),
        "images_without_objects": file.images_without_objects,
        "checksum": file.checksum,
    }


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ChannelFigures(_Part):
    """A channel's counts after its check, over all hosts; checksum: the sum of the CRC-32 of all images and labels."""

    images: int
    boxes: int
    boxes_per_class: list[int]
    images_without_objects: int
    checksum: int


class TrainFigures(_Part):
    """An epoch's training: mean losses an anchor that counts; seconds, of which some waited for data."""

    cross_entropy: float
    smooth_l1: float
    batches: int
    images: int
    seconds: float
    seconds_waiting_for_data: float
    images_per_second: float


class EpochClassFigures(_Part):
    """A class after an epoch; None without objects."""

    class_id: int
    boxes: int
    detections: int
    average_precision: float | None
    all_points: float | None
    coco: float | None


class ValidationFigures(_Part):
    """The network after an epoch, with all of its detections."""

    mAP: float
    mAP_all_points: float
    mAP_coco: float
    classes: list[EpochClassFigures]


class EpochFigures(_Part):
    """An epoch; learning_rate at its end."""

    epoch: int
    learning_rate: float | None
    train: TrainFigures
    validation: ValidationFigures


class BestClassFigures(EpochClassFigures):
    """A class of the saved model."""

    name: str
    recall: float | None


class BestFigures(_Part):
    """The saved model, read back and evaluated on validation: figures of ground_truth.json and detections.json alone.

    What each is stands under `definitions`; None where nothing is there to count.
    """

    mAP: float
    mAP_all_points: float
    mAP_coco: float | None
    AP50: float | None
    AP75: float | None
    AP_small: float | None
    AP_medium: float | None
    AP_large: float | None
    AR_100: float | None
    recall: float
    overlap_threshold: float
    images: int
    boxes: int
    detections: int
    classes: list[BestClassFigures]


class AnchorFigures(_Part):
    """How objects of validation fit the anchors: unmatched are those that none overlaps; sides in pixels."""

    boxes: int
    unmatched: int
    smallest: float
    below_smallest: int
    overlap: float


class MetricsDocument(_Part):
    """metrics.json; best, definitions and anchors are there once the training has ended.

    timings: seconds of the phases of this run. best_epoch, best_mAP: None, unknown, where the job was stopped before
    its first evaluation. validation_since: the first epoch that was scored on the validation data of now, which a
    resumed job may have been given; of those before, the best one alone was scored on them.
    """

    versions: dict[str, str]
    host: str
    hosts: list[str]
    hyperparameters: dict[str, str]
    start: dict[str, Any]
    data: dict[str, ChannelFigures]
    best_epoch: int | None
    best_mAP: float | None
    validation_since: int = 0
    ended_early: bool
    epochs: list[EpochFigures]
    timings: dict[str, float]
    best: BestFigures | None = None
    definitions: dict[str, str] | None = None
    anchors: AnchorFigures | None = None
